# SPDX-License-Identifier: Apache-2.0
"""The splits of CAMERA and REAL with both kinds of labels."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from nocs_miniature import CAMERA, DROPPED, REAL, write_nocs_miniature

from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORIES
from seqpose_ros.bags.bag import Bag
from train.check.data_set import check_set
from train.check.finding import Finding
from train.data import NocsClips, open_layout
from train.data.clips import ClipSample
from train.data.nocs_sets import Labels, split_of_folder
from train.evaluate.sets import open_set
from train.to_bag import write_bag

KINDS = [
    ("camera_train", "relabelled"),
    ("camera_val", "gts"),
    ("camera_val", "relabelled"),
    ("real_train", "relabelled"),
    ("real_test", "gts"),
    ("real_test", "relabelled"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nocs")
    write_nocs_miniature(root)
    return root


@pytest.mark.parametrize(("split", "labels"), KINDS)
def test_poses_sizes_depth_and_coordinates_of_every_kind_agree(root: Path, split: str, labels: str) -> None:
    layout = open_layout(root, split, labels)  # type: ignore[arg-type]
    first, second = layout.frames(0)
    assert first.camera == Camera.from_matrix(REAL if "real" in split else CAMERA, 640, 480)
    assert first.camera_pose is None
    assert (first.stamp, second.stamp) == ((0.0, 1 / 30) if "real" in split else (None, None))
    assert [item.class_id for item in first.objects] == [1, 5, 6]
    assert len(second.objects) == (3 if labels == "gts" else 2)
    for item in first.objects:
        rows, columns = np.nonzero(first.mask == item.instance)
        assert item.visible_pixels == len(rows) > 500
        seen = first.camera.unproject(np.stack([columns, rows], 1), first.depth[rows, columns])
        diagonal = np.linalg.norm(item.size)
        expected = (first.coord[rows, columns] - 0.5) * diagonal @ item.rotation.T + item.translation
        # Half a millimetre of depth and half a grey level of coordinates; a full level for converted mugs.
        assert np.abs(seen - expected).max() < 0.0005 * 1.3 + 2 * diagonal / 255
        assert np.allclose(item.rotation @ item.rotation.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("split", ["camera_val", "real_test"])
def test_relabelled_mugs_have_their_origin_on_the_axis_of_their_body(root: Path, split: str) -> None:
    raw, moved = (
        {item.class_id: item for item in open_layout(root, split, kind).read(0, 0).objects}
        for kind in ("gts", "relabelled")
    )
    for class_id in (1, 5):
        assert np.allclose(raw[class_id].translation, moved[class_id].translation, atol=1e-6)
        assert np.allclose(raw[class_id].size, moved[class_id].size, atol=1e-6)
    # A box of 12 x 10 x 8 cm with a body of 8 cm diameter at low x: its axis is 2 cm from the centre towards -x, and
    # the farthest point, the end of the handle, is 8 cm from the axis.
    assert np.allclose(raw[6].size, [0.12, 0.10, 0.08], atol=1e-6)
    assert np.allclose(moved[6].size, [0.16, 0.10, 0.08], atol=1e-6)
    assert np.allclose(raw[6].rotation.T @ (moved[6].translation - raw[6].translation), [-0.02, 0, 0], atol=1e-6)


def test_an_object_without_a_label_is_background(root: Path) -> None:
    layout = open_layout(root, "real_train", "relabelled")
    sample = NocsClips([layout])[ClipSample(0, (0, 1), 0)]
    assert set(sample["segmentation"][0].unique().tolist()) == {0, 1, 5, 6}
    assert set(sample["segmentation"][1].unique().tolist()) == {0, 1, 6}
    assert (layout.read(0, 1).mask == DROPPED).any()


def test_camera_depth_is_unknown_where_nothing_was_rendered(root: Path) -> None:
    frame = open_layout(root, "camera_val").read(0, 0)
    assert np.array_equal(frame.depth_mm == 0, frame.mask == 255) and 400 < frame.depth_mm.max() < 1500


def test_either_spelling_of_the_folders_is_read(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "real", tmp_path / "Real")
    shutil.copytree(root / "obj_models", tmp_path / "obj_models")
    assert len(open_layout(tmp_path, "real_test", "relabelled").read(0, 0).objects) == 3
    with pytest.raises(FileNotFoundError, match=r"in none of .*camera/val, .*CAMERA/val.*unzip its archive"):
        open_layout(tmp_path, "camera_val", "relabelled")


def test_an_error_about_missing_labels_names_the_right_kind(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gts/real_train is not a folder.*labels: relabelled"):
        open_layout(root, "real_train")
    shutil.copytree(root / "real", tmp_path / "real")
    with pytest.raises(FileNotFoundError, match=r"obj_models/real_train\.pkl is missing"):
        open_layout(tmp_path, "real_train", "relabelled")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda stem: Path(f"{stem}_label.pkl").unlink(), "label.pkl: is missing"),
        (lambda stem: Path(f"{stem}_label.pkl").write_bytes(b"cposix\nsystem\n(S'true'\ntR."), "system is refused"),
        (lambda stem: Path(f"{stem}_meta.txt").write_text("1 1 a\n2 5 b\n3 6 c\n"), "instance 1 is 1 'real_train_1'"),
    ],
)
def test_a_frame_with_a_broken_relabelled_pickle_is_skipped(
    root: Path, tmp_path: Path, damage: object, reason: str
) -> None:
    shutil.copytree(root / "real", tmp_path / "real")
    shutil.copytree(root / "obj_models", tmp_path / "obj_models")
    damage(tmp_path / "real/train/scene_1/0000")  # type: ignore[operator]
    layout = open_layout(tmp_path, "real_train", "relabelled")
    assert [frame.name for frame in layout.frames(0)] == ["0001"]
    assert reason in layout.report()


@pytest.mark.parametrize(("labels", "part"), [("relabelled", "label.pkl"), ("gts", "color.png")])
def test_frames_that_published_lists_leave_out_are_not_broken(
    root: Path, tmp_path: Path, labels: Labels, part: str
) -> None:
    # pose_data.py writes no label for frames without a valid object; NOCS's dataset.py reads frames with an image only.
    shutil.copytree(root, tmp_path / "nocs")
    missing = tmp_path / f"nocs/camera/val/00000/0001_{part}"
    missing.unlink()
    layout = open_layout(tmp_path / "nocs", "camera_val", labels)
    assert [frame.name for frame in layout.frames(0)] == ["0000"] == list(layout.clips[0].frames)
    findings = {finding.subject: finding for finding in check_set(layout, "val", 0, CATEGORIES)}
    assert findings["val: broken frames"] == Finding("ok", "val: broken frames", "0 of 1 read")
    assert ("val: note" in findings) == (labels == "relabelled")
    if labels == "relabelled":
        assert f"1 of 2 frames have no relabelled label and are left out; the first is {missing}" in layout.report()


def test_a_set_without_relabelled_pickles_is_refused_with_their_origin(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "real", tmp_path / "real")
    shutil.copytree(root / "obj_models", tmp_path / "obj_models")
    for label in tmp_path.glob("real/*/*/*_label.pkl"):
        label.unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no <scene>/<frame>_label\.pkl; preprocess/pose_data\.py"):
        open_layout(tmp_path, "real_train", "relabelled")


@pytest.mark.parametrize(("absent", "name"), [(0, "CAMERA25"), (1, "part of CAMERA25 (21207 of 21208 frames)")])
def test_camera25_is_complete_with_the_frames_that_were_published(tmp_path: Path, absent: int, name: str) -> None:
    # Shape Prior Deformation's pose_data.py counts 3,792 of 25,000 images of CAMERA's val split without their files.
    (tmp_path / "gts/val").mkdir(parents=True)
    for index in range(25_000 - 3792 - absent):
        image = tmp_path / f"camera/val/{index // 10:05d}/{index % 10:04d}_color.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
    assert open_set(tmp_path, "camera_val").name == name


def test_the_name_of_an_evaluation_set_includes_its_labels(root: Path) -> None:
    raw, other = open_set(root, "real_test"), open_set(root, "real_test", "relabelled")
    assert raw.name == "part of REAL275 (2 of 2750 frames)"
    assert other.name == "part of REAL275 (2 of 2750 frames), relabelled"
    # The second frame's laptop shows too little depth for the relabelled pickles.
    assert [len(s.layout.read(0, 1).objects) for s in (raw, other)] == [3, 2]


def test_a_hidden_handle_is_read_for_mugs_only(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "nocs")
    label = tmp_path / "nocs/gts/real_test/results_real_test_scene_1_0000.pkl"
    stored = pickle.loads(label.read_bytes())
    assert stored["handle_visibility"].tolist() == [0, 0, 1]
    layout = open_layout(tmp_path / "nocs", "real_test")
    assert [item.handle_visible for item in layout.read(0, 0).objects] == [True, True, True]
    label.write_bytes(pickle.dumps({**stored, "handle_visibility": np.array([0, 0, 0])}))
    assert [item.handle_visible for item in layout.read(0, 0).objects] == [True, True, False]
    # The second file has no handle_visibility.
    assert [item.handle_visible for item in layout.read(0, 1).objects] == [True, True, True]


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("real_test_6.txt", None, "has neither real_test_6.txt nor <synset>/real_test_6/bbox.txt"),
        ("real_test_6.txt", "0.1 0.2", "real_test_6.txt cannot be read: "),
        ("real_test_6.txt", "0.1 0 0.2", "has the extents [0.1, 0.0, 0.2]; they must be positive"),
    ],
)
def test_a_missing_or_damaged_model_size_is_named(
    root: Path, tmp_path: Path, file: str, text: str | None, reason: str
) -> None:
    shutil.copytree(root, tmp_path / "nocs")
    path = tmp_path / "nocs/obj_models/real_test" / file
    path.unlink() if text is None else path.write_text(text)
    layout = open_layout(tmp_path / "nocs", "real_test")
    assert list(layout.frames(0)) == [] and reason in layout.report()


@pytest.mark.parametrize(
    ("split", "source", "unzipped"), [("real_test", "real/test", "real_test"), ("camera_val", "camera/val", "val")]
)
def test_archives_unzipped_side_by_side_are_read(
    root: Path, tmp_path: Path, split: str, source: str, unzipped: str
) -> None:
    for name in ("gts", "obj_models"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.copytree(root / source, tmp_path / unzipped)
    (tmp_path / "camera_full_depths").mkdir()
    assert len(open_layout(tmp_path, split).read(0, 0).objects) == 3
    assert open_set(tmp_path, split).name.startswith("part of ")
    name = tmp_path / "obj_models" / ("real_test" if "real" in split else "val")
    name.rename(tmp_path / "sizes")
    with pytest.raises(FileNotFoundError, match=r"obj_models/.* is not a folder; .*: unzip obj_models\.zip into"):
        open_layout(tmp_path, split)
    (tmp_path / "sizes").rename(name)
    (tmp_path / "gts").rename(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match=r"gts/.* is not a folder; unzip gts\.zip"):
        open_layout(tmp_path, split)


def test_an_error_about_a_root_or_split_of_nocs_names_the_right_one(root: Path, tmp_path: Path) -> None:
    for name in ("gts", "obj_models"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.copytree(root / "real/test", tmp_path / "real_test")
    shutil.copytree(root / "camera/val", tmp_path / "val")
    for folder, split, reason in (
        (tmp_path, "val", r"/val holds camera_val of NOCS as published; name the split camera_val"),
        (tmp_path, "test", r" has no split 'test', but camera_val, real_test of NOCS; name one of them"),
        (tmp_path, "real_train", r"unzip its archive into one of them.* \(found: camera_val, real_test\)"),
        (tmp_path / "real_test", "real_test", f"real_test is a part of real_test: give the root {tmp_path}$"),
        (tmp_path / "real_test/scene_1", "real_test", f"scene_1 is a part of real_test: give the root {tmp_path}$"),
    ):
        with pytest.raises(FileNotFoundError, match=reason):
            open_layout(folder, split)


def test_a_root_that_is_named_like_a_split_is_not_our_own_layout(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "real_test")
    assert len(open_layout(tmp_path / "real_test", "real_test").read(0, 0).objects) == 3
    written = write_bag(tmp_path / "real_test/real/test/scene_1", tmp_path / "bag")
    assert (written.frames, written.skipped) == (2, {})


@pytest.mark.parametrize("split", ["camera_train", "camera_val", "real_train", "real_test"])
def test_the_folder_of_a_split_gives_its_root_and_name(root: Path, split: str) -> None:
    kind, part = split.split("_")
    assert split_of_folder(root / kind / part) == (root, split)


@pytest.mark.parametrize("labels", [None, "gts/real_test"])
def test_a_bag_of_a_real_scene_has_its_intrinsics_and_poses(root: Path, tmp_path: Path, labels: str | None) -> None:
    written = write_bag(root / "real/test/scene_1", tmp_path / "bag", labels=root / labels if labels else None)
    assert (written.frames, written.skipped) == (2, {})
    with Bag(tmp_path / "bag") as bag:
        for frame, source in zip(bag.frames(), open_layout(root, "real_test").frames(0), strict=True):
            assert frame.camera == Camera.from_matrix(REAL, 640, 480)
            for item, expected in zip(frame.ground_truth or [], source.objects, strict=True):
                np.testing.assert_allclose(item.size, expected.size, atol=1e-9)
                np.testing.assert_allclose(item.translation, expected.translation, atol=1e-9)
