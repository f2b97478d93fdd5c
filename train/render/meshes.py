# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes built from a few primitives: lathe, rounded box, panel, tube.

All lengths are metres. Every primitive returns a :class:`Mesh`; an object is primitives placed and joined,
then centred on its axis-aligned box. Parts may overlap; no Boolean operations are used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
MAXIMUM_PARTS = 8
# Kinds of surface that a part can have; train.render.materials draws a material for each.
SURFACES = frozenset(
    "ceramic clear_plastic fabric glass keyboard leather liquid metal paper plastic print rubber screen tags wood "
    "apple banana lemon orange pear leaf skin soil".split()
)


@dataclass(frozen=True)
class Mesh:
    """Triangles with per-vertex attributes.

    vertices (V, 3) m, normals (V, 3) unit and outward, uvs (V, 2) with v = 0 at the image's top row,
    parts (V,) int: which material of the object a vertex has; faces (F, 3) int, counter-clockwise seen from
    outside. ``surfaces``: the kind of surface of each part, by part number (one of :data:`SURFACES`, at most
    :data:`MAXIMUM_PARTS`); empty if the kind of object determines the materials.
    """

    vertices: Array
    normals: Array
    uvs: Array
    parts: NDArray[np.int32]
    faces: NDArray[np.int32]
    surfaces: tuple[str, ...] = ()

    @property
    def extents(self) -> Array:
        """Sides (3,) of the axis-aligned box, metres."""
        return self.vertices.max(axis=0) - self.vertices.min(axis=0)

    def moved(self, rotation: ArrayLike | None = None, translation: ArrayLike = (0.0, 0.0, 0.0)) -> Mesh:
        """The mesh after ``x -> R x + t``."""
        matrix = np.eye(3) if rotation is None else np.asarray(rotation, dtype=float)
        return replace(
            self,
            vertices=self.vertices @ matrix.T + np.asarray(translation, dtype=float),
            normals=self.normals @ matrix.T,
        )

    def centred(self) -> Mesh:
        """The mesh moved so that the centre of its axis-aligned box is the origin."""
        centre = (self.vertices.max(axis=0) + self.vertices.min(axis=0)) / 2
        return replace(self, vertices=self.vertices - centre)


def clipped_normal(rng: Generator, mean: float, sigma: float, low: float, high: float) -> float:
    """A normally distributed value clipped to [low, high], for the dimensions of shapes."""
    return float(np.clip(rng.normal(mean, sigma), low, high))


def join(meshes: list[Mesh], *surfaces: str) -> Mesh:
    """Join meshes into one; ``surfaces``: kinds of surface of parts 0, 1, ... of the result."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uvs for mesh in meshes]),
        np.concatenate([mesh.parts for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]).astype(np.int32),
        surfaces,
    )


def rotation_about(axis: str, angle: float) -> Array:
    """Right-handed rotation (3, 3) by ``angle`` radians about "x", "y" or "z"."""
    c, s = np.cos(angle), np.sin(angle)
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=float)
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=float)
    if axis == "z":
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=float)
    raise ValueError(f"axis is {axis!r}, it must be 'x', 'y' or 'z'")


def grid_faces(rows: int, columns: int) -> NDArray[np.int32]:
    """Triangles of a (rows, columns) vertex grid; outward is (row direction) x (column direction)."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]
    quads = np.stack([a, b, c, c, b, d], axis=-1).reshape(-1, 3)
    return quads.astype(np.int32)


def _smooth_runs(profile: Array, crease: float) -> list[Array]:
    """Split a polyline where it bends by more than ``crease`` radians."""
    steps = np.diff(profile, axis=0)
    heading = np.arctan2(steps[:, 1], steps[:, 0])
    bend = np.abs((np.diff(heading) + np.pi) % (2 * np.pi) - np.pi)
    cuts = [0, *(np.nonzero(bend > crease)[0] + 1), len(profile) - 1]
    return [profile[a : b + 1] for a, b in pairwise(cuts)]


