# SPDX-License-Identifier: Apache-2.0
"""builtin_interfaces/Time as numbers."""

from __future__ import annotations

from typing import Any


def stamp_seconds(stamp: Any) -> float:
    """A builtin_interfaces/Time in seconds."""
    return stamp.sec + stamp.nanosec * 1e-9


def seconds(nanoseconds: int) -> float:
    """Nanoseconds in seconds, rounded exactly as :func:`stamp_seconds` rounds."""
    whole, rest = divmod(nanoseconds, 10**9)
    return whole + rest * 1e-9


def stamp_nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds, exactly."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
