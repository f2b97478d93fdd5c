# SPDX-License-Identifier: Apache-2.0
"""The default runtime is OpenVINO for a checkpoint on the CPU, and eager torch, with a reason, where it cannot run."""

from __future__ import annotations

import logging
import os
import pwd
import resource
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny import tiny_model

from seqpose_core import PoseEstimator, checkpoint
from seqpose_core.runtime import cache, choose, openvino
from seqpose_core.runtime.engine import RuntimeUnavailableError
from seqpose_core.runtime.network import Network
from seqpose_core.samples import sample_frames
from seqpose_core.weights import CheckpointError

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """An empty cache of exports; messages are captured from level INFO on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, "seqpose_core")
    return tmp_path / "cache" / "seqpose" / "exports"


def exports(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


@needs_openvino
@pytest.mark.slow
def test_a_checkpoint_runs_in_openvino_and_is_exported_once(
    weights: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = PoseEstimator.from_pretrained(weights), PoseEstimator.from_pretrained(weights)
    assert first.runtime == second.runtime == "openvino"
    assert sum("exporting the network" in text for text in caplog.messages) == 1
    assert "runtime default: openvino, because it is installed" in caplog.messages
    assert len(exports(own_cache)) == 1
    frame = next(sample_frames())
    assert first.step(*frame) is not None


def test_explicit_eager_is_kept(weights: Path) -> None:
    assert PoseEstimator.from_pretrained(weights, runtime="eager").runtime == "eager"


@pytest.mark.parametrize(
    ("device", "installed", "reason"),
    [("cuda:0", True, "the device is cuda:0"), ("cpu", False, "OpenVINO is not installed")],
)
def test_a_checkpoint_that_cannot_run_in_openvino_runs_in_eager_with_a_reason(
    device: str,
    installed: bool,
    reason: str,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "seqpose_core")
    monkeypatch.setattr(choose, "installed_runtimes", lambda: ["openvino"] if installed else [])
    monkeypatch.setattr(choose, "_build_torch", lambda *_: "eager engine")
    network = Network.of_checkpoint(weights)
    engine = choose.build_engine(network, "default", device, "fp32")
    assert engine == "eager engine"
    assert f"runtime default: eager, because {reason}" in caplog.messages


def test_a_model_in_memory_runs_in_eager() -> None:
    assert PoseEstimator(tiny_model()).runtime == "eager"


@needs_openvino
def test_a_failed_conversion_is_reported_and_eager_runs(
    weights: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unsupported operation")

    monkeypatch.setattr(openvino.import_openvino(), "convert_model", fail)
    assert PoseEstimator.from_pretrained(weights).runtime == "eager"
    assert "OpenVINO cannot convert this model: unsupported operation" in caplog.text
    assert exports(own_cache) == []
    with pytest.raises(RuntimeUnavailableError, match="OpenVINO cannot convert this model: unsupported operation"):
        PoseEstimator.from_pretrained(weights, runtime="openvino")


@pytest.fixture(scope="module")
def exported_cache(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one export, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("exported")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        PoseEstimator.from_pretrained(weights, runtime="openvino")
    return folder


@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize("file", ["step.bin", "step.xml", "sample.safetensors", "config.yaml"])
def test_a_damaged_export_in_the_cache_is_written_again(
    file: str,
    weights: Path,
    exported_cache: Path,
    own_cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(exported_cache / "seqpose", own_cache.parent)
    (folder,) = exports(own_cache)
    # The same network gives the same export, so the earlier one is written instead of converting it again.
    undamaged = exported_cache / "seqpose" / "exports" / folder.name
    monkeypatch.setattr(cache, "export", lambda model, runtime, target: shutil.copytree(undamaged, target))
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if file != "config.yaml":  # which is missing, the others are truncated
        (folder / file).write_bytes(content[: len(content) // 2])
    assert PoseEstimator.from_pretrained(weights).runtime == "openvino"
    assert [text for text in caplog.messages if "is damaged and is written again" in text]
    assert (folder / file).read_bytes() == content
    caplog.clear()
    assert PoseEstimator.from_pretrained(weights).runtime == "openvino"
    assert "damaged" not in caplog.text


@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize(
    ("cache_home", "reason"), [("file", "Not a directory"), (None, "HOME is not set and the user has no home folder")]
)
def test_a_cache_that_cannot_be_written_is_reported_and_openvino_runs(
    cache_home: str | None,
    reason: str,
    weights: Path,
    exported_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if cache_home is None:  # in a container that does not know the user id
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    else:
        (tmp_path / cache_home).touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache_home))
    (written,) = exports(exported_cache / "seqpose" / "exports")
    monkeypatch.setattr(cache, "export", lambda model, runtime, target: Path(shutil.copytree(written, target)))
    for runtime in ("default", "auto"):
        estimator = PoseEstimator.from_pretrained(weights, runtime=runtime)
        assert runtime == "auto" or estimator.runtime == "openvino"
    assert reason in caplog.text and "set XDG_CACHE_HOME" in caplog.text
    assert "the outcome of the trial cannot be kept" in caplog.text


@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize("file", ["sample.safetensors", "step.bin"])
def test_a_full_disk_is_reported_and_eager_runs(
    file: str,
    weights: Path,
    exported_cache: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As on a full disk, writing this file fails when it has half of its size, in the cache and in the temporary
    folder."""
    (written,) = exports(exported_cache / "seqpose" / "exports")
    library = openvino.import_openvino()
    converted = library.Core().read_model(written / "step.xml")
    monkeypatch.setattr(library, "convert_model", lambda *_, **__: converted)  # the same network, without its time
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((written / file).stat().st_size // 2, hard))
    try:
        estimator = PoseEstimator.from_pretrained(weights)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    assert estimator.runtime == "eager"
    assert "cannot be written" in caplog.text
    assert "runtime default: eager, because openvino cannot be used: the network cannot be exported" in caplog.text
    assert exports(own_cache) == []


@needs_openvino
def test_a_damaged_checkpoint_is_an_error(weights: Path, tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / checkpoint.CONFIG).write_bytes((weights / checkpoint.CONFIG).read_bytes())
    (tmp_path / checkpoint.WEIGHTS).write_bytes((weights / checkpoint.WEIGHTS).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is damaged or not a safetensors file"):
        PoseEstimator.from_pretrained(tmp_path)


@needs_openvino
@pytest.mark.slow
def test_of_two_processes_that_start_at_once_one_exports(weights: Path, own_cache: Path) -> None:
    program = f"""
import logging
logging.basicConfig(level=logging.INFO)
from seqpose_core import PoseEstimator
assert PoseEstimator.from_pretrained({str(weights)!r}).runtime == "openvino"
"""
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    logs = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], logs
    assert "".join(logs).count("exporting the network") == 1
    assert "damaged" not in "".join(logs)
    assert len(exports(own_cache)) == 1


def test_the_exports_used_last_are_kept(tmp_path: Path) -> None:
    for index in range(cache.KEPT_EXPORTS + 2):
        (tmp_path / f"{index}").mkdir()
        (tmp_path / f"{index}" / cache.INFO).touch()
        os.utime(tmp_path / f"{index}" / cache.INFO, (1000 + index, 1000 + index))
    (tmp_path / ".unfinished").mkdir()
    os.utime(tmp_path / ".unfinished", (0, 0))
    (tmp_path / ".recent").mkdir()
    (tmp_path / ".lock").touch()
    cache._remove_old(tmp_path)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {".recent", ".lock"} | {str(index) for index in range(2, cache.KEPT_EXPORTS + 2)}
