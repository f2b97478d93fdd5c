# SPDX-License-Identifier: Apache-2.0
"""The project uses the vocabulary of its field."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Words of earlier versions, and the terms of the field. The topic /truth/detections keeps its name; the changelog has
#: names of old JSON keys in backticks.
REPLACED = {
    r"(?<!ground )(?<!ground-)(?<!ground_)(?<!/)(?<!--)(?<!`)\btruths?\b": "ground truth",
    r"\bfalse finds?\b": "false positive",
    r"\blearn(ed|ing|s)?\b[^.]{0,40}\bby heart\b": "overfit",
    r"\bcomplaints?\b|\bcomplains?\b": "warning, warn",
    r"\b(one|two|three|\d+) an? (frame|clip|step|sample|category|object|core)\b": "one per frame",
    r"\b(asks|ask) as well\b": "is appended",
}


def text_files() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    suffixes = {".py", ".md", ".yaml", ".yml", ".msg", ".txt", ".toml", ".xml", ".html", ".cfg", ""}
    files = [ROOT / name for name in filter(None, names.split("\0"))]
    return [file for file in files if file.suffix in suffixes and file.is_file() and file != Path(__file__).resolve()]


@pytest.mark.parametrize(("pattern", "replacement"), REPLACED.items())
def test_words_of_earlier_versions_are_not_used(pattern: str, replacement: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for file in text_files()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line, re.IGNORECASE)
    ]
    assert not found, f"write {replacement!r} in\n" + "\n".join(found)
