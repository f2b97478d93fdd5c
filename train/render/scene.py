# SPDX-License-Identifier: Apache-2.0
"""One random scene of a clip: objects on a surface, surroundings, light, lens and sensor.

World frame: z up, the supporting surface is the plane z = 0, metres.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from seqpose_core.categories import CATEGORY_NAMES, category
from train.render.distractors import DISTRACTORS
from train.render.environments import EnvironmentBank, light_balance
from train.render.layout import UnplacedObject, hold, lean_on, place, rest_on_plane, resting_rotation, stack_on
from train.render.materials import sample_liquid, sample_materials
from train.render.mesh_category import INSTANCES as MESH_INSTANCES
from train.render.mesh_category import category_mesh, standing_rotation
from train.render.meshes import Array, Mesh, rotation_about
from train.render.room import Room, sample_room
from train.render.sensor import Sensor, sample_sensor
from train.render.shapes import SHAPES
from train.render.splits import Split
from train.render.surfaces import Material
from train.render.textures import TextureBank

INSTANCES = {"train": 800, "val": 64, "test": 64}
DISTRACTOR_INSTANCES = {"train": 120, "val": 24, "test": 24}
# REAL275's camera at 640x480: fx, fy, cx, cy (pixel centres at integers).
REAL_INTRINSICS = (591.0125, 590.16775, 322.525, 244.11084)
# The yaw of cameras and mugs is the most difficult to predict, so they are sampled slightly more often.
_WEIGHTS = {"camera": 1.3, "mug": 1.4}
_OCCLUDERS = ("hand", "box", "book", "phone")


@dataclass(frozen=True)
class PlacedObject:
    """One object of the scene.

    ``kind`` is the name of a category or distractor, ``class_id`` its id (0 for a distractor), ``model`` the name of
    the instance; ``world_from_object`` (4, 4) is rigid, metres, at time 0; ``velocity`` (3,) m/s is that of a passing
    occluder; ``liquid``: linear RGB of the content of a transparent vessel and the world height (m) of its level.
    """

    kind: str
    class_id: int
    model: str
    mesh: Mesh
    materials: list[Material]
    world_from_object: Array
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    liquid: tuple[float, float, float, float] = (1.0, 1.0, 1.0, -10.0)

    @property
    def moving(self) -> bool:
        """Whether the object moves during the clip."""
        return any(self.velocity)

    def pose_at(self, time: float) -> Array:
        """world_from_object (4, 4) at ``time`` seconds."""
        if not self.moving:
            return self.world_from_object
        pose = self.world_from_object.copy()
        pose[:3, 3] += np.array(self.velocity) * time
        return pose


@dataclass(frozen=True)
class Scene:
    """The static content of a clip.

    ``environment`` is an index into the bank, ``environment_yaw`` its rotation about z, rad; ``key_gain`` and
    ``ambient_gain`` scale its light; ``shadow_softness`` is a fraction of the width of the shadow map.
    """

    objects: list[PlacedObject]
    room: Room
    environment: int
    environment_yaw: float
    key_gain: float
    ambient_gain: float
    shadow_softness: float
    sensor: Sensor


@lru_cache(maxsize=400)
def instance_mesh(pool: str, kind: str, index: int) -> Mesh:
    """Instance ``index`` of a category or distractor in the pool of a split (train, val or test)."""
    make = SHAPES.get(kind) or DISTRACTORS[kind]
    return make(np.random.default_rng([zlib.crc32(f"{pool}/{kind}".encode()), index]))


def sample_intrinsics(rng: Generator, width: int, height: int) -> Array:
    """REAL275's matrix (3, 3) at this size, focal length x 0.6..1.6 (log-normal), principal point +-5 %."""
    fx, fy, cx, cy = REAL_INTRINSICS
    sx, sy = width / 640, height / 480
    focal = float(np.exp(np.clip(rng.normal(0, 0.25), np.log(0.6), np.log(1.6))))
    shift = rng.normal(0, 0.018, 2).clip(-0.05, 0.05) * width
    return np.array(
        [
            [fx * sx * focal, 0, (cx + 0.5) * sx - 0.5 + shift[0]],
            [0, fy * sy * focal, (cy + 0.5) * sy - 0.5 + shift[1]],
            [0, 0, 1],
        ]
    )