def lathe(profile: ArrayLike, part: int = 0, segments: int = 40, crease_deg: float = 38.0) -> Mesh:
    """Revolve a profile (N, 2) of (radius, height) about y.

    The profile runs from the bottom axis outwards, up the outside, then (if hollow) down the inside: the
    surface's outside lies to the right of the direction of travel. Bends above ``crease_deg`` stay sharp.
    """
    points = np.asarray(profile, dtype=float)
    keep = np.concatenate([[True], np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-7])
    points = points[keep]
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    cos, sin = np.cos(angle), np.sin(angle)
    pieces, start = [], 0
    for run in _smooth_runs(points, np.radians(crease_deg)):
        steps = np.diff(run, axis=0)
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        tangent = np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        radius, height = run[:, :1], run[:, 1:]
        normal_r, normal_y = tangent[:, 1:], -tangent[:, :1]
        one = np.ones_like(angle)
        vertices = np.stack([radius * cos, height * one, radius * sin], axis=-1)
        normals = np.stack([normal_r * cos, normal_y * one, normal_r * sin], axis=-1)
        v = 1 - length[start : start + len(run)] / length[-1]
        uvs = np.stack(np.broadcast_arrays(1 - angle / (2 * np.pi), v[:, None]), axis=-1)
        count = vertices.shape[0] * vertices.shape[1]
        pieces.append(
            Mesh(
                vertices.reshape(-1, 3),
                normals.reshape(-1, 3),
                uvs.reshape(-1, 2),
                np.full(count, part, dtype=np.int32),
                grid_faces(len(run), segments + 1),
            )
        )
        start += len(run) - 1
    return join(pieces)


def rounded_box(size: ArrayLike, radius: float, part: int = 0, steps: int = 3) -> Mesh:
    """A box of full extents ``size`` (3,) whose edges are rounded with ``radius``."""
    half = np.asarray(size, dtype=float) / 2
    radius = float(min(radius, 0.999 * half.min()))
    ramp = np.linspace(0, 1, steps + 1)
    lines = [np.concatenate([-h + radius * ramp, h - radius * ramp[::-1]]) for h in half]
    pieces = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            first, second = ((axis + 1) % 3, (axis + 2) % 3) if sign > 0 else ((axis + 2) % 3, (axis + 1) % 3)
            a, b = np.meshgrid(lines[first], lines[second], indexing="ij")
            points = np.empty((*a.shape, 3))
            points[..., axis], points[..., first], points[..., second] = sign * half[axis], a, b
            inner = np.clip(points, -(half - radius), half - radius)
            normals = points - inner
            normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
            uvs = np.stack([a / (2 * half[first]) + 0.5, 0.5 - b / (2 * half[second])], axis=-1)
            pieces.append(
                Mesh(
                    (inner + radius * normals).reshape(-1, 3),
                    normals.reshape(-1, 3),
                    uvs.reshape(-1, 2),
                    np.full(a.size, part, dtype=np.int32),
                    grid_faces(*a.shape),
                )
            )
    return join(pieces)


def panel(centre: ArrayLike, right: ArrayLike, up: ArrayLike, part: int = 0) -> Mesh:
    """A flat rectangle of full sides ``right`` and ``up`` (3,) as its viewer sees them, facing right x up."""
    c, r, u = (np.asarray(value, dtype=float) for value in (centre, right, up))
    normal = np.cross(r, u)
    normal /= np.linalg.norm(normal)
    corners = np.array([c - r / 2 + u / 2, c - r / 2 - u / 2, c + r / 2 + u / 2, c + r / 2 - u / 2])
    return Mesh(
        corners,
        np.tile(normal, (4, 1)),
        np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float),
        np.full(4, part, dtype=np.int32),
        np.array([[0, 1, 2], [2, 1, 3]], dtype=np.int32),
    )


def tube(path: ArrayLike, across: ArrayLike, thick: ArrayLike, part: int = 0, sides: int = 12) -> Mesh:
    """Sweep an ellipse along a path (N, 3) lying in the plane z = const, open ended.

    ``across`` is the half width along z, ``thick`` the half width in the plane; each a number or one per
    point (N,).
    """
    points = np.asarray(path, dtype=float)
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    z = np.array([0.0, 0.0, 1.0])
    side = np.cross(z, tangent)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    a = np.broadcast_to(np.asarray(thick, dtype=float), len(points))[:, None, None]
    b = np.broadcast_to(np.asarray(across, dtype=float), len(points))[:, None, None]
    cos, sin = np.cos(angle)[None, :, None], np.sin(angle)[None, :, None]
    # side x tangent = -z, so the rotation from side towards -z keeps (row) x (column) pointing outwards
    vertices = points[:, None] + a * cos * side[:, None] - b * sin * z
    normals = cos * side[:, None] / a - sin * z / b
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    rows = len(points)
    uvs = np.stack(np.broadcast_arrays(angle / (2 * np.pi), np.linspace(0, 1, rows)[:, None]), axis=-1)
    return Mesh(
        vertices.reshape(-1, 3),
        normals.reshape(-1, 3),
        uvs.reshape(-1, 2),
        np.full(rows * (sides + 1), part, dtype=np.int32),
        grid_faces(rows, sides + 1),
    )
