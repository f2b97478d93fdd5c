# SPDX-License-Identifier: Apache-2.0
"""Candidate grasps of each category, in the object frame, from the size of the box alone.

A family is a function of the full extents (3,) of the box, metres, and of the gripper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seqpose_core.categories import Category
from seqpose_core.grasping.gripper import Gripper
from seqpose_core.grasping.shapes import LID, WALL, bottle_neck, camera_body, laptop_lid, mug_body

_AZIMUTHS = np.arange(16) * np.pi / 8
_TILTS = np.radians([-60.0, -30.0, 0.0, 30.0, 60.0])
#: Distance between the fingers around a thin part (rim, handle, lid), metres.
_THIN_OPENING = 0.040
#: How far the fingers reach past a rim, and past the edge of a lid, metres.
_RIM_DEPTH, _LID_DEPTH = 0.022, 0.042
#: Smallest distance between the palm and the object, metres.
_PALM_GAP = 0.004


@dataclass(frozen=True)
class Candidates:
    """Grasps (G) in the object frame.

    rotation (G, 3, 3) and position (G, 3) m of the gripper frame; width (G,) m of the part between the fingers;
    opening (G,) m of the fingers before closing; kind (G,) name of the family; stability (G,) 0..1: how well such a
    grasp holds if the pose is exact.
    """

    rotation: np.ndarray
    position: np.ndarray
    width: np.ndarray
    opening: np.ndarray
    kind: np.ndarray
    stability: np.ndarray

    def select(self, index: np.ndarray) -> Candidates:
        """The grasps at an index or mask (G,)."""
        return Candidates(
            self.rotation[index],
            self.position[index],
            self.width[index],
            self.opening[index],
            self.kind[index],
            self.stability[index],
        )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _family(
    kind: str,
    approach: np.ndarray,
    closing: np.ndarray,
    position: np.ndarray,
    width: np.ndarray | float,
    opening: np.ndarray | float,
    stability: np.ndarray | float,
) -> Candidates:
    """Candidates of approach and closing directions (G, 3), orthogonal; the other arguments are broadcast."""
    z, y = _unit(approach), _unit(closing)
    count = len(z)
    return Candidates(
        np.stack([np.cross(y, z), y, z], axis=-1),
        np.broadcast_to(position, (count, 3)).astype(np.float64),
        np.broadcast_to(width, count).astype(np.float64),
        np.broadcast_to(opening, count).astype(np.float64),
        np.full(count, kind),
        np.broadcast_to(stability, count).astype(np.float64),
    )


def _join(families: Sequence[Candidates]) -> Candidates:
    return Candidates(
        *(
            np.concatenate([getattr(f, name) for f in families])
            for name in ("rotation", "position", "width", "opening", "kind", "stability")
        )
    )


def _moved(candidates: Candidates, by: Sequence[float]) -> Candidates:
    """The candidates moved by (3,) metres."""
    return replace(candidates, position=candidates.position + by)


def _with_openings(candidates: Candidates, gripper: Gripper) -> Candidates:
    """Each candidate twice: with the gripper fully open, and opened to 12 mm beyond the width on both sides."""
    narrow = np.minimum(candidates.width + 0.024, gripper.opening)
    wide = np.full_like(narrow, gripper.opening)
    return _join([replace(candidates, opening=opening) for opening in (wide, narrow)])


def _ellipse_width(size: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(...) full width of the elliptic cylinder about y along horizontal unit directions (..., 3)."""
    return np.hypot(size[0] * direction[..., 0], size[2] * direction[..., 2])


def side_grasps(size: np.ndarray, gripper: Gripper) -> Candidates:
    """Around the wall of a cylinder about y: from 16 azimuths, 5 tilts and 3 heights."""
    azimuth, tilt, height = (a.ravel() for a in np.meshgrid(_AZIMUTHS, _TILTS, [-0.12, 0.0, 0.15], indexing="ij"))
    approach = -np.stack([np.cos(azimuth) * np.cos(tilt), np.sin(tilt), np.sin(azimuth) * np.cos(tilt)], axis=-1)
    closing = np.stack([-np.sin(azimuth), np.zeros_like(azimuth), np.cos(azimuth)], axis=-1)
    radial = np.stack([np.cos(azimuth), np.zeros_like(azimuth), np.sin(azimuth)], axis=-1)
    # A tilted palm touches the wall where its distance along the approach is radius / cos(tilt).
    past = gripper.finger_depth - _PALM_GAP - _ellipse_width(size, radial) / 2 / np.cos(tilt)
    fits = past > 0.003
    position = height[:, None] * [0, size[1], 0] + approach * np.minimum(past, 0.018)[:, None]
    # The closer to the middle, the smaller the moment of the weight.
    stability = 1.0 - 0.5 * np.abs(height) - 0.1 * np.abs(np.sin(tilt))
    family = _family("side", approach, closing, position, _ellipse_width(size, closing), 0.0, stability)
    return family.select(fits)


