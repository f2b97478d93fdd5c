# SPDX-License-Identifier: Apache-2.0
"""The NOCS-layout reader, the clips and the loader, against a small ray-traced tree."""

from __future__ import annotations

import os
import pickle
import shutil
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nocs_tree import write_tree

from seqpose_core.camera import Camera
from train.data import BrokenFrameError, NocsClips, NocsLayout, Stage, StepSampler, make_loader, safe_pickle
from train.data.augment import Augmentation
from train.data.clips import ClipSample
from train.data.labels import surface_normals
from train.data.nocs_layout import REAL_INTRINSICS


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nocs")
    write_tree(root, clips=3, frames=4)
    return root


@pytest.fixture
def own_tree(tree: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(tree, tmp_path / "tree")
    return tmp_path / "tree"


def label_file(root: Path, scene: int, frame: int) -> Path:
    return root / "gts" / "train" / f"results_train_{scene:05d}_{frame:04d}.pkl"


# -- reading -----------------------------------------------------------------------------------------------


def test_stored_pose_depth_and_coordinates_agree(tree: Path) -> None:
    layout = NocsLayout.open(tree, "train")
    frame = layout.read(1, 2)
    assert [item.class_id for item in frame.objects] == [1, 5, 6]
    for item in frame.objects:
        rows, columns = np.nonzero(frame.mask == item.instance)
        assert item.visible_pixels == len(rows) > 100
        seen = frame.camera.unproject(np.stack([columns, rows], 1), frame.depth[rows, columns])
        diagonal = np.linalg.norm(item.size)
        said = (frame.coord[rows, columns] - 0.5) * diagonal @ item.rotation.T + item.translation
        # Half a millimetre of depth and half a grey level of coordinate are lost in storage.
        assert np.abs(seen - said).max() < 0.0005 * 1.3 + diagonal / 255
        assert np.allclose(item.rotation @ item.rotation.T, np.eye(3), atol=1e-12)


def test_sizes_camera_pose_and_stamp_are_metric(tree: Path) -> None:
    frame = NocsLayout.open(tree, "train").read(0, 3)
    assert np.allclose(frame.objects[0].size, [0.1, 0.2, 0.1], atol=1e-6)
    assert frame.stamp == pytest.approx(10 + 0.1 * 3**1.2)
    assert frame.camera_pose is not None
    bottle = frame.camera_pose[:3, :3] @ frame.objects[0].translation + frame.camera_pose[:3, 3]
    assert np.allclose(bottle, [0.15, 0.15, 0.1], atol=1e-6)


def test_truth_repeats_the_label_file(tree: Path) -> None:
    stored = safe_pickle.load(label_file(tree, 2, 1))
    truth = NocsLayout.open(tree, "train").read(2, 1).truth()
    for key, value in truth.items():
        assert np.allclose(value, stored[key], atol=1e-6), key


def test_real_and_camera_files_read_alike(own_tree: Path) -> None:
    """REAL: RGB mask, no intrinsics or poses; CAMERA: four meta columns, depth in two bytes."""
    folder = own_tree / "train" / "00000"
    plain = NocsLayout.open(own_tree, "train").read(0, 0)
    (folder / "intrinsics.txt").unlink()
    (folder / "camera_poses.txt").unlink()
    stem = str(folder / "0000_")
    cv2.imwrite(stem + "mask.png", np.dstack([np.zeros_like(plain.mask), plain.mask // 2, plain.mask]))
    packed = [
        np.zeros_like(plain.mask),
        (plain.depth_mm >> 8).astype(np.uint8),
        (plain.depth_mm & 255).astype(np.uint8),
    ]
    cv2.imwrite(stem + "depth.png", np.dstack(packed))
    (folder / "0000_meta.txt").write_text("1 1 02876657 abc\n2 5 03642806 def\n3 6 03797390 ghi\n4 0 0 jkl\n")
    own_tree.joinpath("gts/real_train").mkdir()
    for file in own_tree.joinpath("gts/train").iterdir():
        shutil.copy(
            file, own_tree / "gts/real_train" / file.name.replace("results_train", "results_real_train")
        )

    frame = NocsLayout(own_tree / "train", own_tree / "gts/real_train", intrinsics=REAL_INTRINSICS).read(0, 0)
    assert np.array_equal(frame.mask, plain.mask)
    assert np.array_equal(frame.depth_mm, plain.depth_mm)
    assert frame.camera == Camera.from_matrix(REAL_INTRINSICS, 224, 168)
    assert frame.stamp is None and frame.camera_pose is None
    assert [item.model for item in frame.objects] == ["abc", "def", "ghi"]


def test_objects_without_a_pixel_may_be_missing_from_the_label(own_tree: Path) -> None:
    meta = own_tree / "train" / "00000" / "0000_meta.txt"
    meta.write_text("9 2 hidden_bowl\n" + meta.read_text())
    frame = NocsLayout.open(own_tree, "train").read(0, 0)
    assert [item.instance for item in frame.objects] == [1, 2, 3]


def shrink(path: Path) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:100])


def relabel(path: Path, **changes: np.ndarray) -> None:
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), **changes}))


