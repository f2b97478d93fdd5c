# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an input: raised where it is seen, reported by the node once in a while, never fatal."""

from __future__ import annotations


class InputError(ValueError):
    """A message that cannot be used.

    :param kind: short stable key (``size``, ``encoding``, ...); each kind is reported once in a while.
    :param text: what is wrong, with the value and what would be right.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
