# SPDX-License-Identifier: Apache-2.0
"""train.to_bag leaves broken frames of a scene out of the bag, or names what is wrong with the scene."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_rig import FRAMES, write_clip
from nocs_tree import write_tree

from seqpose_ros.bags.bag import Bag
from train import to_bag
from train.to_bag import EPOCH, WrittenBag, write_bag


def relabel(**changes: Any) -> Callable[[Path, Path], None]:
    def change(scene: Path, label: Path) -> None:
        label.write_bytes(pickle.dumps({**pickle.loads(label.read_bytes()), **changes}))

    return change


BROKEN_FRAMES: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "missing image": (lambda scene, label: (scene / "0002_color.png").unlink(), "0002_color.png: is missing"),
    "missing label": (lambda scene, label: label.unlink(), "results_val_00003_0002.pkl: is missing"),
    "mask of another size": (
        lambda scene, label: cv2.imwrite(str(scene / "0002_mask.png"), np.zeros((9, 9), np.uint8)),
        "0002_mask.png: is 9x9 but the image is 96x72",
    ),
    "poses of a wrong shape": (relabel(gt_RTs=np.zeros((2, 3, 4))), "results_val_00003_0002.pkl: ValueError"),
    "class outside 1..6": (
        lambda scene, label: (scene / "0002_meta.txt").write_text("1 9 mug_a\n2 4 can_a\n"),
        "0002_meta.txt: line '1 9 mug_a' has an instance or class out of range",
    ),
    "labelled class outside 1..6": (relabel(gt_class_ids=np.array([9, 4])), "has classes [9, 4] but"),
    "not finite": (relabel(gt_scales=np.full((2, 3), np.inf)), "hold values that are not finite"),
}


@pytest.mark.parametrize("case", BROKEN_FRAMES)
def test_a_broken_frame_is_left_out_of_the_bag_and_reported(case: str, tmp_path: Path) -> None:
    scene = write_clip(tmp_path)
    damage, reason = BROKEN_FRAMES[case]
    damage(scene, tmp_path / "gts" / "val" / "results_val_00003_0002.pkl")
    written = write_bag(scene, tmp_path / "bag")
    assert written.frames == FRAMES - 1
    ((name, text),) = written.skipped.items()
    assert name == "00003/0002" and reason in text
    with Bag(tmp_path / "bag") as bag:
        assert [round((f.stamp - EPOCH * 10**9) * 1e-9, 3) for f in bag.frames()] == [0.0, 0.1, 0.3]


def test_the_command_reports_skipped_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_clip(tmp_path)
    (scene / "0001_depth.png").unlink()
    to_bag.main([str(scene), "--out", str(tmp_path / "bag")])
    output = capsys.readouterr().out
    assert (
        "3 frames" in output and "1 frames skipped: 00003/0001: " in output and "0001_depth.png: is missing" in output
    )


def test_a_scene_without_usable_frames_gives_no_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_clip(tmp_path)
    for path in scene.glob("*_color.png"):
        path.write_bytes(b"damaged")
    with pytest.raises(SystemExit) as stop:
        to_bag.main([str(scene), "--out", str(tmp_path / "bag")])
    assert stop.value.code == 2
    output = capsys.readouterr().err
    assert f"none of the {FRAMES} frames of {scene} can be used" in output and "0000_color.png" in output
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda root: root / "val" / "00009", "is not a folder"),
        (lambda root: write_clip(root).parent / "00009", "holds no frames; scenes of"),
    ],
)
def test_the_error_names_a_missing_scene(
    make: Callable[[Path], Path], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        to_bag.main([str(make(tmp_path)), "--out", str(tmp_path / "bag")])
    assert reason in capsys.readouterr().err


def write_bag_with_stamps(root: Path, stamps: dict[int, float]) -> WrittenBag:
    """The bag of a clip, some rows of whose camera_poses.txt have other stamps (seconds)."""
    scene = write_clip(root)
    rows = np.loadtxt(scene / "camera_poses.txt")
    rows[list(stamps), 0] = list(stamps.values())
    np.savetxt(scene / "camera_poses.txt", rows)
    return write_bag(scene, root / "bag")


def test_frames_whose_stamps_do_not_increase_are_left_out(tmp_path: Path) -> None:
    written = write_bag_with_stamps(tmp_path, {2: 0.1, 3: np.nan})  # frame 1 is at 0.1 s
    assert written.frames == 2
    assert "row 2 is not later than the previous one" in written.skipped["00003/0002"]
    assert "row 3 has no finite stamp" in written.skipped["00003/0003"]


def test_a_frame_of_another_size_than_the_first_is_left_out(tmp_path: Path) -> None:
    """Its camera is not known: a scene has one intrinsics.txt."""
    scene = write_clip(tmp_path)
    for file in scene.glob("0002_*.png"):
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[:36, :48])
    written = write_bag(scene, tmp_path / "bag")
    reason = "0002_color.png: is 48x36 but 0000_color.png is 96x72, and a scene has one camera"
    assert written.frames == FRAMES - 1 and written.skipped["00003/0002"].endswith(reason)


@pytest.mark.parametrize("kind", ["file", "empty folder", "root", "missing"])
def test_the_error_names_a_scene_without_frames(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "here" / "there"
    (path if kind == "empty folder" else path.parent).mkdir(parents=True)
    if kind == "file":
        path.write_text("x")
    elif kind == "root":
        write_clip(path)
    with pytest.raises(SystemExit):
        to_bag.main([str(path), "--out", str(tmp_path / "bag")])
    assert f"{path} is not a folder with <frame>_color.png; give a scene" in capsys.readouterr().err


def test_a_stamp_beyond_32_bit_seconds_is_left_out(tmp_path: Path) -> None:
    written = write_bag_with_stamps(tmp_path, {1: -1e12, 3: 1e15})
    assert written.frames == 2
    assert "row 1 is at -1e+12 s, which does not fit into the 32-bit seconds" in written.skipped["00003/0001"]
    assert "row 3 is at 1e+15 s" in written.skipped["00003/0003"]


def test_a_frame_number_beyond_32_bit_seconds_is_left_out(tmp_path: Path) -> None:
    scene = write_clip(tmp_path)
    (scene / "camera_poses.txt").unlink()
    for file in [*scene.glob("0002_*"), *(tmp_path / "gts/val").glob("*_0002.pkl")]:
        file.rename(file.with_name(file.name.replace("0002", "9" * 30)))
    written = write_bag(scene, tmp_path / "bag")
    assert written.frames == FRAMES - 1
    assert "does not fit into the 32-bit seconds" in written.skipped[f"00003/{'9' * 30}"]


@pytest.mark.parametrize("rate", ["0", "nan", "inf", "1e300", "-30"])
def test_an_impossible_rate_is_refused(rate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        to_bag.main([str(tmp_path), "--out", str(tmp_path / "bag"), "--rate", rate])
    assert "it must be between 0.001 and 10000" in capsys.readouterr().err


def test_digits_of_other_scripts_are_no_frame_numbers(tmp_path: Path) -> None:
    scene = write_clip(tmp_path)
    for file in list(scene.glob("0001_*")):
        file.rename(file.with_name(file.name.replace("0001", "\u00b2")))  # a superscript two, which int() refuses
    assert write_bag(scene, tmp_path / "bag").frames == FRAMES - 1


def published_scene(root: Path, height: int, width: int) -> Path:
    """A REAL scene as published: no camera_poses.txt, no intrinsics.txt, labels under gts/real_test."""
    write_tree(root, "real_test", clips=1, frames=3, height=height, width=width)
    scene = root / "real" / "test" / "scene_1"
    scene.parent.mkdir(parents=True)
    (root / "real_test" / "00000").rename(scene)
    (root / "real_test").rmdir()
    for name in ("camera_poses.txt", "intrinsics.txt"):
        (scene / name).unlink()
    for label in (root / "gts" / "real_test").iterdir():
        label.rename(label.with_name(label.name.replace("_00000_", "_scene_1_")))
    return scene


def test_resized_images_of_nocs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = published_scene(tmp_path, 240, 320)
    with pytest.raises(SystemExit):
        to_bag.main([str(scene), "--out", str(tmp_path / "bag")])
    assert "the images are 320x240, and the data set's intrinsics are those of 640x480" in capsys.readouterr().err


def test_a_published_nocs_scene_has_stamps_of_the_frame_rate_and_nocs_intrinsics(tmp_path: Path) -> None:
    scene = published_scene(tmp_path, 480, 640)
    assert write_bag(scene, tmp_path / "bag", rate=20.0).frames == 3
    with Bag(tmp_path / "bag") as bag:
        frames = list(bag.frames())
    assert [f.stamp - EPOCH * 10**9 for f in frames] == [0, 50_000_000, 100_000_000]
    assert frames[0].camera.fx == 591.0125
    assert {o.category for o in frames[0].ground_truth or []} == {"bottle", "laptop", "mug"}
