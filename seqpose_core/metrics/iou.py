# SPDX-License-Identifier: Apache-2.0
"""IoU of 3D boxes: exact for oriented boxes, and in the two interval forms of the NOCS protocol.

A box is given as in NOCS: a transform (4, 4) from its own frame to the camera frame, whose upper left block
may carry a scale, and extents (3,) along its own axes; the box is ``transform · (± extents / 2)``.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

Intervals = tuple[np.ndarray, np.ndarray]
IouKind = Literal["original", "fixed", "oriented"]
IOU_KINDS: tuple[IouKind, ...] = ("original", "fixed", "oriented")

#: A symmetric prediction is tried at this many rotations about its y axis (NOCS protocol).
SYMMETRY_STEPS = 20

_CHUNK = 1024
# The second box is enlarged by a tiny amount, different along each axis, so that coincident faces and edges, which
# rounding would count twice or not at all, become distinct. The relative change of volume is below 1e-8.
_ENLARGEMENT = 1e-9 * np.array([1.0, 1.37, 1.81])
# Planes at a smaller angle (radians) than this do not intersect within the boxes.
_PARALLEL = 1e-11
# Corner signs in the order of the official evaluation: its interval form compares corner k with corner k.
_NOCS_SIGNS = np.array([[x, y, z] for y in (1, -1) for x in (1, -1) for z in (1, -1)], dtype=np.float32)


def rotated_about_y(transforms: np.ndarray, steps: int = SYMMETRY_STEPS) -> np.ndarray:
    """Transforms (N, 4, 4) rotated about their own y axes by 2πi/steps, i = 0..steps-1: (N, steps, 4, 4)."""
    rotation = np.zeros((steps, 4, 4))
    rotation[:, 1, 1] = rotation[:, 3, 3] = 1.0
    for i in range(steps):
        angle = 2 * math.pi * i / float(steps)
        rotation[i, 0, 0] = rotation[i, 2, 2] = np.cos(angle)
        rotation[i, 0, 2], rotation[i, 2, 0] = np.sin(angle), -np.sin(angle)
    return transforms[:, None] @ rotation


def intervals(transforms: np.ndarray, extents: np.ndarray, kind: IouKind) -> Intervals:
    """Lower and upper ends of the intervals that represent boxes in the NOCS protocol.

    :param transforms: (..., 4, 4), ``extents``: (..., 3). Their floating point types are kept, as in the official
        evaluation: the last digits of its figures depend on them.
    :param kind: "fixed" takes the minimum and maximum of x, y, z over the eight corners, an axis-aligned box in the
        camera frame: two arrays (..., 3). "original" takes, as the official code does, the minimum and maximum
        *coordinate of each corner*: two arrays (..., 8), which have little geometric meaning.
    """
    corners = (_NOCS_SIGNS * (extents[..., None, :] / 2)).swapaxes(-1, -2)
    homogeneous = np.concatenate([corners, np.ones_like(corners[..., :1, :])], axis=-2)
    moved = transforms @ homogeneous
    points = moved[..., :3, :] / moved[..., 3:, :]
    axis = -2 if kind == "original" else -1
    return points.min(axis=axis), points.max(axis=axis)


def interval_iou(first: Intervals, second: Intervals) -> np.ndarray:
    """Intersection over union (...) of products of intervals (..., k); NaN where both are empty products."""
    overlap = np.minimum(first[1], second[1]) - np.maximum(first[0], second[0])
    shared = np.where(overlap.min(axis=-1) < 0, 0, np.prod(overlap, axis=-1))
    union = np.prod(first[1] - first[0], axis=-1) + np.prod(second[1] - second[0], axis=-1) - shared
    with np.errstate(invalid="ignore", divide="ignore"):
        return shared / union


def _half_spaces(box: np.ndarray, enlargement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward unit normals (N, 6, 3) and offsets (N, 6) from the origin of the faces of boxes (N, 4, 4).

    :param enlargement: (3,) added to the half extents along the axes of the boxes.
    """
    rows = np.linalg.inv(box[:, :3, :3])
    length = np.linalg.norm(rows, axis=-1)
    normal = rows / length[..., None]
    middle = (normal @ box[:, :3, 3:])[..., 0]
    half = 0.5 / length + enlargement
    return np.concatenate([normal, -normal], axis=1), np.concatenate([half + middle, half - middle], axis=1)


