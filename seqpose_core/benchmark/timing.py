# SPDX-License-Identifier: Apache-2.0
"""Time of functions, measured in turn, and resident memory of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

_WARM_UP = 2

Times = dict[str, float]


def measure(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Times]:
    """Median, 5th and 95th percentile of the CPU time of each function, and its median duration ``wall``, milliseconds.

    The functions are called in turn, so that other load on the machine affects all of them. CPU time of the process
    excludes the time during which other programs have the core.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(_WARM_UP + repeats):
        for name, run in runs.items():
            begin, clock = time.process_time(), time.perf_counter()
            run()
            times[name].append((1e3 * (time.process_time() - begin), 1e3 * (time.perf_counter() - clock)))
    return {name: _spread(np.array(values[_WARM_UP:])) for name, values in times.items()}


def _spread(values: np.ndarray) -> Times:
    spread = {f"p{p}": round(float(np.percentile(values[:, 0], p)), 2) for p in (5, 50, 95)}
    return {**spread, "wall": round(float(np.median(values[:, 1])), 2)}


def resident_mb() -> float | None:
    """Resident memory of this process in MB; None if the system has no /proc."""
    file = Path("/proc/self/status")
    if not file.is_file():
        return None
    line = next(line for line in file.read_text().splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1024, 1)
