# SPDX-License-Identifier: Apache-2.0
"""Importing the package loads heavy dependencies only where they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import seqpose_core

ROOT = Path(__file__).parents[2]
SMALL = "from seqpose_core import CATEGORIES, Camera, EstimatorOptions, ObjectPose, SeqPoseConfig"
STEP = """
import numpy, seqpose_core
camera = seqpose_core.Camera(600, 600, 320, 240, 640, 480)
estimator = seqpose_core.PoseEstimator.from_pretrained("seqpose-lite2", runtime="{runtime}")
estimator.step(numpy.zeros((480, 640, 3), numpy.uint8), camera)
"""


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (SMALL, {"torch", "scipy", "roma", "safetensors", "transformers", "huggingface_hub", "matplotlib", "tqdm"}),
        (STEP.format(runtime="eager"), {"transformers", "huggingface_hub", "matplotlib", "rclpy", "lightning"}),
    ],
    ids=["camera and objects", "a step of seqpose-lite2"],
)
def test_modules_that_are_not_needed_are_not_imported(code: str, absent: set[str]) -> None:
    listing = f"{code}\nimport sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not absent & set(modules.stdout.split())


def test_every_public_name_can_be_imported() -> None:
    for name in seqpose_core.__all__:
        assert getattr(seqpose_core, name) is not None
        assert name in dir(seqpose_core)


def test_the_error_for_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'PoseEstimater'"):
        seqpose_core.PoseEstimater  # noqa: B018


@pytest.mark.slow
def test_a_cached_export_runs_without_torch() -> None:
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    code = STEP.format(runtime="openvino") + "\nimport sys; print(*sys.modules)"
    run = [sys.executable, "-c", code]
    subprocess.run(run, cwd=ROOT, capture_output=True, check=True)  # exports
    modules = set(subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    assert "openvino" in modules
    assert not modules & {"torch", "transformers", "roma", "huggingface_hub"}
