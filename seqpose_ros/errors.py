# SPDX-License-Identifier: Apache-2.0
"""The exception for unusable messages, which the node reports with throttling, and the text limits of reports."""

from __future__ import annotations


class InputError(ValueError):
    """A message that cannot be used.

    :param kind: short stable key (``size``, ``encoding``, ...); logging is throttled per kind.
    :param text: the problem, with the value and what would be right.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def shorten(text: str, limit: int = 400) -> str:
    """``text`` with at most ``limit`` characters, for logs and diagnostics: strings in messages have any length."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def quote(text: str) -> str:
    """``text`` from a message in quotes, with at most 80 characters."""
    return repr(shorten(text, 80))
