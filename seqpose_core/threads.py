# SPDX-License-Identifier: Apache-2.0
"""CPU threads of the model: one number for torch and OpenCV, and OpenMP threads that sleep while they wait.

By default, waiting OpenMP threads spin. If other programs use the same cores, each parallel region then waits for a
spinning thread to be descheduled: on 2 loaded cores with 2 more busy processes, the median step takes 409 ms with 2
spinning threads, 256 ms with 2 sleeping threads and 133 ms with 1 thread (`python -m seqpose_ros.benchmark`).

OpenMP reads these variables once, when torch is loaded, so `seqpose_core` imports this module first. Variables that the
user has set are kept.
"""

from __future__ import annotations

import os
import sys

_TORCH_WAS_LOADED = "torch" in sys.modules
_requested: int | None = None
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # GNU OpenMP, which torch's wheels for Linux use
os.environ.setdefault("KMP_BLOCKTIME", "0")  # LLVM's and Intel's OpenMP: milliseconds of spinning


def set_threads(count: int) -> None:
    """Use ``count`` threads in torch, OpenVINO, ONNX Runtime and OpenCV, in all Python threads of this process.

    :raises ValueError: ``count`` is less than 1.
    """
    global _requested
    if count < 1:
        raise ValueError(f"threads is {count}; it must be at least 1")
    import cv2

    _requested = count
    cv2.setNumThreads(count)
    if "torch" in sys.modules:  # else when it is loaded, by apply_to_torch
        apply_to_torch()


def apply_to_torch() -> None:
    """Use the number of threads of :func:`set_threads` in torch."""
    import torch

    if _requested is not None:
        torch.set_num_threads(_requested)


def get_threads() -> int:
    """The number of threads: of :func:`set_threads`, of torch if it is loaded, of OMP_NUM_THREADS, or one per core."""
    if "torch" in sys.modules:
        import torch

        return torch.get_num_threads()
    if _requested is not None:
        return _requested
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdigit() and int(given) > 0 else len(os.sched_getaffinity(0))


def wait_policy() -> str:
    """How waiting OpenMP threads behave in this process, for diagnostics."""
    if _TORCH_WAS_LOADED:
        return "unknown (torch was loaded before seqpose_core)"
    return os.environ["OMP_WAIT_POLICY"].lower()
