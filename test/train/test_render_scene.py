# SPDX-License-Identifier: Apache-2.0
"""Scenes: placement of objects, camera motion, and the pools of the splits."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("moderngl")

import render_rig

from train.render.clips import sample_path
from train.render.environments import EnvironmentBank
from train.render.layout import lean_on, rest_on_plane, stack_on
from train.render.meshes import Mesh, rounded_box
from train.render.motion import HandHeldMotion
from train.render.scene import Scene, sample_intrinsics, sample_scene
from train.render.splits import BENCHMARKS, POOLS, SPLITS, split_settings
from train.render.textures import TextureBank


def scenes(count: int, split: str = "test") -> list[Scene]:
    resources = render_rig.open_resources()
    return [
        sample_scene(np.random.default_rng(seed), split_settings(split), resources.textures, resources.environments)
        for seed in range(count)
    ]


def test_objects_rest_on_a_surface_and_do_not_overlap() -> None:
    standing = raised = 0
    for scene in scenes(25):
        hulls = []
        for item in scene.objects:
            points = item.mesh.vertices @ item.world_from_object[:3, :3].T + item.world_from_object[:3, 3]
            low = points[:, 2].min()
            assert low > -1e-9
            if low > 1e-9:  # stacked or held
                raised += 1
                continue
            standing += 1
            hulls.append(cv2.convexHull(points[:, :2].astype(np.float32)))
        for i, a in enumerate(hulls):
            for b in hulls[:i]:
                shared = cv2.intersectConvexConvex(a, b)[0]
                # Leaning objects overlap in plan, above the lower one's edge.
                assert shared <= 0.5 * min(cv2.contourArea(a), cv2.contourArea(b))
    assert standing > 80
    assert 0 < raised < 0.3 * standing


def box(size: tuple[float, float, float]) -> Mesh:
    """A box of the given width, height and depth; y is up."""
    return rounded_box(size, 0.0005)


def test_a_stacked_object_rests_on_top_of_the_lower_one() -> None:
    lower = rest_on_plane("box", "a", box((0.2, 0.07, 0.2)), render_rig.Y_UP)
    upper = rest_on_plane("can", "b", box((0.05, 0.1, 0.05)), render_rig.Y_UP)
    top = stack_on(lower, upper, np.random.default_rng(0))
    assert top is not None
    assert top.points[:, 2].min() == pytest.approx(0.07, abs=0.0005)
    assert np.abs(top.points[:, :2]).max() < 0.1
    assert stack_on(upper, lower, np.random.default_rng(0)) is None, "the lower one is too small"


def test_a_leaning_object_is_tilted_and_touches_without_intersecting() -> None:
    wall = rest_on_plane("box", "a", box((0.1, 0.2, 0.1)), render_rig.Y_UP)
    book = rest_on_plane("book", "b", box((0.03, 0.15, 0.1)), render_rig.Y_UP)
    result = lean_on(wall, book, np.random.default_rng(0))
    assert result is not None
    points = result.points
    assert points[:, 2].min() == pytest.approx(0, abs=1e-9)
    assert points[points[:, 2] < 0.2, 0].min() == pytest.approx(0.05, abs=0.001)
    tilt = np.degrees(np.arccos(result.rotation[2, 1]))
    assert 8 <= tilt <= 35


def test_a_tenth_of_the_training_scenes_and_all_of_test_empty_have_no_target() -> None:
    empty = [not any(item.class_id for item in scene.objects) for scene in scenes(200, "train")]
    assert 0.04 < np.mean(empty) < 0.2
    assert not any(item.class_id for scene in scenes(20, "test-empty") for item in scene.objects)


def test_the_camera_moves_like_a_hand_held_one() -> None:
    for seed in range(30):
        motion = HandHeldMotion.sample(np.random.default_rng(seed))
        first, soon = motion.world_from_camera(0.0), motion.world_from_camera(1 / 30)
        assert 0.2 <= np.linalg.norm(first[:3, 3]) <= 2.25
        np.testing.assert_allclose(first[:3, :3].T @ first[:3, :3], np.eye(3), atol=1e-12)
        assert np.linalg.det(first[:3, :3]) == pytest.approx(1)
        assert first[2, 2] < 0, "looks down"
        assert first[2, 1] < 0, "the camera is upright: image down is world down"
        assert np.linalg.norm(first[:3, 3] - soon[:3, 3]) < 0.1
        angle = np.arccos(np.clip((np.trace(first[:3, :3].T @ soon[:3, :3]) - 1) / 2, -1, 1))
        assert angle < np.radians(6)


def test_the_camera_stays_in_front_of_a_wall() -> None:
    for seed in range(20):
        front = (1.0, np.radians(60))
        motion = HandHeldMotion.sample(np.random.default_rng(seed), front=front, pace=2.0)
        for time in np.arange(0, 10, 0.5):
            outward = -motion.world_from_camera(float(time))[:3, 2]
            azimuth = np.arctan2(outward[1], outward[0])
            assert abs((azimuth - 1.0 + np.pi) % (2 * np.pi) - np.pi) <= np.radians(60) + 1e-9


def test_the_camera_does_not_collide_with_objects() -> None:
    stamps = np.arange(4) * 0.3
    for seed, scene in enumerate(scenes(15)):
        motion = sample_path(np.random.default_rng(seed), scene, split_settings("test"), stamps)
        for stamp in stamps:
            eye = motion.world_from_camera(float(stamp))[:3, 3]
            for item in scene.objects:
                local = item.world_from_object[:3, :3].T @ (eye - item.world_from_object[:3, 3])
                assert (np.abs(local) > item.mesh.extents / 2).any()


def test_intrinsics_scale_from_reals_camera() -> None:
    matrices = np.array([sample_intrinsics(np.random.default_rng(i), 320, 240) for i in range(400)])
    focal = matrices[:, 0, 0] / (591.0125 / 2)
    assert 0.6 - 1e-9 <= focal.min() < 0.7
    assert 1.4 < focal.max() <= 1.6 + 1e-9
    np.testing.assert_allclose(matrices[:, 1, 1] / matrices[:, 0, 0], 590.16775 / 591.0125)
    assert np.abs(matrices[:, 0, 2] - 161.0125).max() <= 0.05 * 320 + 1e-9


def test_pools_share_no_texture_and_no_environment() -> None:
    for make in (
        lambda pool: {layer.tobytes() for layer in TextureBank(pool, 40).layers},
        lambda pool: {layer.tobytes() for layer in EnvironmentBank(pool, None, 4).layers},
    ):
        train, val, test = (make(pool) for pool in POOLS)
        assert len(train) > 3
        assert not (train & val or train & test or val & test)


def test_pools_share_no_photograph() -> None:
    from train.render.environments import PHOTOGRAPHS

    names = [name for pool in POOLS for name in PHOTOGRAPHS[pool]]
    assert len(names) == len(set(names)) == 18


def test_pools_share_no_shape_instance() -> None:
    from train.render.scene import instance_mesh
    from train.render.shapes import SHAPES

    for kind in SHAPES:
        shapes = [{instance_mesh(pool, kind, i).vertices.tobytes() for i in range(3)} for pool in POOLS]
        assert not (shapes[0] & shapes[1] or shapes[0] & shapes[2] or shapes[1] & shapes[2])


def test_the_benchmark_has_no_split_of_the_training_pool() -> None:
    parts = {part.split: part for part in BENCHMARKS["seqpose-synth"]}
    assert set(parts) == {"val", "test", "test-motion", "test-empty"}
    assert {SPLITS[name].pool for name in parts} == {"val", "test"}
    assert (parts["val"].clips, parts["val"].frames) == (60, 4)
    assert (parts["test"].clips, parts["test"].frames) == (100, 30)


def test_an_unknown_split_or_pool_is_named() -> None:
    with pytest.raises(ValueError, match="'dev'"):
        split_settings("dev")
    with pytest.raises(ValueError, match="'dev'"):
        TextureBank("dev")
