# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms, boxes and symmetry-aware pose errors (NumPy, batched over leading dimensions)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

#: Signs of the eight corners of a box, (8, 3): bit 2 of the index is x, bit 1 is y, bit 0 is z.
CORNER_SIGNS: np.ndarray = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)

#: The twelve edges of a box as pairs of indices into its corners.
BOX_EDGES: tuple[tuple[int, int], ...] = tuple((i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit)


def make_transform(rotation: ArrayLike, translation: ArrayLike) -> np.ndarray:
    """Homogeneous transform (..., 4, 4) of a rotation (..., 3, 3) and a translation (..., 3)."""
    r, t = np.asarray(rotation, dtype=np.float64), np.asarray(translation, dtype=np.float64)
    out = np.zeros((*np.broadcast_shapes(r.shape[:-2], t.shape[:-1]), 4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = r, t, 1.0
    return out


def invert(transform: ArrayLike) -> np.ndarray:
    """Inverse of a rigid transform (..., 4, 4)."""
    m = np.asarray(transform, dtype=np.float64)
    r = np.swapaxes(m[..., :3, :3], -1, -2)
    return make_transform(r, -(r @ m[..., :3, 3:])[..., 0])


def transform(matrix: ArrayLike, points: ArrayLike) -> np.ndarray:
    """Transform points (..., 3) by a (4, 4) matrix."""
    m, p = np.asarray(matrix, dtype=np.float64), np.asarray(points, dtype=np.float64)
    return p @ m[:3, :3].T + m[:3, 3]


def box_corners(size: ArrayLike) -> np.ndarray:
    """Corners (..., 8, 3) of a box of full extents ``size`` (..., 3) centred at the origin."""
    return np.asarray(size, dtype=np.float64)[..., None, :] / 2 * CORNER_SIGNS


def rotation_error(first: ArrayLike, second: ArrayLike, symmetric: ArrayLike = False) -> np.ndarray:
    """Angle in radians between rotations (..., 3, 3); between their y axes where ``symmetric`` (...).

    Computed with atan2, which is exact near 0 and pi, where arccos of the trace is not.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    relative = np.swapaxes(a, -1, -2) @ b
    skew = np.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        axis=-1,
    )
    full = np.arctan2(np.linalg.norm(skew, axis=-1), np.trace(relative, axis1=-2, axis2=-1) - 1.0)
    off_axis = np.hypot(relative[..., 0, 1], relative[..., 2, 1])
    axis = np.arctan2(off_axis, relative[..., 1, 1])
    return np.where(np.asarray(symmetric, dtype=bool), axis, full)


def rotation_about_y(angle: ArrayLike) -> np.ndarray:
    """Rotation (..., 3, 3) by ``angle`` (...) radians about +y."""
    a = np.asarray(angle, dtype=np.float64)
    out = np.zeros((*a.shape, 3, 3))
    out[..., 0, 0] = out[..., 2, 2] = np.cos(a)
    out[..., 0, 2], out[..., 2, 0] = np.sin(a), -np.sin(a)
    out[..., 1, 1] = 1.0
    return out


def canonicalize_symmetric(rotation: ArrayLike, reference_direction: ArrayLike) -> np.ndarray:
    """Rotate orientations (..., 3, 3) about their own y axes so that their x axes are nearest to a direction.

    All yaws of an object that is symmetric about y are the same pose; this selects one. The direction is that from
    object to camera for a new track, afterwards the last x axis of the track, which gives the nearest yaw.

    :param reference_direction: (..., 3) in the frame that ``rotation`` maps to. If it is
        parallel to the y axis, the rotation is returned unchanged.
    """
    r, d = np.asarray(rotation, dtype=np.float64), np.asarray(reference_direction, dtype=np.float64)
    local = (np.swapaxes(r, -1, -2) @ d[..., None])[..., 0]
    parallel = np.hypot(local[..., 0], local[..., 2]) < 1e-9 * np.linalg.norm(local, axis=-1)
    angle = np.where(parallel, 0.0, np.arctan2(-local[..., 2], local[..., 0]))
    return r @ rotation_about_y(angle)


def rotation_vector(rotation: ArrayLike) -> np.ndarray:
    """Rotation vectors (..., 3), radians, of rotations (..., 3, 3); the angle is at most pi.

    Computed from the unit quaternion, with its largest component from the diagonal, which is exact for all angles.
    """
    m = np.asarray(rotation, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # Four times the outer product of the quaternion (w, x, y, z) with itself: each row is proportional to it.
    rows = [
        [1 + xx + yy + zz, wx, wy, wz],
        [wx, 1 + xx - yy - zz, xy, xz],
        [wy, xy, 1 - xx + yy - zz, yz],
        [wz, xz, yz, 1 - xx - yy + zz],
    ]
    outer = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    largest = np.diagonal(outer, axis1=-2, axis2=-1).argmax(-1)
    quaternion = np.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[..., :1])
    return quaternion[..., 1:] * np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 0)
