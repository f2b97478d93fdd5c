# SPDX-License-Identifier: Apache-2.0
"""Runtimes that are installed, and the agreement of their results."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import pytest

from seqpose_core import ObjectPose
from seqpose_core.geometry import rotation_error

PACKAGES = {"eager": "torch", "openvino": "openvino", "onnx": "onnxruntime"}


def require(runtime: str) -> None:
    """Skip without the runtime's package. It is not imported here: only the product turns off its telemetry."""
    if find_spec(PACKAGES[runtime]) is None:
        pytest.skip(f"{PACKAGES[runtime]} is not installed")


def moved_camera(index: int) -> np.ndarray:
    """World from camera (4, 4): 1 cm per frame along x."""
    pose = np.eye(4)
    pose[0, 3] = 0.01 * index
    return pose


def assert_same_objects(first: Sequence[ObjectPose], second: Sequence[ObjectPose]) -> None:
    """One frame: there are objects, and they are equal to 1e-5 m, 1e-5 rad and 1e-4 of score."""
    assert first, "there are objects to compare"
    assert [(o.category, o.track_id) for o in first] == [(o.category, o.track_id) for o in second]
    for one, other in zip(first, second, strict=True):
        assert np.linalg.norm(one.translation - other.translation) <= 1e-5  # metres
        assert np.abs(one.size - other.size).max() <= 1e-5
        assert rotation_error(one.rotation, other.rotation) <= 1e-5
        assert one.score == pytest.approx(other.score, abs=1e-4)
