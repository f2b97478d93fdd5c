# SPDX-License-Identifier: Apache-2.0
"""The commands describe themselves by the docstrings of their modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from seqpose_core.command_line import command_parser

ROOT = Path(__file__).parents[2]


def _commands() -> list[Path]:
    sources = [path for package in ("seqpose_core", "seqpose_ros", "train") for path in (ROOT / package).rglob("*.py")]
    return [path.relative_to(ROOT) for path in sources if "command_parser(__doc__)" in path.read_text()]


@pytest.mark.parametrize("path", _commands(), ids=str)
def test_a_command_is_named_as_it_is_run(path: Path) -> None:
    parser = command_parser(ast.get_docstring(ast.parse((ROOT / path).read_text())))
    module = path.with_suffix("").as_posix().replace("/", ".").removesuffix(".__main__")
    assert parser.prog == ("seqpose-predict" if module == "seqpose_core.predict" else f"python -m {module}")
    assert parser.description


def test_commands_of_all_packages_are_found() -> None:
    assert {path.parts[0] for path in _commands()} == {"seqpose_core", "seqpose_ros", "train"}


def test_arguments_and_line_breaks_of_the_docstring_are_not_part_of_the_name() -> None:
    parser = command_parser("``python -m package.replay BAG``: replay a bag:\nall of it.\n\nMore about it.")
    assert (parser.prog, parser.description) == ("python -m package.replay", "replay a bag: all of it.")


def test_a_docstring_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="not with 'Replay a bag"):
        command_parser("Replay a bag.")
