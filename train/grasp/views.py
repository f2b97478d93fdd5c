# SPDX-License-Identifier: Apache-2.0
"""Pictures of a settled scene from a camera beside the table, with the project's renderer and sensor model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from seqpose_core import Camera
from seqpose_core.categories import category
from seqpose_core.geometry import invert
from train.grasp.scenes import POOL, GraspScene, ground_truth, scene_generator
from train.render.clips import RenderResources
from train.render.environments import light_balance
from train.render.materials import sample_materials
from train.render.meshes import Array
from train.render.motion import HandHeldMotion
from train.render.room import Room, sample_room
from train.render.scene import REAL_INTRINSICS, PlacedObject, Scene, instance_mesh
from train.render.sensor import Exposure, sample_sensor, take_picture
from train.render.textures import TextureBank

WIDTH, HEIGHT = 320, 240
#: Frames of the clip; a grasp is planned in the last one. Seconds between frames.
FRAMES, STEP = 8, 0.15
_NEAR, _FAR = 0.5, 1.2  # metres from the camera to the middle of the scene
_ELEVATION = np.radians([30.0, 60.0])
_PACE = 0.5  # of the camera's motion, relative to a hand-held camera
_MARGIN = 2.0  # pixels between the corners of the objects' boxes and the border


@dataclass(frozen=True)
class StampedImage:
    """One image (H, W, 3) uint8 RGB of the clip, its stamp (s) and camera pose (4, 4) world from camera."""

    image: NDArray[np.uint8]
    stamp: float
    camera_pose: Array


def grasp_camera() -> Camera:
    """REAL275's camera at the size of the pictures."""
    fx, fy, cx, cy = REAL_INTRINSICS
    return Camera(fx, fy, cx, cy, 640, 480).resized(WIDTH, HEIGHT)


def _sample_motion(rng: Generator, scene: GraspScene, room: Room) -> HandHeldMotion:
    """A slowly moving camera, as near as all objects are in view, half a metre or more away."""
    corners = np.concatenate([item.corners for item in ground_truth(scene, np.eye(4))])
    target = (corners.max(axis=0) + corners.min(axis=0)) / 2
    motion = HandHeldMotion.sample(rng, _NEAR, target, _PACE, room.front, room.highest)
    base = motion.base.copy()
    base[1] = rng.uniform(_ELEVATION[0], min(_ELEVATION[1], room.highest))
    base[4:] = target
    camera = grasp_camera()
    for distance in np.arange(_NEAR + rng.uniform(0, 0.15), _FAR, 0.05):
        base[2] = np.log(distance)
        motion = replace(motion, base=base.copy())
        last = motion.world_from_camera(STEP * (FRAMES - 1))
        pixels = camera.project((corners - last[:3, 3]) @ last[:3, :3])
        if ((pixels > _MARGIN) & (pixels < [WIDTH - _MARGIN, HEIGHT - _MARGIN])).all():
            break
    return motion


def _sample_room(rng: Generator, bank: TextureBank, centres: Array) -> Room:
    """A room whose table holds all objects, if one is found in 50."""
    for _ in range(50):
        room = sample_room(rng, bank)
        inside = room.inside()
        if (centres[:, :2] @ inside[:2] <= inside[2] - 0.05).all():
            break
    return room


def picture_scene(scene: GraspScene, resources: RenderResources, seed: int) -> tuple[Scene, HandHeldMotion, Generator]:
    """The scene with materials, surroundings and light, the camera's path, and the generator for the sensor's noise."""
    rng = scene_generator(seed, scene.number, "picture")
    poses = scene.poses()
    room = _sample_room(rng, resources.textures, np.array([pose[:3, 3] for pose in poses]))
    objects = []
    for entry, pose in zip(scene.objects, poses, strict=True):
        mesh = instance_mesh(POOL, entry.kind, entry.index)
        materials = sample_materials(rng, resources.textures, entry.kind, mesh.surfaces)
        objects.append(PlacedObject(entry.kind, category(entry.kind).id, entry.model, mesh, materials, pose))
    index = resources.environments.pick(rng)
    environment = resources.environments.environments[index]
    pictured = Scene(
        objects=objects,
        room=room,
        environment=index,
        environment_yaw=float(rng.uniform(0, 2 * np.pi)),
        key_gain=float(1.5 * np.exp(rng.normal(0, 0.5))),
        ambient_gain=float(np.exp(rng.normal(-0.2, 0.3))),
        shadow_softness=float(0.004 + 0.08 * environment.spread * rng.uniform(0.4, 1.4)),
        sensor=sample_sensor(rng, _PACE, light_balance(environment)),
    )
    return pictured, _sample_motion(rng, scene, room), rng


def take_pictures(scene: GraspScene, resources: RenderResources, seed: int) -> list[StampedImage]:
    """The clip of a scene, oldest frame first."""
    pictured, motion, rng = picture_scene(scene, resources, seed)
    resources.renderer.load(pictured)
    exposure = Exposure(pictured.sensor, rng)
    intrinsics = grasp_camera().matrix
    frames = []
    for stamp in STEP * np.arange(FRAMES):
        pose = motion.world_from_camera(float(stamp))
        view = resources.renderer.render(intrinsics, pose, float(stamp))
        half = pictured.sensor.shutter / 2
        opened, closed = (motion.world_from_camera(float(stamp) + s * half) for s in (-1, 1))
        moved = invert(closed) @ opened
        image = take_picture(pictured.sensor, exposure, rng, view.radiance, view.depth, intrinsics, moved, float(stamp))
        frames.append(StampedImage(image, float(stamp), pose))
    return frames
