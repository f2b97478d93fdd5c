# SPDX-License-Identifier: Apache-2.0
"""Metadata of the node's parameters, and checks of values: each returns why a value is invalid, or None."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

#: Value of memory_frames and score_threshold: that of the checkpoint.
AS_TRAINED = -1


def check_categories(value: Any) -> str | None:
    """A list of names."""
    if value is None:  # rcl reads an empty YAML list as None
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        return f"is {value!r}; it must be a list of names"
    return None


def check_threshold(value: Any) -> str | None:
    """0 to 1, or AS_TRAINED."""
    return None if value == AS_TRAINED or value >= 0 else f"is {value!r}; it must be -1, or a number from 0 to 1"


def check_device(value: Any) -> str | None:
    """cpu, cuda or cuda:<number>."""
    return None if re.fullmatch(r"cpu|cuda(:\d+)?", value) else f"is {value!r}; it must be cpu, cuda or cuda:<number>"


def check_frame(value: Any) -> str | None:
    """A tf2 frame id."""
    # A leading slash was used in ROS 1; tf2 does not resolve it.
    return f"is {value!r}; a tf2 frame id has no leading slash" if value.startswith("/") else None


def check_prefix(value: Any) -> str | None:
    """A prefix of tf2 frame ids."""
    return (
        None if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_/]*|", value) else f"is {value!r}; use letters, digits, _ and /"
    )


def describe(
    description: str,
    *,
    live: bool = False,
    limits: tuple[float, float] | None = None,
    choices: Sequence[str] = (),
    check: Callable[[Any], str | None] | None = None,
) -> dict[str, Any]:
    """Metadata of a parameter.

    :param live: whether it may change while the node runs. :param limits: lowest and highest value.
    :param check: returns why a value is invalid, or None.
    """
    return {
        "description": description,
        "live": live,
        "limits": limits,
        "choices": tuple(choices),
        "check": check,
    }
