# SPDX-License-Identifier: Apache-2.0
"""What stands on the table, how the room is lit, and with which lens it is seen: one random scene of a clip.

World frame: z up, the table's top is the plane z = 0, metres.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from seqpose_core.categories import CATEGORY_NAMES, category
from train.render.distractors import DISTRACTORS
from train.render.materials import Material, sample_materials, sample_surface
from train.render.meshes import Array, Mesh, rotation_about
from train.render.patterns import muted_colour
from train.render.shapes import SHAPES
from train.render.textures import TextureBank

INSTANCES = {"train": 500, "val": 48, "test": 48}
DISTRACTOR_INSTANCES = {"train": 120, "val": 30, "test": 30}
# REAL275's camera at 640x480: fx, fy, cx, cy (pixel centres at integers).
REAL_INTRINSICS = (591.0125, 590.16775, 322.525, 244.11084)
# Cameras and mugs carry the hardest yaw, so they come a little more often.
_WEIGHTS = {"camera": 1.3, "mug": 1.4}
_DIRECTIONS = np.stack([np.cos(np.arange(32) * np.pi / 16), np.sin(np.arange(32) * np.pi / 16)])
_Y_UP = rotation_about("x", np.pi / 2)


@dataclass(frozen=True)
class SceneObject:
    """One thing on the table.

    ``kind`` is a category or distractor name, ``class_id`` 1..6 or 0 for a distractor, ``model`` the
    instance's name; world_from_object (4, 4) is rigid, metres.
    """

    kind: str
    class_id: int
    model: str
    mesh: Mesh
    materials: list[Material]
    world_from_object: Array


@dataclass(frozen=True)
class Light:
    """A distant light: unit ``direction`` towards it (3,), linear ``colour`` (3,), lobe ``sharpness``."""

    direction: Array
    colour: Array
    sharpness: float


@dataclass(frozen=True)
class Scene:
    """Everything static in a clip."""

    objects: list[SceneObject]
    table: Material
    table_half: tuple[float, float]
    table_turn: float
    floor: Material
    wall: Material
    room_half: float
    lights: list[Light]
    ceiling: Array
    ground: Array
    shadow_softness: float
    exposure: float
    white_balance: Array
    blur: float
    noise: float


def instance_mesh(split: str, kind: str, index: int) -> Mesh:
    """Shape number ``index`` of a category or distractor in the split's own pool."""
    make = SHAPES.get(kind) or DISTRACTORS[kind]
    return make(np.random.default_rng([zlib.crc32(f"{split}/{kind}".encode()), index]))


def sample_intrinsics(rng: Generator, width: int, height: int) -> Array:
    """REAL275's matrix (3, 3) at this size, focal length x 0.88..1.2, principal point +-3 %."""
    fx, fy, cx, cy = REAL_INTRINSICS
    sx, sy = width / 640, height / 480
    focal = rng.uniform(0.88, 1.2)
    shift = rng.normal(0, 0.012, 2).clip(-0.03, 0.03) * width
    return np.array(
        [
            [fx * sx * focal, 0, (cx + 0.5) * sx - 0.5 + shift[0]],
            [0, fy * sy * focal, (cy + 0.5) * sy - 0.5 + shift[1]],
            [0, 0, 1],
        ]
    )


def _resting_rotation(rng: Generator, kind: str) -> Array:
    """World rotation (3, 3) of an object at rest: upright, now and then lying or upside down, any yaw."""
    pose = np.eye(3)
    chance = rng.random()
    if kind in ("bottle", "can", "mug") and chance < 0.12:
        # Lying: the axis becomes horizontal; a mug's handle points level or up, where it comes to rest.
        roll = rng.uniform(0, np.pi) if kind == "mug" else rng.uniform(0, 2 * np.pi)
        pose = rotation_about("x", np.pi / 2) @ rotation_about("y", roll)
    elif kind in ("bowl", "mug") and chance > 0.94:
        pose = rotation_about("z", np.pi)
    elif kind in DISTRACTORS and kind != "book" and kind != "plate" and chance < 0.3:
        pose = rotation_about("x", np.pi / 2)
    return rotation_about("z", rng.uniform(0, 2 * np.pi)) @ _Y_UP @ pose


def _support(points: Array) -> Array:
    """Support (32,) of a footprint (V, 2): its reach in 32 directions, a tight convex outline."""
    return (points @ _DIRECTIONS).max(axis=0)


def _overlaps(a: Array, centre_a: Array, b: Array, centre_b: Array, gap: float) -> bool:
    """Whether two footprints come closer than ``gap``: separating axis over 32 directions."""
    distance = (centre_b - centre_a) @ _DIRECTIONS
    return bool((distance < a + np.roll(b, 16) + gap).all())


