# SPDX-License-Identifier: Apache-2.0
"""OpenMP waits passively in every program that imports seqpose_core, and one number sets all threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from seqpose_core import threads

ROOT = Path(__file__).resolve().parents[2]
# Prints the variables at the moment a module imports torch, and exits.
WATCH_TORCH = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ["OMP_WAIT_POLICY"], os.environ["KMP_BLOCKTIME"], flush=True)
            os._exit(0)
sys.meta_path.insert(0, Finder())
"""


def run(program: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME")}
    process = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={**inherited, **environment}
    )
    return process.stdout.strip()


@pytest.mark.parametrize("module", ["seqpose_core.estimator", "seqpose_ros.node", "seqpose_ros.benchmark"])
def test_openmp_waits_passively_before_torch_is_loaded(module: str) -> None:
    if module.startswith("seqpose_ros"):
        pytest.importorskip("rclpy")
    assert run(f"{WATCH_TORCH}import {module}, torch") == "PASSIVE 0"


def test_the_wait_policy_of_the_user_is_kept() -> None:
    assert (
        run(f"{WATCH_TORCH}import seqpose_core.estimator, torch", OMP_WAIT_POLICY="ACTIVE", KMP_BLOCKTIME="200")
        == "ACTIVE 200"
    )


def test_a_policy_that_is_set_too_late_is_not_reported_as_passive() -> None:
    path = ROOT / "seqpose_core" / "threads.py"
    program = f"""
import runpy, sys, types
print(runpy.run_path({str(path)!r})["wait_policy"]())
sys.modules["torch"] = types.ModuleType("torch")
print(runpy.run_path({str(path)!r})["wait_policy"]())
"""
    assert run(program).splitlines() == ["passive", "unknown (torch was loaded before seqpose_core)"]


def test_one_number_sets_torch_and_opencv() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        for count in (2, 1):
            threads.set_threads(count)
            assert (torch.get_num_threads(), cv2.getNumThreads()) == (count, count)
        with pytest.raises(ValueError, match="threads is 0; it must be at least 1"):
            threads.set_threads(0)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
