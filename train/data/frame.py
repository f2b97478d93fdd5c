# SPDX-License-Identifier: Apache-2.0
"""One labelled frame as a data set stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqpose_core.camera import Camera
from seqpose_core.categories import Category, category


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One labelled object.

    class_id 1, 2, ...; instance: value in the mask; rotation (3, 3) and translation (3,) in metres map the
    object frame to the camera frame; size (3,) extents in metres; visible_pixels: mask pixels at the
    stored resolution; model: name of the CAD model, if known; category_info: None = the NOCS category class_id.
    """

    class_id: int
    instance: int
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    size: NDArray[np.float64]
    handle_visible: bool
    visible_pixels: int
    model: str = ""
    category_info: Category = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.category_info is None:
            object.__setattr__(self, "category_info", category(self.class_id))


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as stored.

    image (H, W, 3) uint8 RGB; mask (H, W) uint8 instance ids, 255 = background; coord_bgr (H, W, 3) uint8 and
    depth_mm (H, W) uint16 as stored (0 unknown); stamp in seconds or None; camera_pose (4, 4)
    world_from_camera or None.
    """

    scene: str
    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    coord_bgr: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    objects: tuple[SceneObject, ...]
    camera: Camera
    stamp: float | None
    camera_pose: NDArray[np.float64] | None

    @cached_property
    def coord(self) -> NDArray[np.float32]:
        """NOCS coordinates (H, W, 3) in 0..1; defined on labelled objects only."""
        return decode_coord(self.coord_bgr)

    @cached_property
    def depth(self) -> NDArray[np.float32]:
        """Depth (H, W) in metres along z, 0 where unknown."""
        return self.depth_mm.astype(np.float32) * np.float32(1e-3)

    def ground_truth(self) -> dict[str, NDArray[Any]]:
        """The labels with the keys of NOCS results: gt_class_ids, gt_RTs, gt_scales, gt_handle_visibility."""
        count = len(self.objects)
        transforms = np.tile(np.eye(4), (count, 1, 1))
        scales = np.zeros((count, 3))
        for index, item in enumerate(self.objects):
            diagonal = float(np.linalg.norm(item.size))
            transforms[index, :3, :3] = item.rotation * diagonal
            transforms[index, :3, 3] = item.translation
            scales[index] = item.size / diagonal
        return {
            "gt_class_ids": np.array([item.class_id for item in self.objects], dtype=np.int64),
            "gt_RTs": transforms,
            "gt_scales": scales,
            "gt_handle_visibility": np.array([item.handle_visible for item in self.objects], dtype=np.int64),
        }


def decode_coord(coord_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """NOCS coordinates (..., 3) in 0..1 of a stored image (..., 3) in BGR order, which holds 1 - z."""
    coord = coord_bgr[..., ::-1].astype(np.float32) * np.float32(1 / 255)
    coord[..., 2] = 1 - coord[..., 2]
    return coord
