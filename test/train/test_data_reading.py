# SPDX-License-Identifier: Apache-2.0
"""The reader of the NOCS layout on a small ray-traced tree, and its handling of broken frames."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nocs_tree import write_tree

from train.data import BrokenFrameError, NocsClips, NocsLayout, safe_pickle
from train.data.clips import ClipSample


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


def test_stored_pose_depth_and_coordinates_agree(tree: Path) -> None:
    layout = NocsLayout.open(tree, "train")
    frame = layout.read(1, 2)
    assert [item.class_id for item in frame.objects] == [1, 5, 6]
    for item in frame.objects:
        rows, columns = np.nonzero(frame.mask == item.instance)
        assert item.visible_pixels == len(rows) > 100
        seen = frame.camera.unproject(np.stack([columns, rows], 1), frame.depth[rows, columns])
        diagonal = np.linalg.norm(item.size)
        expected = (frame.coord[rows, columns] - 0.5) * diagonal @ item.rotation.T + item.translation
        # Storage rounds to half a millimetre of depth and half a grey level of coordinates.
        assert np.abs(seen - expected).max() < 0.0005 * 1.3 + diagonal / 255
        assert np.allclose(item.rotation @ item.rotation.T, np.eye(3), atol=1e-12)


def test_sizes_camera_pose_and_stamp_are_metric(tree: Path) -> None:
    frame = NocsLayout.open(tree, "train").read(0, 3)
    assert np.allclose(frame.objects[0].size, [0.1, 0.2, 0.1], atol=1e-6)
    assert frame.stamp == pytest.approx(10 + 0.1 * 3**1.2)
    assert frame.camera_pose is not None
    bottle = frame.camera_pose[:3, :3] @ frame.objects[0].translation + frame.camera_pose[:3, 3]
    assert np.allclose(bottle, [0.15, 0.15, 0.1], atol=1e-6)


def test_ground_truth_repeats_the_label_file(tree: Path) -> None:
    stored = safe_pickle.load(label_file(tree, 2, 1))
    ground_truth = NocsLayout.open(tree, "train").read(2, 1).ground_truth()
    for key, value in ground_truth.items():
        assert np.allclose(value, stored[key], atol=1e-6), key


def test_objects_without_a_pixel_may_be_missing_from_the_label(own_tree: Path) -> None:
    meta = own_tree / "train" / "00000" / "0000_meta.txt"
    meta.write_text("9 2 hidden_bowl\n" + meta.read_text())
    frame = NocsLayout.open(own_tree, "train").read(0, 0)
    assert [item.instance for item in frame.objects] == [1, 2, 3]


def shrink(path: Path) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:100])


def relabel(path: Path, **changes: np.ndarray) -> None:
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), **changes}))


def moved(path: Path, distance: float) -> np.ndarray:
    transforms = pickle.loads(path.read_bytes())["gt_RTs"].astype(float)
    transforms[:, 2, 3] = distance
    return transforms


DAMAGE = {
    "color.png: is missing": lambda stem, label: Path(f"{stem}_color.png").unlink(),
    "mask.png: is not a readable image": lambda stem, label: Path(f"{stem}_mask.png").write_bytes(b"\x89PNG"),
    "coord.png: is 224x100 but the image is 224x168": lambda stem, label: shrink(Path(f"{stem}_coord.png")),
    "depth.png: has uint8 values": lambda stem, label: cv2.imwrite(f"{stem}_depth.png", np.zeros((168, 224), np.uint8)),
    "meta.txt: line 'oops' does not begin": lambda stem, label: Path(f"{stem}_meta.txt").write_text("oops\n"),
    "has classes [1, 5, 6] but": lambda stem, label: Path(f"{stem}_meta.txt").write_text("1 2 a\n2 5 b\n3 6 c\n"),
    "pkl: is missing": lambda stem, label: label.unlink(),
    "values that are not finite": lambda stem, label: relabel(label, gt_RTs=np.full((3, 4, 4), np.nan)),
    "cube root of each determinant": lambda stem, label: relabel(label, gt_RTs=np.zeros((3, 4, 4))),
    "gt_RTs hold a distance or scale of 1e+300 m": lambda stem, label: relabel(label, gt_RTs=moved(label, 1e300)),
    "gt_RTs hold a distance or scale of 800 m": lambda stem, label: relabel(label, gt_RTs=moved(label, 800)),
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


@pytest.mark.parametrize(
    "text", ["1e-300 0 112 0 200 84 0 0 1", "200 0 1e9 0 200 84 0 0 1", "0.9 0 0.5 0 1.2 0.5 0 0 1"]
)
def test_implausible_intrinsics_are_named(text: str, own_tree: Path) -> None:
    (own_tree / "train/00001/intrinsics.txt").write_text(text)
    layout = NocsLayout.open(own_tree, "train")
    assert list(layout.frames(1)) == [] and "which are not pixels of a 224x168 image" in layout.report()


def test_a_broken_frame_is_replaced_by_a_readable_one_in_training(own_tree: Path) -> None:
    label_file(own_tree, 1, 2).unlink()
    layout = NocsLayout.open(own_tree, "train")
    clips = NocsClips([layout])
    pair, good = clips[ClipSample(1, (1, 2), 0)], clips[ClipSample(1, (0, 1), 0)]
    assert pair["skipped"] == 0 and torch.equal(pair["image"], good["image"])  # another frame of the clip
    skipped, following = clips[ClipSample(1, (0, 1, 2, 3), 0)], clips[ClipSample(2, (0, 1, 2, 3), 0)]
    assert skipped["skipped"] == 1 and torch.equal(skipped["image"], following["image"])  # the next clip
    assert [len(list(layout.frames(clip))) for clip in range(3)] == [4, 3, 4]
    # It is reported once, by the first item that reads it.
    assert len(pair["broken"]) == 1 and pair["broken"][0].startswith(str(label_file(own_tree, 1, 2)))
    assert good["broken"] == skipped["broken"] == []


def test_a_broken_frame_is_replaced_by_the_nearest_frame(tmp_path: Path) -> None:
    write_tree(tmp_path, clips=1, frames=9, height=84, width=112)
    label_file(tmp_path, 0, 6).unlink()
    clips = NocsClips([NocsLayout.open(tmp_path, "train")])
    stamp = clips[ClipSample(0, (6,), 0)]["stamp"]
    assert float(stamp) in [pytest.approx(10 + 0.1 * frame**1.2) for frame in (5, 7)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_raise_no_other_error_than_a_broken_frame(own_tree: Path, data: st.DataObject) -> None:
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


def test_the_error_names_a_folder_without_frames(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train is not a folder"):
        NocsLayout.open(tmp_path, "train")
