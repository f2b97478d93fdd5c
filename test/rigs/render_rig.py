# SPDX-License-Identifier: Apache-2.0
"""A renderer with small texture and environment banks, and scenes of single objects with known cameras."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from seqpose_core.categories import category
from train.render.clips import RenderJob, RenderResources
from train.render.meshes import Array, rotation_about
from train.render.renderer import Rendered
from train.render.scene import PlacedObject, Scene, instance_mesh, sample_scene
from train.render.splits import split_settings
from train.render.surfaces import Material

WIDTH, HEIGHT = 160, 120
Y_UP = rotation_about("x", np.pi / 2)


@lru_cache(maxsize=1)
def open_resources() -> RenderResources:
    """The render resources of the test pool with few textures and environments; skips without EGL."""
    try:
        return RenderResources.open(RenderJob("test", 0, Path(), 1, WIDTH, HEIGHT), 40, 4)
    except RuntimeError as error:
        pytest.skip(str(error))


@lru_cache(maxsize=1)
def empty_room() -> Scene:
    """A table without objects."""
    resources = open_resources()
    scene = sample_scene(np.random.default_rng(3), split_settings("test"), resources.textures, resources.environments)
    return replace(scene, objects=[])


def standing(kind: str, yaw: float = 0.4, at: tuple[float, float] = (0.0, 0.0), index: int = 0) -> PlacedObject:
    """An upright object on the table."""
    mesh = instance_mesh("test", kind, index)
    pose = np.eye(4)
    pose[:3, :3] = rotation_about("z", yaw) @ Y_UP
    pose[:3, 3] = [*at, mesh.extents[1] / 2]
    return PlacedObject(
        kind, category(kind).id, f"{kind}_test_{index:04d}", mesh, [Material((0.5, 0.5, 0.5))] * 8, pose
    )


def looking_from(position: tuple[float, float, float]) -> Array:
    """world_from_camera (4, 4) of a camera looking at a point just above the table's middle."""
    eye = np.array(position)
    forward = np.array([0, 0, 0.06]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose


def intrinsics() -> Array:
    return np.array([[150.0, 0, 82.3], [0, 149.0, 57.1], [0, 0, 1]])


def view_of(objects: list[PlacedObject], camera: Array) -> Rendered:
    """The objects on the empty table."""
    renderer = open_resources().renderer
    renderer.load(replace(empty_room(), objects=objects))
    return renderer.render(intrinsics(), camera)
