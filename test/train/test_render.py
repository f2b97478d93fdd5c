# SPDX-License-Identifier: Apache-2.0
"""Rendered clips: labels that agree with one another and with geometry, reproducible, resumable."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORY_NAMES, category

pytest.importorskip("moderngl")

from train.render.clips import RenderJob, render, render_clip
from train.render.materials import Material
from train.render.meshes import Array, rotation_about
from train.render.motion import HandHeldMotion
from train.render.renderer import Rendered, Renderer
from train.render.scene import Scene, SceneObject, instance_mesh, sample_intrinsics, sample_scene
from train.render.textures import TextureBank
from train.render.writer import MINIMUM_PIXELS, frame_labels, is_complete

WIDTH, HEIGHT = 160, 120
Y_UP = rotation_about("x", np.pi / 2)


@pytest.fixture(scope="module")
def bank() -> TextureBank:
    return TextureBank("test", 24)


@pytest.fixture(scope="module")
def renderer(bank: TextureBank) -> Renderer:
    try:
        return Renderer(bank, WIDTH, HEIGHT)
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def room(bank: TextureBank) -> Scene:
    return sample_scene(np.random.default_rng(3), "test", bank)


@pytest.fixture(scope="module")
def written(renderer: Renderer, bank: TextureBank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of three frames on disk."""
    out = tmp_path_factory.mktemp("rendered")
    job = RenderJob("test", 5, out, frames=3, width=WIDTH, height=HEIGHT)
    for clip in (0, 1):
        render_clip(job, renderer, bank, clip)
    return out


def standing(kind: str, yaw: float = 0.4, at: tuple[float, float] = (0.0, 0.0), index: int = 0) -> SceneObject:
    """An upright object on the table."""
    mesh = instance_mesh("test", kind, index)
    pose = np.eye(4)
    pose[:3, :3] = rotation_about("z", yaw) @ Y_UP
    pose[:3, 3] = [*at, mesh.extents[1] / 2]
    return SceneObject(kind, category(kind).id, f"{kind}_test_{index:04d}", mesh, [Material((0.5, 0.5, 0.5))] * 8, pose)


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


def view_of(renderer: Renderer, room: Scene, objects: list[SceneObject], camera: Array) -> Rendered:
    renderer.load(replace(room, objects=objects))
    return renderer.render(intrinsics(), camera)


@pytest.mark.parametrize("kind", CATEGORY_NAMES)
def test_nocs_points_through_the_pose_land_on_the_depth_surface(renderer: Renderer, room: Scene, kind: str) -> None:
    item, camera = standing(kind), looking_from((0.5, -0.3, 0.4))
    view = view_of(renderer, room, [item], camera)
    labels = frame_labels(replace(room, objects=[item]), view, camera, "")
    v, u = np.nonzero(view.instances == 1)
    assert len(v) > 100
    pose = labels["gt_RTs"][0]
    posed = (view.nocs[v, u] - 0.5) @ pose[:3, :3].T + pose[:3, 3]
    pinhole = Camera.from_matrix(intrinsics(), WIDTH, HEIGHT)
    seen = pinhole.unproject(np.stack([u, v], axis=-1).astype(float), view.depth[v, u].astype(float))
    # NOCS is stored in 8 bits: half a step on each axis of the box's diagonal, and a little float error.
    diagonal = np.linalg.norm(item.mesh.extents)
    assert np.linalg.norm(posed - seen, axis=1).max() < np.sqrt(3) * diagonal * 0.51 / 255 + 1e-4