def _place(supports: list[Array], spread: float, rng: Generator) -> list[Array | None]:
    """Positions (2,) without overlap, dense about the origin; None where no room was found."""
    placed: list[Array | None] = []
    for support in supports:
        found = None
        for attempt in range(40):
            centre = rng.normal(0, spread * (1 + attempt / 25), 2)
            others = [(s, c) for s, c in zip(supports, placed, strict=False) if c is not None]
            if not any(_overlaps(s, c, support, centre, 0.004) for s, c in others):
                found = centre
                break
        placed.append(found)
    return placed


def _sample_objects(rng: Generator, split: str, bank: TextureBank) -> list[SceneObject]:
    weights = np.array([_WEIGHTS.get(name, 1.0) for name in CATEGORY_NAMES])
    count = int(rng.choice(np.arange(1, 7), p=[0.06, 0.12, 0.2, 0.24, 0.22, 0.16]))
    kinds = [str(name) for name in rng.choice(list(CATEGORY_NAMES), count, p=weights / weights.sum())]
    # Two laptops fill a table; a second one is rare in life.
    kinds = [k for i, k in enumerate(kinds) if k != "laptop" or "laptop" not in kinds[:i]]
    kinds += [str(name) for name in rng.choice(list(DISTRACTORS), rng.integers(0, 3))]
    drafts = []
    for kind in kinds:
        pool = INSTANCES[split] if kind in SHAPES else DISTRACTOR_INSTANCES[split]
        index = int(rng.integers(pool))
        mesh = instance_mesh(split, kind, index)
        rotation = _resting_rotation(rng, kind)
        drafts.append((kind, f"{kind}_{split}_{index:04d}", mesh, rotation, mesh.vertices @ rotation.T))
    drafts.sort(key=lambda draft: -float(np.ptp(draft[4][:, :2], axis=0).max()))
    spread = rng.uniform(0.05, 0.14)
    places = _place([_support(draft[4][:, :2]) for draft in drafts], spread, rng)
    objects = []
    kept = np.array([place for place in places if place is not None])
    middle = (kept.max(axis=0) + kept.min(axis=0)) / 2
    for (kind, model, mesh, rotation, turned), place in zip(drafts, places, strict=True):
        if place is None:
            continue
        pose = np.eye(4)
        pose[:3, :3] = rotation
        pose[:3, 3] = [*(place - middle), -turned[:, 2].min()]
        class_id = category(kind).id if kind in SHAPES else 0
        materials = sample_materials(rng, bank, kind, mesh.surfaces)
        objects.append(SceneObject(kind, class_id, model, mesh, materials, pose))
    order = rng.permutation(len(objects))
    return [objects[i] for i in order]


def _sample_lights(rng: Generator) -> list[Light]:
    lights = []
    warmth = rng.normal(0, 0.10)
    for index in range(int(rng.integers(1, 4))):
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(28, 80))
        direction = np.array(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        )
        cast = warmth + rng.normal(0, 0.05)
        power = rng.uniform(0.6, 2.2) if index == 0 else rng.uniform(0.1, 0.7)
        lights.append(Light(direction, power * np.array([1 + cast, 1.0, 1 - cast]), rng.uniform(12, 120)))
    return lights


def sample_scene(rng: Generator, split: str, bank: TextureBank) -> Scene:
    """A random scene of the split; a pure function of the generator's state."""
    objects = _sample_objects(rng, split, bank)
    ambient = rng.uniform(0.25, 0.85)
    cast = rng.normal(0, 0.05)
    tint = np.array([1 + cast, 1, 1 - cast])
    return Scene(
        objects=objects,
        table=sample_surface(rng, bank, ("wood", "wood", "cloth", "marble", "plain", "checks", "speckle")),
        table_half=(float(rng.uniform(0.35, 1.0)), float(rng.uniform(0.35, 0.8))),
        table_turn=float(rng.uniform(0, np.pi)),
        floor=sample_surface(rng, bank, ("wood", "plain", "speckle", "cloth", "checks")),
        wall=sample_surface(rng, bank, ("scenery", "scenery", "plain")),
        room_half=float(rng.uniform(1.6, 3.5)),
        lights=_sample_lights(rng),
        ceiling=ambient * tint * rng.uniform(0.8, 1.3),
        ground=ambient * tint * 0.45 * muted_colour(rng, (0.4, 0.9)).astype(float),
        shadow_softness=float(rng.uniform(0.003, 0.03)),
        exposure=float(0.8 * np.exp(rng.normal(0, 0.25))),
        white_balance=np.exp(rng.normal(0, 0.05, 3)),
        blur=float(rng.uniform(0.0, 0.7)),
        noise=float(rng.uniform(0.002, 0.014)),
    )
