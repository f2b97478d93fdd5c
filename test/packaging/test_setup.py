# SPDX-License-Identifier: Apache-2.0
"""The set-up tool: it reports missing prerequisites and skips finished steps."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tools import setup_environment as setup


@pytest.mark.parametrize(("version", "accepted"), [((3, 9), False), ((3, 10), True), ((3, 12), True), ((3, 13), False)])
def test_only_python_versions_with_wheels_are_accepted(
    version: tuple[int, int], accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 1, "final", 0))
    if accepted:
        setup.check_python()
        return
    with pytest.raises(setup.SetupError, match=r"it must be 3\.10 to 3\.12"):
        setup.check_python()


def test_missing_system_packages_are_reported_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    monkeypatch.setattr(setup, "_loads", lambda library: False)
    monkeypatch.setattr(setup.glob, "glob", lambda pattern: [])
    with pytest.raises(setup.SetupError) as error:
        setup.check_system(renderer=True)
    assert "sudo apt install build-essential libegl1 libgl1 libgl1-mesa-dri" in str(error.value)
    assert "libegl1" not in setup.missing_system_packages(renderer=False)


def test_an_environment_of_another_python_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "VENV", tmp_path)
    setup.check_environment()
    (tmp_path / "pyvenv.cfg").write_text("version = 3.8.1\n")
    with pytest.raises(setup.SetupError, match="make distclean"):
        setup.check_environment()


def test_a_digest_changes_with_content_and_with_new_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    folder = tmp_path / "msg"
    folder.mkdir()
    (folder / "A.msg").write_text("int32 a\n")
    first = setup.digest([folder])
    (folder / "A.msg").touch()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_text("cache")
    assert setup.digest([folder]) == first
    (folder / "B.msg").write_text("")
    second = setup.digest([folder])
    (folder / "A.msg").write_text("int64 a\n")
    assert len({first, second, setup.digest([folder])}) == 3


def test_the_error_of_a_failed_step_has_the_end_of_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "LOG", tmp_path / "setup.log")
    program = "print('-- configuring'); print('no such compiler'); raise SystemExit(3)"
    with pytest.raises(setup.SetupError, match=r"exited with 3(.|\n)*no such compiler"), setup.Step("build") as step:
        step.run(sys.executable, "-c", program)
    assert step.note == "-- configuring"
    assert "no such compiler" in (tmp_path / "setup.log").read_text()
    assert "failed" in capsys.readouterr().out