@pytest.mark.parametrize("kind", CATEGORY_NAMES)
def test_the_mask_is_where_the_mesh_projects(renderer: Renderer, room: Scene, kind: str) -> None:
    item, camera = standing(kind), looking_from((0.6, -0.3, 0.5))
    view = view_of(renderer, room, [item], camera)
    box = frame_labels(replace(room, objects=[item]), view, camera, "")["gt_bboxes"][0]
    points = item.mesh.vertices @ item.world_from_object[:3, :3].T + item.world_from_object[:3, 3]
    points = (points - camera[:3, 3]) @ camera[:3, :3]
    pixels = Camera.from_matrix(intrinsics(), WIDTH, HEIGHT).project(points)
    y1, x1, y2, x2 = box
    # A pixel belongs to the mask when its centre is covered; thin tips may fall between centres.
    np.testing.assert_allclose([x1, y1], pixels.min(axis=0), atol=1.6)
    np.testing.assert_allclose([x2 - 1, y2 - 1], pixels.max(axis=0), atol=1.6)


def test_scales_and_scale_give_the_true_extents(renderer: Renderer, room: Scene) -> None:
    item, camera = standing("camera"), looking_from((0.5, 0.2, 0.4))
    view = view_of(renderer, room, [item], camera)
    labels = frame_labels(replace(room, objects=[item]), view, camera, "")
    scale = np.cbrt(np.linalg.det(labels["gt_RTs"][0][:3, :3]))
    assert np.linalg.norm(labels["gt_scales"][0]) == pytest.approx(1)
    np.testing.assert_allclose(scale * labels["gt_scales"][0], item.mesh.extents, rtol=1e-9)


def test_the_nearer_surface_wins(renderer: Renderer, room: Scene) -> None:
    camera = looking_from((0.7, 0.0, 0.25))
    near, far = standing("can", at=(0.12, 0.0)), standing("bottle", at=(-0.05, 0.0))
    both = view_of(renderer, room, [near, far], camera)
    alone = [view_of(renderer, room, [item], camera) for item in (near, far)]
    np.testing.assert_array_equal(both.depth, np.minimum(alone[0].depth, alone[1].depth))
    np.testing.assert_array_equal(both.instances == 1, alone[0].instances == 1)
    hidden = (alone[1].instances == 1) & (both.instances != 2)
    assert hidden.any()
    assert (both.instances[hidden] == 1).all()