def top_grasps(size: np.ndarray, gripper: Gripper) -> Candidates:
    """Along the axis of a cylinder about y of full extents ``size`` (3,), onto either end: 8 closing directions."""
    end, azimuth = (a.ravel() for a in np.meshgrid([1.0, -1.0], _AZIMUTHS[:8], indexing="ij"))
    closing = np.stack([np.cos(azimuth), np.zeros_like(azimuth), np.sin(azimuth)], axis=-1)
    approach = end[:, None] * [0.0, -1.0, 0.0]
    depth = min(0.035, 0.75 * size[1])
    position = end[:, None] * [0.0, size[1] / 2 - depth, 0.0]
    return _family("top", approach, closing, position, _ellipse_width(size, closing), 0.0, 0.85)


def neck_grasps(size: np.ndarray, gripper: Gripper) -> Candidates:
    """Along the axis of a bottle, onto its neck and cap; the body may be wider than the opening."""
    neck = bottle_neck(size)
    grasps = _moved(top_grasps(neck, gripper), [0.0, (size[1] - neck[1]) / 2, 0.0])
    return grasps.select(grasps.rotation[:, 1, 2] < 0)  # not through the body


def rim_grasps(
    radius: tuple[float, float], height: float, axis: float, gripper: Gripper, tilts: Sequence[float], gap: float
) -> Candidates:
    """One finger inside a hollow object and one outside, from above.

    :param radius: half axes of the rim along x and z, metres. :param height: of the box. :param axis: x of the axis.
    :param tilts: radians; positive leans the gripper outwards, along a wall that narrows towards the foot.
    :param gap: no grasp within this azimuth of +x, radians (the handle).
    """
    azimuth, tilt = (a.ravel() for a in np.meshgrid(_AZIMUTHS, tilts, indexing="ij"))
    away = np.abs((azimuth + np.pi) % (2 * np.pi) - np.pi) >= gap
    azimuth, tilt = azimuth[away], tilt[away]
    cos, sin, zero = np.cos(azimuth), np.sin(azimuth), np.zeros_like(azimuth)
    approach = -np.stack([cos * np.sin(tilt), np.cos(tilt), sin * np.sin(tilt)], axis=-1)
    closing = np.stack([cos * np.cos(tilt), -np.sin(tilt), sin * np.cos(tilt)], axis=-1)
    inset = 1 - WALL / 2 / min(radius)
    rim = np.stack([axis + inset * radius[0] * cos, zero + height / 2, inset * radius[1] * sin], axis=-1)
    depth = min(_RIM_DEPTH, 0.6 * height)
    opening = min(_THIN_OPENING, gripper.opening)
    return _family("rim", approach, closing, rim + approach * depth, WALL, opening, 0.9)


def handle_grasps(size: np.ndarray, gripper: Gripper) -> Candidates:
    """Across the handle of a mug, from above, from the side, and between."""
    axis, radius = mug_body(size)
    if size[0] / 2 - axis - radius < 0.012:
        return _family("handle", np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(3), 0.0, 0.0, 0.0)
    tilt = np.radians([0.0, 30.0, 60.0, 90.0])
    approach = -np.stack([np.cos(tilt), np.sin(tilt), np.zeros(4)], axis=-1)
    closing = np.tile([0.0, 0.0, 1.0], (4, 1))
    # From above, the palm stays above the rim and the fingers reach as far down as they can.
    above = max(size[1] / 2 - (gripper.finger_depth - _PALM_GAP), 0.0)
    position = np.stack([np.full(4, size[0] / 2 - 0.010), above * np.sin(tilt), np.zeros(4)], axis=-1)
    position[:, 0] -= 0.006 * np.cos(tilt)
    return _family("handle", approach, closing, position, 0.018, min(_THIN_OPENING, gripper.opening), 0.8)


