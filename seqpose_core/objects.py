# SPDX-License-Identifier: Apache-2.0
"""ObjectPose: what the estimator returns and the node publishes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqpose_core import geometry


@dataclass(frozen=True)
class ObjectPose:
    """One object seen in one frame.

    :param category: name from :mod:`seqpose_core.categories`.
    :param score: confidence, 0..1.
    :param rotation: (3, 3), object (NOCS axes, y up) to camera (optical frame).
    :param translation: (3,) centre of the object's box in the camera frame, metres.
    :param size: (3,) full extents along the object's own axes, metres.
    :param covariance: (6, 6) of x, y, z (m²) and rotations about the camera frame's fixed x, y, z axes (rad²).
    :param track_id: identity over frames; None until the track is confirmed.
    :param age: frames since its track began, 0 in the first.
    """

    category: str
    score: float
    rotation: np.ndarray
    translation: np.ndarray
    size: np.ndarray
    covariance: np.ndarray
    track_id: int | None = None
    age: int = 0

    @property
    def transform(self) -> np.ndarray:
        """(4, 4) rigid transform from the object frame to the camera frame."""
        return geometry.make_transform(self.rotation, self.translation)

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) corners of the oriented box in the camera frame, metres, in the order of geometry.CORNER_SIGNS."""
        return geometry.transform(self.transform, geometry.box_corners(self.size))
