# SPDX-License-Identifier: Apache-2.0
"""Normals from depth, and the tensors of a sample: slots, sizes, visible pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nocs_tree import write_tree

from seqpose_core.camera import Camera
from train.data import NocsClips, NocsLayout, Stage, StepSampler, make_loader
from train.data.augment import Augmentation
from train.data.clips import ClipSample
from train.data.frame import Frame, SceneObject
from train.data.labels import surface_normals
from train.data.layout import Clip, Layout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nocs")
    write_tree(root, clips=3, frames=4)
    return root


# Scenes twenty times as large as a table scene make the rounding of depth to millimetres negligible.


def test_normals_of_a_slanted_plane_are_its_normal() -> None:
    camera = Camera(220.0, 210.0, 110.0, 80.0, 224, 168)
    true = np.array([0.3, -0.7, -0.6]) / np.linalg.norm([0.3, -0.7, -0.6])
    v, u = np.mgrid[:168, :224]
    rays = camera.unproject(np.stack([u, v], -1), np.ones((168, 224)))
    depth = true @ [2.0, 2.0, 16.0] / (rays @ true)
    depth[(depth < 0) | (depth > 60)] = 0
    rows, columns = np.arange(3, 165, 6), np.arange(3, 221, 6)
    normals = surface_normals(np.round(depth * 1000).astype(np.uint16), camera, rows, columns)
    known = np.linalg.norm(normals, axis=0) > 0
    inner = depth[np.ix_(rows, columns)] > 0
    assert 200 < inner.sum() and known.sum() > 0.95 * inner.sum() and not known[~inner].any()
    assert np.degrees(np.arccos(np.clip(np.einsum("chw,c->hw", normals, true)[known], -1, 1))).max() < 1


def test_normals_of_a_sphere_point_from_its_centre_and_stop_at_its_edge() -> None:
    camera = Camera(400.0, 400.0, 112.0, 84.0, 224, 168)
    centre, radius = np.array([0.4, -0.2, 10.0]), 1.6
    v, u = np.mgrid[:168, :224]
    rays = camera.unproject(np.stack([u, v], -1), np.ones((168, 224)))
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    with np.errstate(invalid="ignore"):
        depth = np.nan_to_num((b - np.sqrt(b**2 - a * c)) / a)  # 0 outside the sphere
    normals = surface_normals(np.round(depth * 1000).astype(np.uint16), camera, np.arange(168), np.arange(224))
    known = np.linalg.norm(normals, axis=0) > 0
    assert not known[depth == 0].any()
    true = (rays * depth[..., None] - centre) / radius
    facing = (depth > 0) & (np.einsum("hwc,hwc->hw", true, -rays / np.linalg.norm(rays, axis=-1, keepdims=True)) > 0.5)
    assert known[facing].all()
    cosine = np.einsum("chw,hwc->hw", normals, true)[facing]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 2


def test_batch_has_the_documented_tensors(tree: Path) -> None:
    clips = NocsClips([NocsLayout.open(tree, "train")], augmentation=Augmentation())
    sampler = StepSampler(clips.clip_lengths, [Stage(1, 3, 2)])
    batch = next(iter(make_loader(clips, sampler, workers=0)))
    b, t, m = 2, 3, 20
    expected = {
        "image": (torch.uint8, (b, t, 3, 168, 224)),
        "intrinsics": (torch.float32, (b, t, 3, 3)),
        "camera_pose": (torch.float32, (b, t, 4, 4)),
        "stamp": (torch.float64, (b, t)),
        "classes": (torch.int64, (b, t, m)),
        "rotation": (torch.float32, (b, t, m, 3, 3)),
        "translation": (torch.float32, (b, t, m, 3)),
        "size": (torch.float32, (b, t, m, 3)),
        "symmetric": (torch.bool, (b, t, m)),
        "visible_pixels": (torch.float32, (b, t, m)),
        "instance": (torch.int64, (b, t, m)),
        "segmentation": (torch.int64, (b, t, 48, 64)),
        "depth": (torch.float32, (b, t, 48, 64)),
        "normals": (torch.float32, (b, t, 3, 48, 64)),
        "nocs": (torch.float32, (b, t, 3, 48, 64)),
        "skipped": (torch.int64, (b,)),
        "clip": (torch.int64, (b,)),
        "reset_memory": (torch.bool, (b,)),
    }
    assert batch.pop("broken") == batch.pop("left_out") == []
    assert {key: (value.dtype, tuple(value.shape)) for key, value in batch.items()} == expected


def test_small_targets_are_dropped_but_stay_in_the_segmentation(tree: Path) -> None:
    layout = NocsLayout.open(tree, "train")
    counts = {item.instance: item.visible_pixels for item in layout.read(0, 0).objects}
    limit = sorted(counts.values())[0] + 1
    sample = NocsClips([layout], min_visible_pixels=limit)[ClipSample(0, (0,), 0)]
    kept = set(sample["instance"][0].tolist()) - {-1}
    assert kept == {instance for instance, count in counts.items() if count >= limit} and len(kept) == 2
    assert set(sample["segmentation"].unique().tolist()) == {0, 1, 5, 6}


def test_an_instance_keeps_its_slot_and_the_most_visible_are_kept(tree: Path) -> None:
    layout = NocsLayout.open(tree, "train")
    total: dict[int, int] = {}
    for frame in layout.frames(0):
        for item in frame.objects:
            total[item.instance] = total.get(item.instance, 0) + item.visible_pixels
    best = sorted(sorted(total, key=lambda i: -total[i])[:2])
    sample = NocsClips([layout], max_objects=2)[ClipSample(0, (0, 1, 2, 3), 0)]
    assert sample["instance"].tolist() == [best] * 4


class Crowded(Layout):
    """One frame with 18 objects side by side, 1 m away; NOCS's dataset.py accepts fewer than 20 values in a mask."""

    clips = (Clip("scene", "", ("0000",)),)

    def _read(self, clip: Clip, name: str) -> Frame:
        mask = np.full((168, 224), 255, np.uint8)
        objects = []
        for index in range(18):
            mask[40:80, 4 + 12 * index : 14 + 12 * index] = index + 1
            place = np.array([0.05 * index - 0.45, 0, 1])
            objects.append(SceneObject(1 + index % 6, index + 1, np.eye(3), place, np.full(3, 0.04), True, 400))
        return Frame(
            scene=clip.scene,
            name=name,
            image=np.zeros((168, 224, 3), np.uint8),
            mask=mask,
            coord_bgr=np.full((168, 224, 3), 128, np.uint8),
            depth_mm=np.full((168, 224), 1000, np.uint16),
            objects=tuple(objects),
            camera=Camera(200, 200, 111.5, 83.5, 224, 168),
            stamp=None,
            camera_pose=None,
        )


def test_every_object_of_a_crowded_frame_is_a_target() -> None:
    sample = NocsClips([Crowded()])[ClipSample(0, (0,), 0)]
    assert sorted(set(sample["instance"][0].tolist()) - {-1}) == list(range(1, 19))


def test_other_sizes_resample_image_and_camera(tmp_path: Path) -> None:
    write_tree(tmp_path, clips=1, frames=1, height=336, width=448)
    sample = NocsClips([NocsLayout.open(tmp_path, "train")])[ClipSample(0, (0,), 0)]
    assert sample["image"].shape == (1, 3, 168, 224)
    # 448 wide, fx 400, cx 227.25: half of each, pixel centres at integers.
    assert torch.allclose(sample["intrinsics"][0, 0], torch.tensor([200.0, 0.0, (227.25 + 0.5) / 2 - 0.5]))
