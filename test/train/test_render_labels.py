# SPDX-License-Identifier: Apache-2.0
"""The labels of a rendered view agree with geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORY_NAMES

pytest.importorskip("moderngl")

import render_rig
from render_rig import HEIGHT, WIDTH

from train.render.surfaces import Material
from train.render.writer import frame_labels


@pytest.mark.parametrize("kind", CATEGORY_NAMES)
def test_nocs_points_through_the_pose_land_on_the_depth_surface(kind: str) -> None:
    item, camera = render_rig.standing(kind), render_rig.looking_from((0.5, -0.3, 0.4))
    view = render_rig.view_of([item], camera)
    labels = frame_labels(replace(render_rig.empty_room(), objects=[item]), view, camera, "")
    v, u = np.nonzero(view.instances == 1)
    assert len(v) > 100
    pose = labels["gt_RTs"][0]
    posed = (view.nocs[v, u] - 0.5) @ pose[:3, :3].T + pose[:3, 3]
    pinhole = Camera.from_matrix(render_rig.intrinsics(), WIDTH, HEIGHT)
    seen = pinhole.unproject(np.stack([u, v], axis=-1).astype(float), view.depth[v, u].astype(float))
    # NOCS is stored in 8 bits: half a step on each axis of the box's diagonal, and a little float error.
    diagonal = np.linalg.norm(item.mesh.extents)
    assert np.linalg.norm(posed - seen, axis=1).max() < np.sqrt(3) * diagonal * 0.51 / 255 + 1e-4


@pytest.mark.parametrize("kind", CATEGORY_NAMES)
def test_the_mask_is_where_the_mesh_projects(kind: str) -> None:
    item, camera = render_rig.standing(kind), render_rig.looking_from((0.6, -0.3, 0.5))
    view = render_rig.view_of([item], camera)
    box = frame_labels(replace(render_rig.empty_room(), objects=[item]), view, camera, "")["gt_bboxes"][0]
    points = item.mesh.vertices @ item.world_from_object[:3, :3].T + item.world_from_object[:3, 3]
    points = (points - camera[:3, 3]) @ camera[:3, :3]
    pixels = Camera.from_matrix(render_rig.intrinsics(), WIDTH, HEIGHT).project(points)
    y1, x1, y2, x2 = box
    # A pixel belongs to the mask when its centre is covered; thin tips may fall between centres.
    np.testing.assert_allclose([x1, y1], pixels.min(axis=0), atol=1.6)
    np.testing.assert_allclose([x2 - 1, y2 - 1], pixels.max(axis=0), atol=1.6)


def test_gt_scales_times_the_scale_of_the_pose_are_the_extents_of_the_mesh() -> None:
    item, camera = render_rig.standing("camera"), render_rig.looking_from((0.5, 0.2, 0.4))
    view = render_rig.view_of([item], camera)
    labels = frame_labels(replace(render_rig.empty_room(), objects=[item]), view, camera, "")
    scale = np.cbrt(np.linalg.det(labels["gt_RTs"][0][:3, :3]))
    assert np.linalg.norm(labels["gt_scales"][0]) == pytest.approx(1)
    np.testing.assert_allclose(scale * labels["gt_scales"][0], item.mesh.extents, rtol=1e-9)


def test_the_nearer_surface_is_visible() -> None:
    camera = render_rig.looking_from((0.7, 0.0, 0.25))
    near, far = render_rig.standing("can", at=(0.12, 0.0)), render_rig.standing("bottle", at=(-0.05, 0.0))
    both = render_rig.view_of([near, far], camera)
    alone = [render_rig.view_of([item], camera) for item in (near, far)]
    np.testing.assert_array_equal(both.depth, np.minimum(alone[0].depth, alone[1].depth))
    np.testing.assert_array_equal(both.instances == 1, alone[0].instances == 1)
    hidden = (alone[1].instances == 1) & (both.instances != 2)
    assert hidden.any()
    assert (both.instances[hidden] == 1).all()


def test_the_table_is_the_plane_z_zero() -> None:
    camera = render_rig.looking_from((0.3, 0.0, 0.6))
    view = render_rig.view_of([render_rig.standing("can", at=(0.0, 0.2))], camera)
    middle = np.array([WIDTH // 2, HEIGHT // 2])
    ray = Camera.from_matrix(render_rig.intrinsics(), WIDTH, HEIGHT).unproject(middle.astype(float), np.array(1.0))
    towards = camera[:3, :3] @ ray
    assert view.depth[middle[1], middle[0]] == pytest.approx(-camera[2, 3] / towards[2], abs=1e-5)


def test_a_handle_facing_away_is_marked_invisible() -> None:
    item = render_rig.standing("mug", yaw=0.0)  # handle along world +x
    visible = []
    for x in (0.5, -0.5):
        camera = render_rig.looking_from((x, 0.0, 0.12))
        view = render_rig.view_of([item], camera)
        labels = frame_labels(replace(render_rig.empty_room(), objects=[item]), view, camera, "")
        visible.append(int(labels["gt_handle_visibility"][0]))
    assert visible == [1, 0]


def test_transparent_objects_are_labelled_and_show_what_is_behind() -> None:
    camera = render_rig.looking_from((0.6, 0.0, 0.2))
    bottle = render_rig.standing("bottle")
    glass = Material((1.0, 1.0, 1.0), roughness=0.02, transmission=1.0)
    behind = replace(render_rig.standing("bowl", at=(-0.25, 0.0)), materials=[Material((1.0, 0.0, 0.0))] * 8)
    opaque = render_rig.view_of([bottle, behind], camera)
    clear = render_rig.view_of([replace(bottle, materials=[glass] * 8), behind], camera)
    for name in ("instances", "nocs", "depth", "parts"):
        np.testing.assert_array_equal(getattr(clear, name), getattr(opaque, name))
    alone = render_rig.view_of([behind], camera)
    overlap = (alone.instances == 1) & (opaque.instances == 1)
    assert overlap.sum() > 30
    redness = [
        float((view.radiance[overlap, 0] / view.radiance[overlap].sum(axis=-1)).mean()) for view in (opaque, clear)
    ]
    assert redness[0] < 0.4, "the opaque bottle is grey"
    assert redness[1] > 0.5, "the red bowl is seen through the glass"


def test_a_passing_occluder_moves_and_hides() -> None:
    camera = render_rig.looking_from((0.8, 0.0, 0.3))
    can = render_rig.standing("can")
    passing = replace(render_rig.standing("bottle", at=(0.3, -0.2)), class_id=0, velocity=(0.0, 0.2, 0.0))
    renderer = render_rig.open_resources().renderer
    renderer.load(replace(render_rig.empty_room(), objects=[can, passing]))
    seen = [(renderer.render(render_rig.intrinsics(), camera, time).instances == 1).sum() for time in (0.0, 1.0)]
    assert seen[1] < 0.7 * seen[0], "at 1 s it is in front of the can"
    np.testing.assert_allclose(passing.pose_at(1.0)[:3, 3], passing.world_from_object[:3, 3] + [0, 0.2, 0])