DAMAGE = {
    "color.png: is missing": lambda stem, label: Path(f"{stem}_color.png").unlink(),
    "mask.png: is not a readable image": lambda stem, label: Path(f"{stem}_mask.png").write_bytes(b"\x89PNG"),
    "coord.png: is 224x100 but the image is 224x168": lambda stem, label: shrink(Path(f"{stem}_coord.png")),
    "depth.png: has uint8 values": lambda stem, label: cv2.imwrite(
        f"{stem}_depth.png", np.zeros((168, 224), np.uint8)
    ),
    "meta.txt: line 'oops' does not begin": lambda stem, label: Path(f"{stem}_meta.txt").write_text("oops\n"),
    "has classes [1, 5, 6] but": lambda stem, label: Path(f"{stem}_meta.txt").write_text(
        "1 2 a\n2 5 b\n3 6 c\n"
    ),
    "pkl: is missing": lambda stem, label: label.unlink(),
    "values that are not finite": lambda stem, label: relabel(label, gt_RTs=np.full((3, 4, 4), np.nan)),
    "cube root of each determinant": lambda stem, label: relabel(label, gt_RTs=np.zeros((3, 4, 4))),
    "must be positive": lambda stem, label: relabel(label, gt_scales=np.zeros((3, 3))),
    "posix.system is refused": lambda stem, label: label.write_bytes(b"cposix\nsystem\n(S'true'\ntR."),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_a_broken_frame_is_skipped_counted_and_reported(own_tree: Path, reason: str) -> None:
    DAMAGE[reason](str(own_tree / "train" / "00001" / "0002"), label_file(own_tree, 1, 2))
    layout = NocsLayout.open(own_tree, "train")
    assert [frame.name for frame in layout.frames(1)] == ["0000", "0001", "0003"]
    assert len(layout.broken) == 1
    assert layout.report().startswith("1 of 12 frames skipped") and reason in layout.report()
    with pytest.raises(BrokenFrameError):
        layout.read(1, 2)


def test_a_broken_frame_gives_way_to_a_good_one_in_training(own_tree: Path) -> None:
    label_file(own_tree, 1, 2).unlink()
    clips = NocsClips([NocsLayout.open(own_tree, "train")])
    pair, good = clips[ClipSample(1, (1, 2), 0)], clips[ClipSample(1, (0, 1), 0)]
    assert pair["skipped"] == 0 and torch.equal(pair["image"], good["image"])  # another frame of the clip
    whole, following = clips[ClipSample(1, (0, 1, 2, 3), 0)], clips[ClipSample(2, (0, 1, 2, 3), 0)]
    assert whole["skipped"] == 1 and torch.equal(whole["image"], following["image"])  # the next clip
    assert [len(list(frames)) for _, frames in clips.sequential()] == [4, 3, 4]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_do_worse_than_break_the_frame(own_tree: Path, data: st.DataObject) -> None:
    good = NocsLayout.open(own_tree, "train").read(0, 0)
    files = [*sorted((own_tree / "train" / "00000").glob("0000_*")), label_file(own_tree, 0, 0)]
    file = data.draw(st.sampled_from(files))
    stored = file.read_bytes()
    damaged = bytearray(stored[: data.draw(st.integers(0, len(stored)))])
    for place in data.draw(st.lists(st.integers(0, len(stored)), max_size=3)):
        damaged[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
    file.write_bytes(damaged)
    try:
        frame = NocsLayout.open(own_tree, "train").read(0, 0)
        assert np.array_equal(frame.image, good.image) and np.array_equal(frame.depth_mm, good.depth_mm)
    except BrokenFrameError:
        pass
    finally:
        file.write_bytes(stored)


def test_a_clip_being_written_is_not_listed(own_tree: Path) -> None:
    shutil.copytree(own_tree / "train" / "00000", own_tree / "train" / ".00009.tmp")
    assert [clip.scene for clip in NocsLayout.open(own_tree, "train").clips] == ["00000", "00001", "00002"]


def test_a_tree_without_frames_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train is not a folder"):
        NocsLayout.open(tmp_path, "train")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo never",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_unpickler_reads_arrays_and_refuses_code(protocol: int) -> None:
    label = {
        "gt_RTs": np.eye(4)[None],
        "id": np.int64(3),
        "names": ["a", ("b", None, 1.5)],
        "raw": b"\x00\xff",
    }
    back = safe_pickle.loads(pickle.dumps(label, protocol))
    assert np.array_equal(back["gt_RTs"], label["gt_RTs"])
    assert back["id"] == 3 and back["names"] == label["names"] and back["raw"] == label["raw"]
    with pytest.raises(pickle.UnpicklingError, match="system is refused"):
        safe_pickle.loads(pickle.dumps([1, Evil()], protocol))


def test_unpickler_reads_what_numpy_1_wrote() -> None:
    data = pickle.dumps(np.arange(3.0), protocol=2)
    assert b"numpy._core.multiarray" in data
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert np.array_equal(safe_pickle.loads(old), np.arange(3.0))


@pytest.mark.parametrize("data", [b"", b"\x80", b"not a pickle", b"cbuiltins\neval\n.", b"cnumpy\nload\n."])
def test_unpickler_refuses_anything_else(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        safe_pickle.loads(data)


# -- labels ------------------------------------------------------------------------------------------------


# Scenes twenty times as large as a table's make the millimetre of storage negligible.


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
        depth = np.nan_to_num((b - np.sqrt(b**2 - a * c)) / a)  # 0 beside the sphere
    normals = surface_normals(
        np.round(depth * 1000).astype(np.uint16), camera, np.arange(168), np.arange(224)
    )
    known = np.linalg.norm(normals, axis=0) > 0
    assert not known[depth == 0].any()
    true = (rays * depth[..., None] - centre) / radius
    facing = (depth > 0) & (
        np.einsum("hwc,hwc->hw", true, -rays / np.linalg.norm(rays, axis=-1, keepdims=True)) > 0.5
    )
    assert known[facing].all()
    cosine = np.einsum("chw,hwc->hw", normals, true)[facing]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 2


def test_batch_has_the_promised_tensors(tree: Path) -> None:
    clips = NocsClips([NocsLayout.open(tree, "train")], augmentation=Augmentation())
    sampler = StepSampler(clips.clip_lengths, [Stage(1, 3, 2)])
    batch = next(iter(make_loader(clips, sampler, workers=0)))
    b, t, m = 2, 3, 8
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
    }
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


def test_other_sizes_resample_image_camera_and_labels_alike(tmp_path: Path) -> None:
    write_tree(tmp_path, clips=1, frames=1, height=336, width=448)
    sample = NocsClips([NocsLayout.open(tmp_path, "train")])[ClipSample(0, (0,), 0)]
    assert sample["image"].shape == (1, 3, 168, 224)
    # 448 wide, fx 400, cx 227.25: half of each, pixel centres at integers.
    assert torch.allclose(sample["intrinsics"][0, 0], torch.tensor([200.0, 0.0, (227.25 + 0.5) / 2 - 0.5]))


# -- batches -----------------------------------------------------------------------------------------------

STAGES = [Stage(5, 1, 4), Stage(9, 3, 2)]


def test_batches_depend_on_seed_and_step_only() -> None:
    lengths = [4, 4, 5, 4, 6]
    whole = list(StepSampler(lengths, STAGES, seed=3))
    assert len(whole) == 9 and [len(batch) for batch in whole] == [4] * 5 + [2] * 4
    assert list(StepSampler(lengths, STAGES, seed=3, start_step=6)) == whole[6:]
    assert StepSampler(lengths, STAGES, seed=3).batch(7) == whole[7]
    assert list(StepSampler(lengths, STAGES, seed=4)) != whole


def test_every_clip_and_every_frame_is_seen_equally() -> None:
    sampler = StepSampler([4] * 7, [Stage(4 * 7, 1, 3)], seed=1)  # 84 samples = 12 epochs of 7 clips
    seen: dict[tuple[int, int], int] = {}
    for sample in (sample for batch in sampler for sample in batch):
        seen[sample.clip, sample.frames[0]] = seen.get((sample.clip, sample.frames[0]), 0) + 1
    assert set(seen.values()) == {3} and len(seen) == 28


def test_frames_are_consecutive_in_either_direction_and_short_clips_are_left_out() -> None:
    sampler = StepSampler([2, 6, 9], [Stage(200, 3, 1)], seed=2)
    steps = set()
    for (sample,) in sampler:
        steps.add(tuple(np.diff(sample.frames)))
        assert sample.clip != 0 and min(sample.frames) >= 0 and max(sample.frames) < [2, 6, 9][sample.clip]
    assert steps == {(1, 1), (-1, -1)}


@pytest.mark.parametrize("stages", [[], [Stage(3, 1, 1), Stage(3, 1, 1)], [Stage(3, 7, 1)], [Stage(3, 0, 1)]])
def test_impossible_stages_are_refused(stages: list[Stage]) -> None:
    with pytest.raises(ValueError, match=r"stage|Stage"):
        StepSampler([4, 4], stages)


def test_backwards_clips_have_rising_stamps_of_the_same_spacing(tree: Path) -> None:
    clips = NocsClips([NocsLayout.open(tree, "train")])
    forth, back = clips[ClipSample(0, (0, 1, 2), 0)], clips[ClipSample(0, (2, 1, 0), 0)]
    assert torch.equal(back["image"], forth["image"].flip(0))
    assert (back["stamp"].diff() > 0).all()
    assert torch.allclose(back["stamp"].diff(), forth["stamp"].diff().flip(0))


def test_loader_gives_the_same_batches_from_any_start_and_any_number_of_workers(tree: Path) -> None:
    clips = NocsClips([NocsLayout.open(tree, "train")], augmentation=Augmentation())
    whole = list(make_loader(clips, StepSampler(clips.clip_lengths, STAGES, seed=5), workers=0))
    resumed = list(
        make_loader(clips, StepSampler(clips.clip_lengths, STAGES, seed=5, start_step=4), workers=1)
    )
    assert len(resumed) == 5
    for first, second in zip(islice(whole, 4, None), resumed, strict=True):
        for key in first:
            assert torch.equal(first[key].nan_to_num(7), second[key].nan_to_num(7)), key
