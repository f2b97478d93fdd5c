# SPDX-License-Identifier: Apache-2.0
"""Detections and cameras for tests of the tracker."""

from __future__ import annotations

import numpy as np

from seqpose_core.geometry import invert, make_transform, rotation_about_y
from seqpose_core.objects import ObjectPose


def detection(
    category: str = "laptop",
    at: tuple[float, float, float] = (0.0, 0.0, 1.0),
    rotation: np.ndarray | None = None,
    score: float = 0.9,
    size: tuple[float, float, float] = (0.1, 0.1, 0.1),
) -> ObjectPose:
    rotation = np.eye(3) if rotation is None else rotation
    return ObjectPose(category, score, rotation, np.array(at), np.array(size), np.eye(6) * 1e-4)


def camera_at(x: float, yaw: float = 0.0) -> np.ndarray:
    """world_from_camera of a camera that moved sideways and rotated about its vertical axis."""
    return make_transform(rotation_about_y(yaw), [x, 0.0, 0.0])


def in_camera(world: ObjectPose, pose: np.ndarray) -> ObjectPose:
    """An object in the world frame, transformed to the camera frame."""
    matrix = invert(pose) @ world.transform
    return detection(world.category, tuple(matrix[:3, 3]), matrix[:3, :3], world.score, tuple(world.size))
