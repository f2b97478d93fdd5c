# SPDX-License-Identifier: Apache-2.0
"""ObjectPose: what the estimator returns and the node publishes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from seqpose_core import geometry
from seqpose_core.categories import Category
from seqpose_core.categories import category as nocs_category


@dataclass(frozen=True)
class ObjectPose:
    """One object detected in one frame.

    :param category: name of the category.
    :param score: confidence, 0..1.
    :param rotation: (3, 3), object frame (NOCS axes, y up) to camera frame (optical).
    :param translation: (3,) centre of the object's box in the camera frame, metres.
    :param size: (3,) full extents along the object's own axes, metres.
    :param covariance: (6, 6) of x, y, z (m²) and rotations about the camera frame's fixed x, y, z axes (rad²).
    :param track_id: identity over frames; None until the track is confirmed.
    :param age: frames since its track began, 0 in the first.
    :param category_info: id, symmetry, typical size and colour of the category; None looks up a NOCS category.
    :param on_support: whether the pose was fused with a support plane; None if no plane was given.
    :raises KeyError: if ``category_info`` is None and no NOCS category has this name.
    :raises ValueError: if ``category_info`` has another name.
    """

    category: str
    score: float
    rotation: np.ndarray
    translation: np.ndarray
    size: np.ndarray
    covariance: np.ndarray
    track_id: int | None = None
    age: int = 0
    category_info: Category = field(default=None, repr=False)  # type: ignore[assignment]
    on_support: bool | None = None

    def __post_init__(self) -> None:
        if self.category_info is None:
            object.__setattr__(self, "category_info", nocs_category(self.category))
        elif self.category_info.name != self.category:
            raise ValueError(f"category is {self.category!r} but category_info is of {self.category_info.name!r}")

    def reaches(self, threshold: float | None) -> bool:
        """Whether the score is at least ``threshold``; None = the threshold of the category."""
        return self.score >= (self.category_info.score_threshold if threshold is None else threshold)

    @property
    def transform(self) -> np.ndarray:
        """(4, 4) rigid transform from the object frame to the camera frame."""
        return geometry.make_transform(self.rotation, self.translation)

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) corners of the oriented box in the camera frame, metres, in the order of geometry.CORNER_SIGNS."""
        return geometry.transform(self.transform, geometry.box_corners(self.size))