def _class_id(split: Split, kind: str) -> int:
    """Class id of a kind of object; 0 for a distractor."""
    if split.added is not None and kind == split.added.name:
        return len(CATEGORY_NAMES) + 1
    return category(kind).id if kind in SHAPES else 0


def _sample_unplaced(rng: Generator, split: Split, kind: str) -> UnplacedObject:
    pool = split.pool
    if split.added is not None and kind == split.added.name:
        index = int(rng.integers(MESH_INSTANCES[pool]))
        mesh = category_mesh(split.added, pool, index)
        return rest_on_plane(kind, f"{kind}_{pool}_{index:04d}", mesh, standing_rotation(rng))
    index = int(rng.integers(INSTANCES[pool] if kind in SHAPES else DISTRACTOR_INSTANCES[pool]))
    mesh = instance_mesh(pool, kind, index)
    return rest_on_plane(kind, f"{kind}_{pool}_{index:04d}", mesh, resting_rotation(rng, kind, mesh))


def _sample_kinds(rng: Generator, split: Split) -> list[str]:
    """Random categories and distractors of a scene; one name per object."""
    names = list(CATEGORY_NAMES)
    weights = np.array([_WEIGHTS.get(name, 1.0) for name in names])
    if split.added is not None:
        names.append(split.added.name)
        weights = np.append(weights, weights.sum() * split.added.share / (1 - split.added.share))
    count = int(rng.choice(np.arange(1, 7), p=[0.1, 0.16, 0.22, 0.22, 0.18, 0.12]))
    kinds = [str(name) for name in rng.choice(names, count, p=weights / weights.sum())]
    # At most one laptop: two would fill the table.
    kinds = [k for i, k in enumerate(kinds) if k != "laptop" or "laptop" not in kinds[:i]]
    if rng.random() < split.empty:
        kinds = []
    others = [name for name in DISTRACTORS if name != "hand"]
    number = int(13 * rng.beta(1.0, 1.9)) if kinds else int(rng.integers(0, 13))
    return kinds + [str(name) for name in rng.choice(others, number)]


def _group_objects(rng: Generator, unplaced: list[UnplacedObject], split: Split) -> list[list[UnplacedObject]]:
    """Combine some objects into groups: stacked, leaning or held by a hand. Each other object is its own group."""
    groups: list[list[UnplacedObject]] = []
    waiting = list(unplaced)
    while waiting:
        item = waiting.pop(0)
        group = [item]
        chance = rng.random()
        if chance < 0.22 and waiting:
            other = waiting[int(rng.integers(len(waiting)))]
            join = stack_on if chance < 0.15 else lean_on
            for base, top in ((item, other), (other, item)):
                result = join(base, top, rng)
                if result is not None:
                    group = [base, result]
                    waiting = [d for d in waiting if d is not other]
                    break
        elif chance > 0.94 and "hand" in DISTRACTORS and _class_id(split, item.kind) and item.kind != "laptop":
            group = hold(item, _sample_unplaced(rng, split, "hand"), rng)
        groups.append(group)
    return groups


def _sample_content(rng: Generator, kind: str, materials: list[Material]) -> tuple[float, float, float, float]:
    """Linear RGB of the liquid in a vessel and its level as a fraction of the height; level -10: no liquid."""
    if kind in ("bottle", "mug", "bowl") or materials[0].transmission == 0:
        filled = kind == "bottle" and materials[0].transmission > 0 and rng.random() < 0.5
    else:
        filled = rng.random() < 0.3
    if not filled:
        return (1.0, 1.0, 1.0, -10.0)
    return (*sample_liquid(rng), float(rng.uniform(0.1, 0.85)))


