# SPDX-License-Identifier: Apache-2.0
"""Solid primitives of an object: the shapes that its grasps are planned with, so that both agree about free space."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation
from shape_msgs.msg import SolidPrimitive

from seqpose_core import ObjectPose
from seqpose_core.geometry import make_transform
from seqpose_core.grasping.shapes import shape_of

# SolidPrimitive has the axis of a cylinder along z, the object has it along y.
_AXIS: np.ndarray = make_transform(Rotation.from_euler("x", -90, degrees=True).as_matrix(), np.zeros(3))
_HOLLOW = ("bowl",)  # symmetric categories that are not a solid cylinder


def primitives(item: ObjectPose, padding: float) -> list[tuple[SolidPrimitive, np.ndarray]]:
    """Primitives, each with its pose (4, 4) in the object's NOCS frame.

    Bottle, can and other symmetric categories are one cylinder. Bowl and mug are walls of boxes around a free inside,
    laptop and camera a few boxes; any other category is its box.

    :param padding: distance by which each primitive is extended to all sides, metres.
    """
    size = np.asarray(item.size, dtype=np.float64)
    if item.category_info.symmetric and item.category not in _HOLLOW:
        radius, height = float(max(size[0], size[2])) / 2 + padding, float(size[1]) + 2 * padding
        return [(SolidPrimitive(type=SolidPrimitive.CYLINDER, dimensions=[height, radius]), _AXIS)]
    boxes = shape_of(item.category_info, size).padded(padding)
    return [
        (
            SolidPrimitive(type=SolidPrimitive.BOX, dimensions=[2 * float(v) for v in half]),
            make_transform(rotation, centre),
        )
        for centre, rotation, half in zip(boxes.centre, boxes.rotation, boxes.half, strict=True)
    ]
