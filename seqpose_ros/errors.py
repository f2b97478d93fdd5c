# SPDX-License-Identifier: Apache-2.0
"""The exception for unusable messages. The node reports it with throttling and continues."""

from __future__ import annotations


class InputError(ValueError):
    """A message that cannot be used.

    :param kind: short stable key (``size``, ``encoding``, ...); logging is throttled per kind.
    :param text: the problem, with the value and what would be right.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
