# SPDX-License-Identifier: Apache-2.0
"""Convex parts of the procedural meshes, for collisions: hollow objects stay hollow.

A mesh is cut into cells by planes; each cell's part is the convex hull of the surface inside it. The cells suit the
category: bands of a bottle, sectors and bands of a bowl, a grid of a camera.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from train.render.meshes import Array, Mesh
from train.render.shapes import HANDLE_PART

_LIQUID_PART = 3  # of a mug
_TUBE_SIDES = 13  # vertices per ring of train.render.meshes.tube
_SECTORS = 16
#: Directions (64, 3), nearly uniform on the sphere: a part keeps its extreme points along these.
_INDEX = np.arange(64) + 0.5
_HEIGHT, _ANGLE = 1 - _INDEX / 32, _INDEX * np.pi * (1 + 5**0.5)
_RADIUS = np.sqrt(1 - _HEIGHT**2)
_DIRECTIONS = np.stack([_RADIUS * np.cos(_ANGLE), _RADIUS * np.sin(_ANGLE), _HEIGHT], axis=1)


def clip(triangles: Array, normal: Array, offset: float) -> Array:
    """The part of triangles (T, 3, 3) where normal · p <= offset, as triangles (U, 3, 3)."""
    distance = triangles @ normal - offset
    inside = distance <= 0
    count = inside.sum(axis=1)
    pieces = [triangles[count == 3]]
    for number in (1, 2):  # vertices inside; the odd one out is rotated to the front
        chosen = count == number
        first = (inside[chosen] if number == 1 else ~inside[chosen]).argmax(axis=1)
        order = (first[:, None] + np.arange(3)) % 3
        t = np.take_along_axis(triangles[chosen], order[..., None], axis=1)
        d = np.take_along_axis(distance[chosen], order, axis=1)
        ab = t[:, 0] + (t[:, 1] - t[:, 0]) * (d[:, 0] / (d[:, 0] - d[:, 1]))[:, None]
        ac = t[:, 0] + (t[:, 2] - t[:, 0]) * (d[:, 0] / (d[:, 0] - d[:, 2]))[:, None]
        if number == 1:
            pieces.append(np.stack([t[:, 0], ab, ac], axis=1))
        else:
            pieces.append(np.stack([ab, t[:, 1], t[:, 2]], axis=1))
            pieces.append(np.stack([ab, t[:, 2], ac], axis=1))
    return np.concatenate(pieces)


def bands(triangles: Array, axis: int, edges: Sequence[float]) -> list[Array]:
    """Triangles between consecutive edges along an axis (0, 1 or 2); the outer bands are unbounded."""
    normal = np.eye(3)[axis]
    pieces, rest = [], triangles
    for edge in edges:
        pieces.append(clip(rest, normal, edge))
        rest = clip(rest, -normal, -edge)
    return [*pieces, rest]


def sectors(triangles: Array, axis: Array, count: int = _SECTORS) -> list[Array]:
    """Triangles in equal sectors about the vertical line through ``axis`` (3,)."""
    pieces = []
    for start in np.arange(count) * 2 * np.pi / count:
        stop = start + 2 * np.pi / count
        low = np.array([np.sin(start), 0.0, -np.cos(start)])
        high = np.array([-np.sin(stop), 0.0, np.cos(stop)])
        pieces.append(clip(clip(triangles, low, float(low @ axis)), high, float(high @ axis)))
    return pieces


def hull(points: Array) -> Array | None:
    """Vertices (N, 3) of the convex hull of points, at most 64; None if it is flat or smaller than a millimetre."""
    points = points.reshape(-1, 3)
    if len(points) < 4 or np.ptp(points, axis=0).max() < 1e-3:
        return None
    centred = points - points.mean(axis=0)
    extreme = points[np.unique((centred @ _DIRECTIONS.T).argmax(axis=0))]
    if len(extreme) < 4 or np.linalg.svd(extreme - extreme.mean(axis=0), compute_uv=False)[-1] < 2e-4:
        return None
    try:
        return extreme[ConvexHull(extreme).vertices]
    except QhullError:
        return None


def _triangles(mesh: Mesh, parts: Sequence[int] | None = None) -> Array:
    faces = mesh.faces if parts is None else mesh.faces[np.isin(mesh.parts[mesh.faces[:, 0]], parts)]
    return mesh.vertices[faces]


def _hollow(triangles: Array, axis: Array, levels: Sequence[float]) -> list[Array]:
    """Sectors of a vessel, cut at heights given as fractions of its height."""
    low, high = triangles[..., 1].min(), triangles[..., 1].max()
    edges = [low + f * (high - low) for f in levels]
    return [piece for sector in sectors(triangles, axis) for piece in bands(sector, 1, edges)]


def _mug(mesh: Mesh) -> list[Array]:
    handle = mesh.vertices[mesh.parts == HANDLE_PART].reshape(-1, _TUBE_SIDES, 3)
    pieces = [handle[i : i + 4] for i in range(0, len(handle) - 1, 3)]
    body = _triangles(mesh, [p for p in np.unique(mesh.parts) if p not in (HANDLE_PART, _LIQUID_PART)])
    axis = (body.reshape(-1, 3).min(axis=0) + body.reshape(-1, 3).max(axis=0)) / 2
    return [*pieces, *_hollow(body, axis, (0.1, 0.4, 0.7))]


def _laptop(mesh: Mesh) -> list[Array]:
    groups = [_triangles(mesh, parts) for parts in ([0, 1, 2], [3, 4, 5], [6])]
    feet = mesh.vertices[(mesh.parts == 7) & (mesh.vertices[:, 1] < groups[0][..., 1].min() + 0.003)]
    return [*groups, feet]


def _camera(mesh: Mesh) -> list[Array]:
    v, half = mesh.vertices, mesh.extents / 2
    end = v[v[:, 2] < -half[2] + 0.2 * mesh.extents[2]]
    front = float(min(end[:, 0].max(), -half[0] + 0.06))  # of the body, beside the lens
    depths = [front, front + 0.4 * (half[0] - front)] if half[0] - front > 0.004 else []
    columns = [f * mesh.extents[2] for f in (-0.3, -0.15, 0.15, 0.28)]
    return [
        cell
        for slab in bands(_triangles(mesh), 0, depths)
        for column in bands(slab, 2, columns)
        for cell in bands(column, 1, [-0.1 * mesh.extents[1], 0.15 * mesh.extents[1]])
    ]


def convex_parts(kind: str, mesh: Mesh) -> list[Array]:
    """Vertices (N, 3) of each convex part of a mesh of a category, object frame, metres."""
    if kind == "bowl":
        pieces = _hollow(_triangles(mesh), np.zeros(3), (0.12, 0.35, 0.65))
    elif kind == "mug":
        pieces = _mug(mesh)
    elif kind == "laptop":
        pieces = _laptop(mesh)
    elif kind == "camera":
        pieces = _camera(mesh)
    else:
        low, high = mesh.vertices[:, 1].min(), mesh.vertices[:, 1].max()
        pieces = bands(_triangles(mesh), 1, np.linspace(low, high, 11)[1:-1].tolist())
    return [part for part in map(hull, pieces) if part is not None]
