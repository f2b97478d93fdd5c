# SPDX-License-Identifier: Apache-2.0
"""Command lines that describe themselves by the docstring of their module."""

from __future__ import annotations

import argparse
import re

_COMMAND = re.compile(r"``(?P<program>(?:python -m )?\S+?)(?: [^`]*)?``: (?P<description>.*)", re.DOTALL)


def command_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser for a module with this docstring.

    :param doc: its first paragraph is "````python -m name ARGUMENTS````: description"; None (``python -OO``) = no
        description.
    :raises ValueError: for another first paragraph.
    """
    if doc is None:
        return argparse.ArgumentParser()
    match = _COMMAND.fullmatch(doc.split("\n\n")[0].strip())
    if match is None:
        raise ValueError(
            f"the docstring of a command begins with ``its name``: and what it does, not with {doc[:60]!r}"
        )
    return argparse.ArgumentParser(prog=match["program"], description=" ".join(match["description"].split()))
