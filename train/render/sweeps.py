# SPDX-License-Identifier: Apache-2.0
"""More primitives: ellipsoids, sweeps along a path, extruded outlines, grids, and maps of a mesh.

Lengths are metres; conventions as in :mod:`train.render.meshes`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from train.render.meshes import Array, Mesh, grid_faces, join, lathe


def arc(centre: tuple[float, float], radius: tuple[float, float], start: float, stop: float, n: int = 7) -> Array:
    """Points (n, 2) of an elliptic arc, angles in degrees."""
    angle = np.radians(np.linspace(start, stop, n))
    return np.stack([centre[0] + radius[0] * np.cos(angle), centre[1] + radius[1] * np.sin(angle)], axis=1)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def resampled(path: Array, count: int) -> Array:
    """``count`` evenly spaced points along a polyline (N, D)."""
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    where = np.linspace(0, s[-1], count)
    return np.stack([np.interp(where, s, axis) for axis in path.T], axis=1)


def scaled(mesh: Mesh, factors: ArrayLike) -> Mesh:
    """The mesh stretched by ``factors`` (3,) > 0 along x, y and z."""
    f = np.asarray(factors, dtype=float)
    return replace(mesh, vertices=mesh.vertices * f, normals=_unit(mesh.normals / f))


def squared(mesh: Mesh, exponent: float) -> Mesh:
    """Change the circles about y to superellipses of ``exponent`` >= 2 with the same half widths."""
    radius = np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2])
    cs = mesh.vertices[:, [0, 2]] / np.maximum(radius, 1e-9)[:, None]
    factor = np.maximum((np.abs(cs) ** exponent).sum(axis=1), 1e-9) ** (-1 / exponent)
    factor[radius < 1e-9] = 1
    vertices, normals = mesh.vertices.copy(), mesh.normals.copy()
    vertices[:, [0, 2]] *= factor[:, None]
    outward = _unit(np.sign(cs) * np.abs(cs) ** (exponent - 1))
    along = (normals[:, [0, 2]] * cs).sum(axis=1)
    # dr/dy grows with the factor, so the radial part of the normal shrinks against the vertical one.
    normals[:, [0, 2]] = along[:, None] * outward
    normals[:, 1] *= factor * np.maximum((outward * cs).sum(axis=1), 0.2)
    return replace(mesh, vertices=vertices, normals=_unit(normals))


def ellipsoid(radii: ArrayLike, part: int = 0, rows: int = 17, segments: int = 24) -> Mesh:
    """An ellipsoid with half axes ``radii`` (3,), centred at the origin."""
    unit = lathe(arc((0, 0), (1, 1), -90, 90, rows), part, segments, crease_deg=90)
    return scaled(unit, radii)


def grid_surface(points: ArrayLike, part: int = 0, closed: bool = False) -> Mesh:
    """A smooth surface through points (R, C, 3); it faces (row direction) x (column direction).

    ``closed``: the last column repeats the first, and normals are continuous there.
    """
    p = np.asarray(points, dtype=float)
    if closed:
        around = np.concatenate([p[:, -2:-1], p, p[:, 1:2]], axis=1)
        across = np.gradient(around, axis=1)[:, 1:-1]
    else:
        across = np.gradient(p, axis=1)
    normals = np.cross(np.gradient(p, axis=0), across)
    flat = np.linalg.norm(normals, axis=-1) < 1e-14
    normals = _unit(normals)
    if flat.any():  # a pole: the neighbouring row's mean
        for row in np.nonzero(flat.any(axis=1))[0]:
            near = row + 1 if row == 0 else row - 1
            normals[row] = _unit(normals[near].mean(axis=0))
    rows, columns = p.shape[:2]
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    return Mesh(
        p.reshape(-1, 3),
        normals.reshape(-1, 3),
        np.stack([u, v], axis=-1).reshape(-1, 2),
        np.full(rows * columns, part, dtype=np.int32),
        grid_faces(rows, columns),
    )


def _frames(tangent: Array) -> tuple[Array, Array]:
    """Two unit vectors (N, 3) across each tangent (N, 3), without twist along the path."""
    start = np.eye(3)[np.argmin(np.abs(tangent[0]))]
    first = np.empty_like(tangent)
    previous = start
    for i, t in enumerate(tangent):
        across = previous - (previous @ t) * t
        previous = across / np.linalg.norm(across)
        first[i] = previous
    return first, np.cross(tangent, first)


def sweep(path: ArrayLike, radius: ArrayLike, part: int = 0, sides: int = 12, round_ends: bool = True) -> Mesh:
    """A round bar along a path (N, 3) of ``radius`` (one, or one per point), closed by domes or flat ends."""
    points = np.asarray(path, dtype=float)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(points))
    tangent = _unit(np.gradient(points, axis=0))
    first, second = _frames(tangent)
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    bend = np.radians(np.linspace(90, 18, 5)) if round_ends else np.radians([90.0])
    flat = 1.0 if round_ends else 0.0
    index = np.concatenate([np.zeros(len(bend), int), np.arange(len(points)), np.full(len(bend), len(points) - 1)])
    shift = np.concatenate(
        [-flat * radii[0] * np.sin(bend), np.zeros(len(points)), flat * radii[-1] * np.sin(bend[::-1])]
    )
    r = np.concatenate([radii[0] * np.cos(bend), radii, radii[-1] * np.cos(bend[::-1])])
    along = s[index] + shift
    centre = points[index] + shift[:, None] * tangent[index]
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    radial = np.cos(angle)[:, None] * first[index][:, None] + np.sin(angle)[:, None] * second[index][:, None]
    slope_s, slope_r = np.gradient(along), np.gradient(r)
    normals = _unit(slope_s[:, None, None] * radial - slope_r[:, None, None] * tangent[index][:, None])
    u, v = np.meshgrid(angle / (2 * np.pi), along / max(along[-1], 1e-9), indexing="xy")
    count = len(index) * (sides + 1)
    return Mesh(
        (centre[:, None] + r[:, None, None] * radial).reshape(-1, 3),
        normals.reshape(-1, 3),
        np.stack([u, v], axis=-1).reshape(-1, 2),
        np.full(count, part, dtype=np.int32),
        # tangent x (direction of increasing angle) points inwards
        grid_faces(len(index), sides + 1)[:, ::-1],
    )


def rounded_rectangle(width: float, height: float, radius: float, n: int = 5) -> Array:
    """Counter-clockwise outline (4 n, 2) centred at the origin."""
    radius = min(radius, 0.499 * min(width, height))
    a, b = width / 2 - radius, height / 2 - radius
    corners = [((a, b), 0), ((-a, b), 90), ((-a, -b), 180), ((a, -b), 270)]
    return np.concatenate([arc(c, (radius, radius), start, start + 90, n) for c, start in corners])


def _cap(outline: Array, y: float, up: bool, part: int) -> Mesh:
    """A flat face at height ``y`` over a star-shaped outline (N, 2) of (x, z)."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    ring = np.concatenate([outline.mean(axis=0)[None], outline])
    count = len(outline)
    i = 1 + np.arange(count)
    j = 1 + (np.arange(count) + 1) % count
    faces = np.stack([np.zeros(count, int), j, i] if up else [np.zeros(count, int), i, j], axis=1)
    uvs = (ring - low) / (high - low)
    uvs[:, 1] = uvs[:, 1] if up else 1 - uvs[:, 1]
    return Mesh(
        np.stack([ring[:, 0], np.full(count + 1, y), ring[:, 1]], axis=1),
        np.tile([0.0, 1.0 if up else -1.0, 0.0], (count + 1, 1)),
        uvs,
        np.full(count + 1, part, dtype=np.int32),
        faces.astype(np.int32),
    )