def test_the_table_is_the_plane_z_zero(renderer: Renderer, room: Scene) -> None:
    camera = looking_from((0.3, 0.0, 0.6))
    view = view_of(renderer, room, [standing("can", at=(0.0, 0.2))], camera)
    middle = np.array([WIDTH // 2, HEIGHT // 2])
    ray = Camera.from_matrix(intrinsics(), WIDTH, HEIGHT).unproject(middle.astype(float), np.array(1.0))
    towards = camera[:3, :3] @ ray
    assert view.depth[middle[1], middle[0]] == pytest.approx(-camera[2, 3] / towards[2], abs=1e-5)


def test_a_handle_turned_away_is_marked_invisible(renderer: Renderer, room: Scene) -> None:
    item = standing("mug", yaw=0.0)  # handle along world +x
    visible = []
    for x in (0.5, -0.5):
        camera = looking_from((x, 0.0, 0.12))
        view = view_of(renderer, room, [item], camera)
        labels = frame_labels(replace(room, objects=[item]), view, camera, "")
        visible.append(int(labels["gt_handle_visibility"][0]))
    assert visible == [1, 0]


def test_files_of_a_frame_agree(written: Path) -> None:
    for clip in ("00000", "00001"):
        matrix = np.loadtxt(written / "test" / clip / "intrinsics.txt")
        rows = np.loadtxt(written / "test" / clip / "camera_poses.txt")
        assert rows.shape == (3, 17)
        for frame in range(3):
            stem = str(written / "test" / clip / f"{frame:04d}")
            mask = cv2.imread(stem + "_mask.png", cv2.IMREAD_UNCHANGED)
            depth = cv2.imread(stem + "_depth.png", cv2.IMREAD_UNCHANGED)
            coord = cv2.imread(stem + "_coord.png")[..., ::-1] / 255.0
            colour = cv2.imread(stem + "_color.png")
            assert (mask.dtype, depth.dtype) == (np.uint8, np.uint16)
            assert mask.shape == depth.shape == coord.shape[:2] == colour.shape[:2] == (HEIGHT, WIDTH)
            meta = [line.split() for line in Path(stem + "_meta.txt").read_text().splitlines()]
            assert {int(line[0]) for line in meta} == set(np.unique(mask)) - {255}
            assert (coord[mask == 255] == 0).all()
            assert (depth > 0).all()
            labels = pickle.loads((written / "gts" / "test" / f"results_test_{clip}_{frame:04d}.pkl").read_bytes())
            targets = [line for line in meta if line[1] != "0"]
            assert [int(line[1]) for line in targets] == labels["gt_class_ids"].tolist()
            for line, pose, box in zip(targets, labels["gt_RTs"], labels["gt_bboxes"], strict=True):
                v, u = np.nonzero(mask == int(line[0]))
                assert len(v) >= MINIMUM_PIXELS
                assert [v.min(), u.min(), v.max() + 1, u.max() + 1] == box.tolist()
                nocs = coord[v, u] * [1, 1, -1] + [0, 0, 1]
                posed = (nocs - 0.5) @ pose[:3, :3].T + pose[:3, 3]
                z = depth[v, u] / 1000
                x, y = (u - matrix[0, 2]) * z / matrix[0, 0], (v - matrix[1, 2]) * z / matrix[1, 1]
                assert np.linalg.norm(posed - np.stack([x, y, z], axis=-1), axis=1).max() < 0.003


def test_an_object_stands_still_in_the_world_over_a_clip(written: Path) -> None:
    rows = np.loadtxt(written / "test" / "00000" / "camera_poses.txt")
    world: dict[str, list[Array]] = {}
    for frame in range(3):
        meta = [
            line.split() for line in (written / "test" / "00000" / f"{frame:04d}_meta.txt").read_text().splitlines()
        ]
        labels = pickle.loads((written / "gts" / "test" / f"results_test_00000_{frame:04d}.pkl").read_bytes())
        for line, pose in zip((x for x in meta if x[1] != "0"), labels["gt_RTs"], strict=True):
            world.setdefault(line[0], []).append(rows[frame, 1:].reshape(4, 4) @ pose)
    assert world
    for poses in world.values():
        np.testing.assert_allclose(poses, np.broadcast_to(poses[0], (len(poses), 4, 4)), atol=1e-7)
    assert np.linalg.norm(rows[0, 1:] - rows[1, 1:]) > 1e-4, "the camera moves"


def test_the_same_seed_gives_the_same_clip_and_another_does_not(
    renderer: Renderer, bank: TextureBank, written: Path, tmp_path: Path
) -> None:
    for seed in (5, 6):
        job = RenderJob("test", seed, tmp_path / str(seed), frames=3, width=WIDTH, height=HEIGHT)
        render_clip(job, renderer, bank, 1)
    poses = [
        (root / "test" / "00001" / "camera_poses.txt").read_bytes()
        for root in (written, tmp_path / "5", tmp_path / "6")
    ]
    assert poses[0] == poses[1]
    assert poses[0] != poses[2]
    name = "00001/0002_meta.txt"
    assert (written / "test" / name).read_bytes() == (tmp_path / "5" / "test" / name).read_bytes()


def test_objects_rest_on_the_table_and_do_not_intersect(bank: TextureBank) -> None:
    for seed in range(20):
        scene = sample_scene(np.random.default_rng(seed), "test", bank)
        hulls = []
        for item in scene.objects:
            points = item.mesh.vertices @ item.world_from_object[:3, :3].T + item.world_from_object[:3, 3]
            assert points[:, 2].min() == pytest.approx(0, abs=1e-9)
            hulls.append(cv2.convexHull(points[:, :2].astype(np.float32)))
        for i, a in enumerate(hulls):
            assert all(cv2.intersectConvexConvex(a, b)[0] == 0 for b in hulls[:i])


def test_the_camera_moves_like_a_hand() -> None:
    for seed in range(30):
        motion = HandHeldMotion.sample(np.random.default_rng(seed))
        first, soon = motion.world_from_camera(0.0), motion.world_from_camera(1 / 30)
        assert 0.40 <= np.linalg.norm(first[:3, 3]) <= 1.45
        np.testing.assert_allclose(first[:3, :3].T @ first[:3, :3], np.eye(3), atol=1e-12)
        assert np.linalg.det(first[:3, :3]) == pytest.approx(1)
        assert first[2, 2] < 0, "looks down"
        assert first[2, 1] < 0, "is upright: the image's down is the world's down"
        assert np.linalg.norm(first[:3, 3] - soon[:3, 3]) < 0.05
        turn = np.arccos(np.clip((np.trace(first[:3, :3].T @ soon[:3, :3]) - 1) / 2, -1, 1))
        assert turn < np.radians(5)


def test_intrinsics_scale_from_reals_camera() -> None:
    matrices = np.array([sample_intrinsics(np.random.default_rng(i), 320, 240) for i in range(200)])
    focal = matrices[:, 0, 0] / (591.0125 / 2)
    assert 0.88 <= focal.min() < 0.92
    assert 1.16 < focal.max() <= 1.2
    np.testing.assert_allclose(matrices[:, 1, 1] / matrices[:, 0, 0], 590.16775 / 591.0125)
    assert np.abs(matrices[:, 0, 2] - 161.0125).max() <= 0.03 * 320 + 1e-9


def test_stamps_follow_the_frame_rate_or_vary(
    renderer: Renderer, bank: TextureBank, written: Path, tmp_path: Path
) -> None:
    render_clip(RenderJob("test", 5, tmp_path, 3, WIDTH, HEIGHT, fps=10.0), renderer, bank, 0)
    fixed = np.loadtxt(tmp_path / "test" / "00000" / "camera_poses.txt")[:, 0]
    np.testing.assert_allclose(fixed, [0, 0.1, 0.2], atol=1e-9)
    free = np.diff(np.loadtxt(written / "test" / "00000" / "camera_poses.txt")[:, 0])
    assert ((free >= 0.1) & (free <= 0.5)).all()


def test_splits_share_no_texture() -> None:
    layers = [{layer.tobytes() for layer in TextureBank(split, 24).layers} for split in ("train", "val", "test")]
    assert not (layers[0] & layers[1] or layers[0] & layers[2] or layers[1] & layers[2])


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match="'dev'"):
        TextureBank("dev")


def test_a_finished_clip_is_skipped_and_a_missing_one_made(
    renderer: Renderer, bank: TextureBank, tmp_path: Path
) -> None:
    job = RenderJob("val", 1, tmp_path, frames=1, width=WIDTH, height=HEIGHT)
    render_clip(job, renderer, bank, 0)
    finished = tmp_path / "val" / "00000"
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert render(job, clips=2) == 1
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir()} == before
    assert (tmp_path / "val" / "00001" / "0000_color.png").is_file()
    assert render(job, clips=2) == 0
    with pytest.raises(ValueError, match="'seed': 2"):
        render(replace(job, seed=2), clips=2)


def test_half_a_clip_is_not_taken_for_a_whole_one(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "test" / "00000", tmp_path / "test" / ".00000.tmp")
    assert is_complete(written, "test", 0, frames=3)
    assert not is_complete(tmp_path, "test", 0, frames=3)
    assert not is_complete(written, "test", 0, frames=4)


def test_a_missing_egl_driver_is_told_with_the_packages_to_install() -> None:
    # An empty vendor list is what a machine without Mesa's EGL has.
    environment = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent.json"}
    code = "from train.render.renderer import create_context; create_context()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode != 0
    assert "libegl1" in ran.stderr
    assert "libgl1-mesa-dri" in ran.stderr
