# SPDX-License-Identifier: Apache-2.0
"""Placement of objects: resting poses, stacks, leaning and held objects, and positions without overlap.

World frame: z up, the supporting surface is z = 0, metres. Objects that touch form one group, which is placed
as a unit by its footprint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.render.meshes import Array, Mesh, rotation_about
from train.render.shapes import SHAPES

_DIRECTIONS = np.stack([np.cos(np.arange(32) * np.pi / 16), np.sin(np.arange(32) * np.pi / 16)])
Y_UP = rotation_about("x", np.pi / 2)
# No object is stacked on these: they are hollow, thin, or of irregular height.
_NO_BASE = frozenset(
    "bottle bowl mug camera hand tumbler stem_glass vase plant pitcher bag shoe teddy toy_duck headphones lamp "
    "cloth cable pens cutlery hammer screwdriver pliers scissors drill clamp wrench monitor fruit banana ball".split()
)
_LEANERS = frozenset("bottle can camera book box cereal_box notebook phone tablet tag_board remote".split())


@dataclass(frozen=True)
class UnplacedObject:
    """An object before it is placed: ``points`` (V, 3) are its vertices rotated and shifted within its group."""

    kind: str
    model: str
    mesh: Mesh
    rotation: Array
    shift: Array

    @property
    def points(self) -> Array:
        return self.mesh.vertices @ self.rotation.T + self.shift

    def moved(self, shift: Array) -> UnplacedObject:
        return replace(self, shift=self.shift + shift)


def resting_rotation(rng: Generator, kind: str, mesh: Mesh) -> Array:
    """World rotation (3, 3) of an object at rest: upright, lying (20 %) or upside down, any yaw."""
    pose = np.eye(3)
    chance = rng.random()
    x, y, z = mesh.extents
    if kind in ("bottle", "can", "mug") and chance < 0.2:
        # Lying: the axis becomes horizontal; a mug's handle points level or up, where it comes to rest.
        roll = rng.uniform(0, np.pi) if kind == "mug" else rng.uniform(0, 2 * np.pi)
        pose = rotation_about("x", np.pi / 2) @ rotation_about("y", roll)
    elif kind == "camera" and chance < 0.2:
        pose = rotation_about("z", np.pi / 2 if chance < 0.14 else -np.pi / 2)  # lens up or down
    elif kind in ("bowl", "mug") and chance > 0.93:
        pose = rotation_about("z", np.pi)
    elif kind not in SHAPES and chance < 0.3 and y > 0.8 * max(x, z):
        pose = rotation_about("x", np.pi / 2) @ rotation_about("y", rng.integers(4) * np.pi / 2)
    return rotation_about("z", rng.uniform(0, 2 * np.pi)) @ Y_UP @ pose


def rest_on_plane(kind: str, model: str, mesh: Mesh, rotation: Array) -> UnplacedObject:
    """An unplaced object that rests on the plane z = 0 above the origin."""
    low = (mesh.vertices @ rotation.T)[:, 2].min()
    return UnplacedObject(kind, model, mesh, rotation, np.array([0, 0, -low]))


def surface_heights(points: Array, faces: NDArray[np.int32], positions: Array) -> Array:
    """Height (N,) of the highest surface of a mesh at each position (N, 2); -inf where there is none."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    solid = np.abs(area) > 1e-12
    a, b, c, area = a[solid], b[solid], c[solid], area[solid]
    heights = np.full(len(positions), -np.inf)
    for i, (x, y) in enumerate(positions):
        v = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
        w = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / area
        hit = (v >= 0) & (w >= 0) & (v + w <= 1)
        if hit.any():
            heights[i] = (a[hit, 2] + v[hit] * (b[hit, 2] - a[hit, 2]) + w[hit] * (c[hit, 2] - a[hit, 2])).max()
    return heights


def stack_on(base: UnplacedObject, top: UnplacedObject, rng: Generator) -> UnplacedObject | None:
    """``top`` placed on ``base``; None if the base has no level surface of its size."""
    if base.kind in _NO_BASE or base.kind == "laptop":
        return None
    below, above = base.points, top.points
    contact = above[above[:, 2] < above[:, 2].min() + 0.003, :2]
    middle = (below[:, :2].max(axis=0) + below[:, :2].min(axis=0)) / 2
    room = np.ptp(below[:, :2], axis=0) / 2 - np.ptp(contact, axis=0) / 2
    if room.min() < 0:
        return None
    shift = middle + rng.uniform(-0.5, 0.5, 2) * room - (contact.max(axis=0) + contact.min(axis=0)) / 2
    ring = contact[(contact @ _DIRECTIONS[:, ::4]).argmax(axis=0)]
    positions = np.concatenate([ring, contact.mean(axis=0, keepdims=True)]) + shift
    heights = surface_heights(below, base.mesh.faces, positions)
    if not np.isfinite(heights).all() or np.ptp(heights) > 0.002 or heights.max() < 0.004:
        return None
    return top.moved(np.array([*shift, heights.max() + 0.0002]))


