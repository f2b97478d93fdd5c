# SPDX-License-Identifier: Apache-2.0
"""Cluttered table-top scenes: which objects, where, and their settled poses."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.geometry import invert
from seqpose_core.grasping import Gripper
from seqpose_core.objects import ObjectPose
from seqpose_core.support_plane import SupportPlane
from train.grasp.world import Body, World
from train.render.layout import place, rest_on_plane, resting_rotation
from train.render.meshes import Array
from train.render.scene import INSTANCES, instance_mesh

#: Shapes are drawn from this pool, which training never uses.
POOL = "test"
_SPREAD = 0.09  # standard deviation of the positions on the table, metres
_DROP = 0.001  # height from which the objects settle, metres
#: Standard deviations given to ground-truth poses: 1 mm and 0.5 degrees.
_EXACT = np.diag([1e-3] * 3 + [np.radians(0.5)] * 3) ** 2
#: Noise stated for the support plane: 3 mm and 0.3 degrees. The plane itself is exact.
_HEIGHT_NOISE, _TILT_NOISE = 0.003, float(np.radians(0.3))


@dataclass(frozen=True)
class SampledShape:
    """Shape of one object of a scene: category, name, and index in the pool."""

    kind: str
    model: str
    index: int


@dataclass
class GraspScene:
    """A settled scene. ``number`` determines everything else, with the seed."""

    number: int
    objects: list[SampledShape]
    world: World

    def poses(self) -> list[Array]:
        """(4, 4) settled poses of the objects in the world."""
        self.world.reset()
        return [self.world.object_pose(i) for i in range(len(self.objects))]


def scene_generator(seed: int, number: int, purpose: str) -> np.random.Generator:
    """The random generator of a scene for a purpose, such as "objects" or "picture"."""
    return np.random.default_rng([zlib.crc32(f"grasp/{purpose}".encode()), seed, number])


def sample_scene(seed: int, number: int, gripper: Gripper, categories: Sequence[str] = CATEGORY_NAMES) -> GraspScene:
    """Scene ``number``: four to six objects close together on a table, at most one laptop, settled under gravity."""
    rng = scene_generator(seed, number, "objects")
    kinds = [str(k) for k in rng.choice(list(categories), int(rng.integers(4, 7)))]
    kinds = [k for i, k in enumerate(kinds) if k != "laptop" or "laptop" not in kinds[:i]]
    kinds.sort(key=lambda k: k != "laptop")  # the largest is placed first
    items = []
    for kind in kinds:
        index = int(rng.integers(INSTANCES[POOL]))
        mesh = instance_mesh(POOL, kind, index)
        items.append((SampledShape(kind, f"{kind}_{POOL}_{index:04d}", index), mesh, resting_rotation(rng, kind, mesh)))
    unplaced = [rest_on_plane(o.kind, o.model, mesh, rotation) for o, mesh, rotation in items]
    positions = place([[item] for item in unplaced], [_SPREAD] * len(unplaced), np.zeros((3, 0)), rng)
    objects, bodies = [], []
    for (entry, mesh, rotation), item, at in zip(items, unplaced, positions, strict=True):
        if at is not None:
            pose = np.eye(4)
            pose[:3, :3] = rotation
            pose[:3, 3] = item.shift + [*at, _DROP]
            objects.append(entry)
            bodies.append(Body(entry.kind, mesh, pose))
    world = World(bodies, gripper)
    world.settle()
    return GraspScene(number, objects, world)


def ground_truth(scene: GraspScene, world_from_camera: Array) -> list[ObjectPose]:
    """The settled objects in the camera frame, with a covariance of 1 mm and 0.5 degrees."""
    camera_from_world = invert(world_from_camera)
    found = []
    for number, (entry, pose) in enumerate(zip(scene.objects, scene.poses(), strict=True)):
        size = instance_mesh(POOL, entry.kind, entry.index).extents
        moved = camera_from_world @ pose
        found.append(ObjectPose(entry.kind, 1.0, moved[:3, :3], moved[:3, 3], size, _EXACT, track_id=number))
    return found


def table_plane(world_from_camera: Array) -> SupportPlane:
    """The table's plane in the camera frame, with the noise of a calibrated camera. All objects stand on it."""
    return SupportPlane.from_frame(invert(world_from_camera), 0.0, _HEIGHT_NOISE, _TILT_NOISE, prior=1.0)
