# SPDX-License-Identifier: Apache-2.0
"""The documentation names only files, headings, modules and options that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL_CARD = ROOT / "seqpose_core" / "checkpoints" / "seqpose-lite2" / "README.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), MODEL_CARD]
#: Options of torchrun and srun, which are not in our sources.
LAUNCHER_OPTIONS = {"--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint"}
LAUNCHER_OPTIONS |= {"--nodes", "--ntasks-per-node", "--gpus-per-node", "--wrap"}

documents = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[file.relative_to(ROOT).as_posix() for file in DOCUMENTS]
)


def anchors(document: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def source_of(module: str) -> Path | None:
    """The file that ``python -m module`` runs, or None."""
    path = ROOT.joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__main__.py")
    return next((file for file in files if file.is_file()), None)


@documents
def test_relative_links_and_their_anchors_exist(document: Path) -> None:
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(target)
    assert not missing


@documents
def test_modules_that_are_run_exist(document: Path) -> None:
    modules = set(re.findall(r"-m ((?:train|seqpose_ros|seqpose_core)[.\w]*)", document.read_text()))
    assert {module for module in modules if source_of(module.rstrip(".")) is None} == set()


@documents
def test_options_of_commands_exist(document: Path) -> None:
    text = document.read_text()
    commands = re.findall(r"-m ((?:train|seqpose_ros|seqpose_core)\.[.\w]*\w)([^`\n]*)", text)
    commands += [("seqpose_core.predict", options) for options in re.findall(r"seqpose-predict([^`\n]*)", text)]
    missing = []
    for module, arguments in commands:
        file = source_of(module)
        sources = "".join(f.read_text() for f in file.parent.glob("*.py")) if file else ""
        for option in set(re.findall(r"--[a-z][a-z-]+", arguments.split("#")[0])) - LAUNCHER_OPTIONS:
            if f'"{option}"' not in sources:
                missing.append(f"{module} {option}")
    assert not missing


@documents
def test_source_files_that_are_named_exist(document: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.py|(?:config|examples|test|docs)/[\w./-]+\.\w+)`", document.read_text())
    paths = [f"/{path}" for path in tracked.splitlines()]
    missing = [name for name in names if not any(path.endswith(f"/{name}") for path in paths)]
    # Files that Shape Prior Deformation, another project, generates its labels with.
    assert set(missing) <= {"preprocess/shape_data.py", "pose_data.py"}