def _band(low: Array, high: Array, y_low: float, y_high: float, normals: Array, part: int) -> Mesh:
    """Quads between two outlines (N, 2); ``normals`` (N, 2, 3) at the start and end of each edge."""
    count = len(low)
    following = (np.arange(count) + 1) % count
    corners = np.stack([low, high, low[following], high[following]], axis=1)  # (N, 4, 2)
    y = np.broadcast_to([y_low, y_high, y_low, y_high], (count, 4))
    vertices = np.stack([corners[..., 0], y, corners[..., 1]], axis=-1)
    base = 4 * np.arange(count)[:, None]
    faces = np.concatenate([base + [0, 1, 2], base + [2, 1, 3]])
    u = np.concatenate([np.arange(count), [count]]) / count
    uvs = np.stack([np.stack([u[:-1], u[:-1], u[1:], u[1:]], axis=1), np.tile([1.0, 0, 1, 0], (count, 1))], axis=-1)
    return Mesh(
        vertices.reshape(-1, 3),
        normals[:, [0, 0, 1, 1]].reshape(-1, 3),
        uvs.reshape(-1, 2),
        np.full(4 * count, part, dtype=np.int32),
        faces.astype(np.int32),
    )


def extrude(outline: ArrayLike, height: float, part: int = 0, bevel: float = 0.0, crease_deg: float = 35.0) -> Mesh:
    """A plate over an outline (N, 2) of (x, z), from y = 0 up to ``height``.

    The outline is counter-clockwise in (x, z) and star-shaped about its mean; ``bevel`` cuts the rims by 45 degrees.
    """
    points = np.asarray(outline, dtype=float)
    points = points[np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1) > 1e-7]
    edge = np.roll(points, -1, axis=0) - points
    outward = _unit(np.stack([edge[:, 1], -edge[:, 0]], axis=1))
    smooth = np.cos(np.radians(crease_deg))
    pairs = []
    for neighbour in (np.roll(outward, 1, axis=0), np.roll(outward, -1, axis=0)):
        near = (outward * neighbour).sum(axis=1, keepdims=True) > smooth
        pairs.append(_unit(np.where(near, outward + neighbour, outward)))
    flat = np.stack(pairs, axis=1)  # (N, 2, 2)
    side: NDArray[np.float64] = np.stack([flat[..., 0], np.zeros(flat.shape[:2]), flat[..., 1]], axis=-1)
    if bevel <= 0:
        return join(
            [
                _cap(points, 0.0, False, part),
                _band(points, points, 0.0, height, side, part),
                _cap(points, height, True, part),
            ]
        )
    bevel = min(bevel, 0.49 * height)
    inset = points - bevel * _unit(outward + np.roll(outward, 1, axis=0))
    tilt = np.array([0.0, 1.0, 0.0])
    return join(
        [
            _cap(inset, 0.0, False, part),
            _band(inset, points, 0.0, bevel, _unit(side - tilt), part),
            _band(points, points, bevel, height - bevel, side, part),
            _band(points, inset, height - bevel, height, _unit(side + tilt), part),
            _cap(inset, height, True, part),
        ]
    )


def shell(points: ArrayLike, thickness: float, part: int = 0, back: int | None = None) -> Mesh:
    """A thin sheet: the grid (R, C, 3) on its facing side and the same grid moved inwards on the ``back`` part."""
    front = grid_surface(points, part)
    p = np.asarray(points, dtype=float)
    moved = p - thickness * front.normals.reshape(p.shape)
    return join([front, grid_surface(moved[:, ::-1], part if back is None else back)])
