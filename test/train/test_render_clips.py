# SPDX-License-Identifier: Apache-2.0
"""Rendered clips on disk: files agree, clips are reproducible and resumable."""

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

pytest.importorskip("moderngl")

import render_rig
from render_rig import HEIGHT, WIDTH

from train.render.clips import RenderJob, render, render_clip
from train.render.meshes import Array
from train.render.writer import MINIMUM_PIXELS, is_complete


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of three frames on disk."""
    out = tmp_path_factory.mktemp("rendered")
    job = RenderJob("test", 5, out, frames=3, width=WIDTH, height=HEIGHT)
    for clip in (0, 1):
        render_clip(job, render_rig.open_resources(), clip)
    return out


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


def test_an_object_is_static_in_the_world_over_a_clip(written: Path) -> None:
    world: dict[tuple[str, str], list[Array]] = {}
    for clip in ("00000", "00001"):
        rows = np.loadtxt(written / "test" / clip / "camera_poses.txt")
        assert np.linalg.norm(rows[0, 1:] - rows[1, 1:]) > 1e-4, "the camera moves"
        for frame in range(3):
            lines = (written / "test" / clip / f"{frame:04d}_meta.txt").read_text().splitlines()
            targets = [line.split()[0] for line in lines if line.split()[1] != "0"]
            labels = pickle.loads((written / "gts" / "test" / f"results_test_{clip}_{frame:04d}.pkl").read_bytes())
            for number, pose in zip(targets, labels["gt_RTs"], strict=True):
                world.setdefault((clip, number), []).append(rows[frame, 1:].reshape(4, 4) @ pose)
    assert world
    for poses in world.values():
        np.testing.assert_allclose(poses, np.broadcast_to(poses[0], (len(poses), 4, 4)), atol=1e-7)


def test_the_same_seed_gives_the_same_clip_and_another_does_not(written: Path, tmp_path: Path) -> None:
    for seed in (5, 6):
        job = RenderJob("test", seed, tmp_path / str(seed), frames=3, width=WIDTH, height=HEIGHT)
        render_clip(job, render_rig.open_resources(), 1)
    poses = [
        (root / "test" / "00001" / "camera_poses.txt").read_bytes()
        for root in (written, tmp_path / "5", tmp_path / "6")
    ]
    assert poses[0] == poses[1]
    assert poses[0] != poses[2]
    name = "00001/0002_meta.txt"
    assert (written / "test" / name).read_bytes() == (tmp_path / "5" / "test" / name).read_bytes()


def test_stamps_follow_the_frame_rate_or_vary(written: Path, tmp_path: Path) -> None:
    render_clip(RenderJob("test", 5, tmp_path, 3, WIDTH, HEIGHT, fps=10.0), render_rig.open_resources(), 0)
    fixed = np.loadtxt(tmp_path / "test" / "00000" / "camera_poses.txt")[:, 0]
    np.testing.assert_allclose(fixed, [0, 0.1, 0.2], atol=1e-9)
    free = np.diff(np.loadtxt(written / "test" / "00000" / "camera_poses.txt")[:, 0])
    assert ((free >= 0.1) & (free <= 0.5)).all()


def test_a_finished_clip_is_skipped_and_a_missing_one_is_rendered(tmp_path: Path) -> None:
    job = RenderJob("test", 1, tmp_path, frames=1, width=WIDTH, height=HEIGHT)
    render_clip(job, render_rig.open_resources(), 0)
    finished = tmp_path / "test" / "00000"
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert render(job, clips=2) == 1
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir()} == before
    assert (tmp_path / "test" / "00001" / "0000_color.png").is_file()
    assert render(job, clips=2) == 0
    with pytest.raises(ValueError, match="'seed': 2"):
        render(replace(job, seed=2), clips=2)


def test_a_partial_clip_is_incomplete(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written / "test" / "00000", tmp_path / "test" / ".00000.tmp")
    assert is_complete(written, "test", 0, frames=3)
    assert not is_complete(tmp_path, "test", 0, frames=3)
    assert not is_complete(written, "test", 0, frames=4)


def test_a_missing_egl_driver_is_reported_with_the_packages_to_install() -> None:
    # An empty vendor list, as on a machine without Mesa's EGL.
    environment = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent.json"}
    code = "from train.render.device import create_context; create_context()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode != 0
    assert "libegl1" in ran.stderr
    assert "libgl1-mesa-dri" in ran.stderr