_PAIRS = np.array([(i, j) for i in range(12) for j in range(i + 1, 12) if i // 6 != j // 6 or j - i != 3])


def _intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Shared volume (N,) of non-degenerate boxes (N, 4, 4), each the image of the unit cube [-½, ½]³.

    The divergence theorem is applied twice: the volume is a third of the sum over faces of area times distance, and the
    area of a face is half the sum over its edges of length times distance in the face (Lasserre 1983). The edges of the
    intersection lie on the lines in which two of the twelve face planes intersect; each line is clipped by all other
    planes.
    """
    origin = first[:, :3, 3]
    unit = np.maximum(np.linalg.norm(first[:, :3, :3], axis=(1, 2)), np.linalg.norm(second[:, :3, :3], axis=(1, 2)))
    to_unit = np.zeros_like(first)
    to_unit[:, [0, 1, 2], [0, 1, 2]] = 1.0 / unit[:, None]
    to_unit[:, :3, 3], to_unit[:, 3, 3] = -origin / unit[:, None], 1.0
    planes = [_half_spaces(to_unit @ first, np.zeros(3)), _half_spaces(to_unit @ second, _ENLARGEMENT)]
    normal = np.concatenate([planes[0][0], planes[1][0]], axis=1)
    offset = np.concatenate([planes[0][1], planes[1][1]], axis=1)

    i, j = _PAIRS.T
    n, m, a, b = normal[:, i], normal[:, j], offset[:, i], offset[:, j]
    across = np.cross(n, m)
    sine = np.linalg.norm(across, axis=-1)
    crossing = sine > _PARALLEL
    sine = np.where(crossing, sine, 1.0)
    direction = across / sine[..., None]
    # In face n, the edge is at distance far_n from the projection of the origin, along in_n; likewise in face m.
    in_n = np.cross(direction, n)
    cosine = (n * m).sum(axis=-1)
    far_n, far_m = (b - cosine * a) / sine, (a - cosine * b) / sine
    point = a[..., None] * n + far_n[..., None] * in_n

    slope = direction @ normal.swapaxes(1, 2)
    slack = offset[:, None, :] - point @ normal.swapaxes(1, 2)
    own = np.zeros((len(_PAIRS), 12), dtype=bool)
    own[np.arange(len(_PAIRS)), i] = own[np.arange(len(_PAIRS)), j] = True
    parallel = own | (np.abs(slope) < _PARALLEL)
    outside = (parallel & ~own & (slack < 0)).any(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing_at = slack / slope
    end = np.where(parallel | (slope < 0), np.inf, crossing_at).min(axis=-1)
    start = np.where(parallel | (slope > 0), -np.inf, crossing_at).max(axis=-1)
    kept = crossing & ~outside & (end > start)
    length = np.where(kept, end - start, 0.0)
    volume = (length * (a * far_n + b * far_m)).sum(axis=-1) / 6.0
    return volume * unit**3


def box_transforms(transforms: np.ndarray, extents: np.ndarray) -> np.ndarray:
    """Transforms (..., 4, 4) that map the unit cube [-½, ½]³ to the boxes, in float64."""
    scale = np.ones((*np.shape(extents)[:-1], 1, 4))
    scale[..., 0, :3] = extents
    return np.asarray(transforms, dtype=np.float64) * scale


def oriented_intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Exact intersection volume (N,) of oriented boxes, in the cubed unit of the boxes.

    :param first, second: (N, 4, 4) from :func:`box_transforms`. Sheared boxes are allowed; a box without volume or with
        a value that is not finite intersects nothing.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    volumes = [np.abs(np.linalg.det(box[:, :3, :3])) for box in (first, second)]
    radius = [np.linalg.norm(np.abs(box[:, :3, :3]).sum(axis=-1), axis=-1) / 2 for box in (first, second)]
    with np.errstate(invalid="ignore"):
        has_volume = [v > 1e-12 * (2 * r) ** 3 for v, r in zip(volumes, radius, strict=True)]
        near = np.linalg.norm(first[:, :3, 3] - second[:, :3, 3], axis=-1) <= radius[0] + radius[1]
    candidates = np.flatnonzero(has_volume[0] & has_volume[1] & near)
    shared = np.zeros(len(first))
    for start in range(0, len(candidates), _CHUNK):
        chunk = candidates[start : start + _CHUNK]
        shared[chunk] = _intersection(first[chunk], second[chunk])
    return np.clip(shared, 0.0, np.minimum(*volumes))


def oriented_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Exact IoU (N,) of oriented boxes (N, 4, 4) from :func:`box_transforms`; 0 where one has no volume."""
    shared = oriented_intersection(first, second)
    union = np.abs(np.linalg.det(first[:, :3, :3])) + np.abs(np.linalg.det(second[:, :3, :3])) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def symmetric_oriented_iou(
    transforms: np.ndarray, extents: np.ndarray, others: np.ndarray, steps: int = SYMMETRY_STEPS
) -> np.ndarray:
    """Best :func:`oriented_iou` (N,) over rotations of the first boxes about their own y axes.

    :param transforms, extents: (N, 4, 4) and (N, 3) of the boxes that are rotated; ``others``: (N, 4, 4) from
        :func:`box_transforms`. A box rotated by 180° is the same box, so half of an even number of steps is enough.
    """
    distinct = steps // 2 if steps % 2 == 0 else steps
    candidates = rotated_about_y(np.asarray(transforms, dtype=np.float64), steps)[:, :distinct]
    best = np.zeros(len(others))
    for i in range(distinct):
        best = np.maximum(best, oriented_iou(box_transforms(candidates[:, i], extents), others))
    return best