def edge_grasps(size: np.ndarray, gripper: Gripper) -> Candidates:
    """Across the lid of a laptop: at its upper edge in five positions, and at both side edges."""
    lid = laptop_lid(size)
    closing, axis = lid.back, np.array([0.0, 0.0, 1.0])
    across = np.array([0.0, -0.12, 0.12, -0.25, 0.25])
    top = lid.hinge + lid.up * (lid.length - _LID_DEPTH) + across[:, None] * size[2] * axis
    side = np.array([1.0, -1.0])[:, None]
    flank = lid.hinge + 0.6 * lid.length * lid.up + side * (size[2] / 2 - _LID_DEPTH) * axis
    approach = np.concatenate([np.tile(-lid.up, (5, 1)), -side * axis])
    position = np.concatenate([top, flank]) + lid.back * LID / 2
    stability = np.concatenate([1.0 - np.abs(across), [0.5, 0.5]])
    opening = min(_THIN_OPENING, gripper.opening)
    return _family("edge", approach, np.tile(closing, (7, 1)), position, LID, opening, stability)


def body_grasps(size: np.ndarray, gripper: Gripper) -> Candidates:
    """Across the body of a camera, beside the lens, at both ends: from the end, from above, and between."""
    body = camera_body(size)
    end, tilt = (a.ravel() for a in np.meshgrid([1.0, -1.0], np.radians([0.0, 30.0, 60.0, 90.0]), indexing="ij"))
    approach = -np.stack([np.zeros_like(tilt), np.sin(tilt), end * np.cos(tilt)], axis=-1)
    closing = np.tile([1.0, 0.0, 0.0], (len(tilt), 1))
    width = np.where(end > 0, body.grip, body.depth)
    low = -size[1] / 2
    # From above, the palm stays above the prism.
    above = max(low + 0.5 * body.height, size[1] / 2 - (gripper.finger_depth - _PALM_GAP))
    y = low + 0.5 * body.height + (above - low - 0.5 * body.height) * np.sin(tilt)
    z = end * (size[2] / 2 - 0.012 - 0.012 * np.cos(tilt))
    position = np.stack([-size[0] / 2 + width / 2, y, z], axis=-1)
    held = y < low + body.height - 0.010
    return _family("body", approach, closing, position, width, 0.0, 0.9).select(held)


def box_grasps(size: np.ndarray, gripper: Gripper) -> Candidates:
    """Across each pair of faces of a box, from the four directions along its other axes."""
    approach, closing, width, reach = [], [], [], []
    for across in range(3):
        for along in range(3):
            if along != across:
                for sign in (1.0, -1.0):
                    approach.append(sign * np.eye(3)[along])
                    closing.append(np.eye(3)[across])
                    width.append(size[across])
                    reach.append(size[along])
    direction = np.array(approach)
    past = np.minimum(gripper.finger_depth - _PALM_GAP, 0.75 * np.array(reach))
    position = direction * (past - np.array(reach) / 2)[:, None]
    return _family("box", direction, np.array(closing), position, np.array(width), 0.0, 0.9)


def candidates_of(category: Category, size: np.ndarray, gripper: Gripper) -> Candidates:
    """All candidates (G) of an object of full extents ``size`` (3,), metres, that close within the opening.

    A category without families here has those of a can if it is symmetric, else those of a box.
    """
    # Grasps of thin parts have a fixed opening, those of thick parts two.
    rim = (size[0] / 2, size[2] / 2)
    if category.name == "bowl":
        thin = [rim_grasps(rim, size[1], 0.0, gripper, np.radians([0.0, 20.0, 40.0]).tolist(), 0.0)]
        thick = top_grasps(size, gripper)
    elif category.name == "mug":
        axis, radius = mug_body(size)
        body = np.array([2 * radius, size[1], 2 * radius])
        rims = rim_grasps((radius, radius), size[1], axis, gripper, [0.0, float(np.radians(15))], float(np.radians(50)))
        thin = [rims, handle_grasps(size, gripper)]
        thick = _join([_moved(f(body, gripper), [axis, 0.0, 0.0]) for f in (side_grasps, top_grasps)])
    elif category.name == "laptop":
        thin, thick = [edge_grasps(size, gripper)], None
    elif category.name == "camera":
        thin, thick = [], _join([body_grasps(size, gripper), box_grasps(size, gripper)])
    elif category.name == "bottle":
        thin, thick = [], _join([side_grasps(size, gripper), neck_grasps(size, gripper)])
    elif category.symmetric:
        thin, thick = [], _join([side_grasps(size, gripper), top_grasps(size, gripper)])
    else:
        thin, thick = [], box_grasps(size, gripper)
    grasps = _join(thin if thick is None else [*thin, _with_openings(thick, gripper)])
    return grasps.select(grasps.width + 0.002 <= grasps.opening)