def _place_object(rng: Generator, bank: TextureBank, item: UnplacedObject, class_id: int, at: Array) -> PlacedObject:
    """The object with its materials at position ``at`` (2,) m on the surface."""
    pose = np.eye(4)
    pose[:3, :3] = item.rotation
    pose[:3, 3] = item.shift + [*at, 0]
    materials = sample_materials(rng, bank, item.kind, item.mesh.surfaces)
    red, green, blue, level = _sample_content(rng, item.kind, materials)
    if level > 0:  # convert the fraction of the object's height to a height in the world
        z = item.points[:, 2]
        level = float(z.min() + level * (z.max() - z.min()))
    return PlacedObject(item.kind, class_id, item.model, item.mesh, materials, pose, liquid=(red, green, blue, level))


def _sample_objects(rng: Generator, split: Split, bank: TextureBank, room: Room) -> list[PlacedObject]:
    """Random objects on the surface of the room, in random order; groups that do not fit are left out."""
    unplaced = [_sample_unplaced(rng, split, kind) for kind in _sample_kinds(rng, split)]
    if not unplaced:
        return []
    groups = _group_objects(rng, unplaced, split)
    groups.sort(key=lambda group: -float(max(np.ptp(d.points[:, :2], axis=0).max() for d in group)))
    spread = rng.uniform(0.05, 0.16)
    spreads = [spread if any(_class_id(split, d.kind) for d in group) else spread * 1.9 for group in groups]
    objects = []
    for group, at in zip(groups, place(groups, spreads, room.inside(), rng), strict=True):
        if at is not None:
            objects += [_place_object(rng, bank, item, _class_id(split, item.kind), at) for item in group]
    return [objects[i] for i in rng.permutation(len(objects))]


def sample_occluder(
    rng: Generator, split: Split, bank: TextureBank, eye: Array, target: Array, duration: float
) -> PlacedObject:
    """An object that passes between the camera at ``eye`` (3,) and ``target`` (3,), m, within ``duration`` seconds."""
    names = [name for name in _OCCLUDERS if name in DISTRACTORS]
    kind = names[0] if names[0] == "hand" and rng.random() < 0.7 else str(rng.choice(names))
    index = int(rng.integers(DISTRACTOR_INSTANCES[split.pool]))
    mesh = instance_mesh(split.pool, kind, index)
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1.0])
    right *= rng.choice([-1.0, 1.0]) / np.linalg.norm(right)
    crossing = eye + (target - eye) * rng.uniform(0.45, 0.75) + np.array([0, 0, rng.normal(0, 0.04)])
    speed, moment = rng.uniform(0.1, 0.5), rng.uniform(0.0, max(duration, 0.1))
    pose = np.eye(4)
    pose[:3, :3] = rotation_about("z", rng.uniform(0, 2 * np.pi)) @ rotation_about("x", rng.uniform(0, 2 * np.pi))
    pose[:3, 3] = crossing - right * speed * moment
    materials = sample_materials(rng, bank, kind, mesh.surfaces)
    x, y, z = right * speed
    return PlacedObject(
        kind, 0, f"{kind}_{split.pool}_{index:04d}", mesh, materials, pose, (float(x), float(y), float(z))
    )


def sample_scene(rng: Generator, split: Split, bank: TextureBank, environments: EnvironmentBank) -> Scene:
    """A random scene of the split. The same state of the generator gives the same scene."""
    room = sample_room(rng, bank)
    objects = _sample_objects(rng, split, bank, room)
    index = environments.pick(rng)
    return Scene(
        objects=objects,
        room=room,
        environment=index,
        environment_yaw=float(rng.uniform(0, 2 * np.pi)),
        key_gain=float(1.5 * np.exp(rng.normal(0, 0.5))),
        ambient_gain=float(np.exp(rng.normal(-0.2, 0.3))),
        shadow_softness=float(0.004 + 0.08 * environments.environments[index].spread * rng.uniform(0.4, 1.4)),
        sensor=sample_sensor(rng, split.pace, light_balance(environments.environments[index])),
    )
