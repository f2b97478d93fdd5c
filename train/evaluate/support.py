# SPDX-License-Identifier: Apache-2.0
"""The support plane of rendered sets: the plane z = 0 of their world frame, exact or with simulated errors."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from seqpose_core.geometry import invert
from seqpose_core.pose_fusion import PoseBatch
from seqpose_core.support_plane import SupportPlane, lowest_heights
from train.data.frame import Frame

#: The estimator is given at least these standard deviations: metres and radians.
_LEAST_NOISE = (0.003, 0.005)


@dataclass(frozen=True)
class PlaneNoise:
    """Standard deviations of simulated errors of the plane, which are drawn for each frame.

    :param centimetres: of the height in the middle of the view. :param degrees: root mean square angle of the normal.
    """

    centimetres: float = 0.0
    degrees: float = 0.0

    def __str__(self) -> str:
        return "exact" if self == EXACT else f"{self.centimetres:g} cm, {self.degrees:g}°"


EXACT = PlaneNoise()


def plane_of_frame(frame: Frame, noise: PlaneNoise) -> SupportPlane:
    """The plane z = 0 of the world in the camera frame, with errors that depend on the names of clip and frame only.

    :raises ValueError: the frame has no camera pose.
    """
    if frame.camera_pose is None:
        raise ValueError(f"{frame.scene}/{frame.name} has no camera pose, so its support plane is unknown")
    height, tilt = max(noise.centimetres / 100, _LEAST_NOISE[0]), max(np.radians(noise.degrees), _LEAST_NOISE[1])
    exact = SupportPlane.from_frame(invert(frame.camera_pose), height_noise=height, tilt_noise=tilt)
    if noise == EXACT:
        return exact
    generator = np.random.default_rng(zlib.crc32(f"{frame.scene}/{frame.name}".encode()))
    up = generator.normal(0, noise.centimetres / 100)
    x, y = generator.normal(0, np.radians(noise.degrees) / np.sqrt(2), 2)
    rotation = frame.camera_pose[:3, :3].T @ [x, y, 0.0]  # about the world's axes
    tilted = Rotation.from_rotvec(rotation).apply(exact.normal)
    return SupportPlane(tilted, -float(tilted @ exact.pivot) - up, height, tilt)


def support_heights(frame: Frame) -> np.ndarray:
    """(n,) heights in metres of the lowest points of the ground truth above the plane z = 0 of the world."""
    count = len(frame.objects)
    if frame.camera_pose is None or not count:
        return np.full(count, np.nan)
    rotation, translation, size = (
        np.array([getattr(o, name) for o in frame.objects]) for name in ("rotation", "translation", "size")
    )
    symmetric = np.array([o.category_info.symmetric for o in frame.objects])
    poses = PoseBatch(rotation, translation, size, np.zeros((count, 6, 6)), symmetric)
    return lowest_heights(poses, SupportPlane.from_frame(invert(frame.camera_pose)))