def _below(item: UnplacedObject, height: float) -> Array:
    """The vertices below ``height`` and the points where edges cross it (N, 3)."""
    points, faces = item.points, item.mesh.faces
    a = points[faces.ravel()]
    b = points[np.roll(faces, 1, axis=1).ravel()]
    crossing = (a[:, 2] < height) & (b[:, 2] >= height)
    a, b = a[crossing], b[crossing]
    share = (height - a[:, 2:]) / (b[:, 2:] - a[:, 2:])
    return np.concatenate([points[points[:, 2] < height], a + share * (b - a)])


def lean_on(base: UnplacedObject, leaner: UnplacedObject, rng: Generator) -> UnplacedObject | None:
    """``leaner``, upright, tilted against the +x side of ``base``; None if the base is too low."""
    below = base.points
    height = below[:, 2].max()
    if height < 0.05 or leaner.kind not in _LEANERS:
        return None
    tilt = rotation_about("y", -rng.uniform(np.radians(8), np.radians(35)))
    rotation = tilt @ leaner.rotation
    item = rest_on_plane(leaner.kind, leaner.model, leaner.mesh, rotation)
    points = _below(item, height)
    reach = below[:, 0].max() - points[:, 0].min() + 0.0005
    return item.moved(np.array([reach, (below[:, 1].max() + below[:, 1].min()) / 2 - points[:, 1].mean(), 0]))


def hold(item: UnplacedObject, hand: UnplacedObject, rng: Generator) -> list[UnplacedObject]:
    """The object tilted and lifted, with a hand at its side that hides part of it."""
    tilt = rotation_about("x", rng.normal(0, 0.35)) @ rotation_about("y", rng.normal(0, 0.35))
    lift = rng.uniform(0.03, 0.22)
    raised = rest_on_plane(item.kind, item.model, item.mesh, tilt @ item.rotation).moved(np.array([0, 0, lift]))
    points = raised.points
    centre = (points.max(axis=0) + points.min(axis=0)) / 2
    grip = rest_on_plane(hand.kind, hand.model, hand.mesh, hand.rotation)
    palm = grip.points
    yaw = rng.uniform(0, 2 * np.pi)
    outward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    gap = (points @ outward).max() - centre @ outward - (palm @ outward).min() + palm.mean(axis=0) @ outward
    target = centre + outward * (gap - rng.uniform(0.0, 0.02)) + np.array([0, 0, rng.normal(0, 0.02)])
    return [raised, grip.moved(target - palm.mean(axis=0))]


def _support(points: Array) -> Array:
    """Support (32,) of a footprint (V, 2): its reach in 32 directions, a tight convex outline."""
    return (points @ _DIRECTIONS).max(axis=0)


def _overlaps(a: Array, centre_a: Array, b: Array, centre_b: Array, gap: float) -> bool:
    """Whether two footprints come closer than ``gap``: separating axis over 32 directions."""
    distance = (centre_b - centre_a) @ _DIRECTIONS
    return bool((distance < a + np.roll(b, 16) + gap).all())


def place(
    groups: list[list[UnplacedObject]], spreads: list[float], inside: Array, rng: Generator
) -> list[Array | None]:
    """Positions (2,) of groups without overlap, dense about the origin; None for a group that did not fit.

    :param inside: (3, K) half planes (a, b, c): a group's position must satisfy a x + b y <= c.
    """
    supports = [_support(np.concatenate([item.points[:, :2] for item in group])) for group in groups]
    placed: list[Array | None] = []
    for support, spread in zip(supports, spreads, strict=True):
        found = None
        for attempt in range(30):
            centre = rng.normal(0, spread * (1 + attempt / 20), 2)
            if len(inside[0]) and (centre @ inside[:2] > inside[2]).any():
                continue
            others = [(s, c) for s, c in zip(supports, placed, strict=False) if c is not None]
            if not any(_overlaps(s, c, support, centre, 0.003) for s, c in others):
                found = centre
                break
        placed.append(found)
    return placed
