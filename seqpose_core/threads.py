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
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # GNU OpenMP, which torch's wheels for Linux use
os.environ.setdefault("KMP_BLOCKTIME", "0")  # LLVM's and Intel's OpenMP: milliseconds of spinning


def set_threads(count: int) -> None:
    """Use ``count`` threads in torch and OpenCV, in all Python threads of this process.

    :raises ValueError: ``count`` is less than 1.
    """
    if count < 1:
        raise ValueError(f"threads is {count}; it must be at least 1")
    import cv2
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def wait_policy() -> str:
    """How waiting OpenMP threads behave in this process, for diagnostics."""
    if _TORCH_WAS_LOADED:
        return "unknown (torch was loaded before seqpose_core)"
    return os.environ["OMP_WAIT_POLICY"].lower()
