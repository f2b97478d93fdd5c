# SPDX-License-Identifier: Apache-2.0
"""Convert builtin_interfaces/Time to numbers."""

from __future__ import annotations

from typing import Any


def stamp_seconds(stamp: Any) -> float:
    """A builtin_interfaces/Time in seconds."""
    return stamp.sec + stamp.nanosec * 1e-9


def seconds(nanoseconds: int) -> float:
    """Convert nanoseconds to seconds with the same rounding as :func:`stamp_seconds`."""
    full_seconds, rest = divmod(nanoseconds, 10**9)
    return full_seconds + rest * 1e-9


def stamp_nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds, exactly."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
