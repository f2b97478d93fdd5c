# SPDX-License-Identifier: Apache-2.0
"""The project is written in the vocabulary of its field."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Words that earlier versions used, and what the field writes. The topic /truth/detections keeps its name.
REPLACED = {
    r"(?<!ground )(?<!ground-)(?<!ground_)(?<!/)(?<!--)\btruths?\b": "ground truth",
    r"\bfalse finds?\b": "false positive",
    r"\blearn(ed|ing|s)?\b[^.]{0,40}\bby heart\b": "overfit",
    r"\bcomplaints?\b|\bcomplains?\b": "warning, warn",
    r"\bone a (frame|clip|step|sample|category)\b": "one per frame",
    r"\b(asks|ask) as well\b": "is appended",
}


def text_files() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    suffixes = {".py", ".md", ".yaml", ".yml", ".msg", ".txt", ".toml", ".xml", ".html", ".cfg", ""}
    files = [ROOT / name for name in filter(None, names.split("\0"))]
    return [file for file in files if file.suffix in suffixes and file.is_file() and file != Path(__file__).resolve()]


@pytest.mark.parametrize(("pattern", "replacement"), REPLACED.items())
def test_a_word_of_our_own_is_not_used_where_the_field_has_one(pattern: str, replacement: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for file in text_files()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line, re.IGNORECASE)
    ]
    assert not found, f"write {replacement!r} in\n" + "\n".join(found)
