# SPDX-License-Identifier: Apache-2.0
"""A camera above a table, and objects that stand on it, for tests of the support plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from seqpose_core import ObjectPose, SupportPlane
from seqpose_core.geometry import invert, make_transform
from seqpose_core.pose_fusion import SIZE_COUPLING

# World: z up, table at z = 0. The camera is 0.6 m above it and looks 40 degrees down along the world's y axis.
PITCH = np.radians(40.0)
WORLD_FROM_CAMERA = make_transform(
    np.array(
        [[1.0, 0.0, 0.0], [0.0, -np.sin(PITCH), np.cos(PITCH)], [0.0, -np.cos(PITCH), -np.sin(PITCH)]],
    ),
    [0.0, 0.0, 0.6],
)
CAMERA_FROM_WORLD = invert(WORLD_FROM_CAMERA)
EXACT = SupportPlane.from_frame(CAMERA_FROM_WORLD, height_noise=0.0, tilt_noise=0.0)
#: The y axis of an object points to the world's z axis.
UPRIGHT = Rotation.from_euler("x", 90, degrees=True).as_matrix()
VAGUE, TILT = 0.3, np.radians(10.0)


def standing(
    category: str = "camera",
    at: tuple[float, float] = (0.1, 0.7),
    size: tuple[float, float, float] = (0.1, 0.08, 0.12),
    rotation: np.ndarray = UPRIGHT,
    height: float | None = None,
    sd: float = VAGUE,
    tilt_sd: float = TILT,
) -> ObjectPose:
    """An object in the camera frame. ``at`` are x and y in the world, ``height`` is that of its centre.

    The standard deviations are 1 mm across the line of sight, ``sd`` metres along it, and ``tilt_sd`` about all axes.
    """
    world = make_transform(rotation, [*at, size[1] / 2 if height is None else height])
    pose = CAMERA_FROM_WORLD @ world
    return ObjectPose(
        category, 0.9, pose[:3, :3], pose[:3, 3], np.array(size), covariance_along(pose[:3, 3], sd, tilt_sd)
    )


def covariance_along(position: np.ndarray, sd: float, tilt_sd: float) -> np.ndarray:
    """(6, 6) covariance of an object at ``position`` (3,), camera frame; standard deviations as in :func:`standing`."""
    sight = position / np.linalg.norm(position)
    out = np.zeros((6, 6))
    out[:3, :3] = sd**2 * np.outer(sight, sight) + 0.001**2 * np.eye(3)
    out[3:, 3:] = tilt_sd**2 * np.eye(3)
    return out


def scaled(item: ObjectPose, factor: float) -> ObjectPose:
    """The object at ``factor`` times its distance, with a size that changes with it."""
    return replace(item, translation=item.translation * factor, size=item.size * factor**SIZE_COUPLING)


def world_pose(item: ObjectPose) -> np.ndarray:
    """(4, 4) object to world."""
    return WORLD_FROM_CAMERA @ item.transform
