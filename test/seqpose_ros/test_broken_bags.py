# SPDX-License-Identifier: Apache-2.0
"""Damaged and incomplete bags: usable messages are used, the others are reported, and there is never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import FRAMES, cut, rewrite, storage_file
from rosbags.rosbag2 import StoragePlugin, Writer

from seqpose_ros.bags import player
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.reader import BagReader
from train.bag_messages import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, INFO_TOPIC, typestore

# Unusable bags: exit status 1 and one line that names the bag.


def text_file(bag: Path, out: Path) -> Path:
    out.write_text("no bag")
    return out


def empty_folder(bag: Path, out: Path) -> Path:
    out.mkdir()
    return out


def empty_bag(bag: Path, out: Path) -> Path:
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP):
        pass
    return out


def topics_without_messages(bag: Path, out: Path) -> Path:
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=typestore())
        writer.add_connection("/info", "sensor_msgs/msg/CameraInfo", typestore=typestore())
    return out


def without(topic: str) -> Callable[[Path, Path], Path]:
    return lambda bag, out: rewrite(bag, out, lambda t, number, message: None if t == topic else message)


def wrong_size(bag: Path, out: Path) -> Path:
    def shrink(topic: str, number: int, message: Any) -> Any:
        if topic == INFO_TOPIC:
            message.width, message.height = 32, 24
        return message

    return rewrite(bag, out, shrink)


def uncalibrated(bag: Path, out: Path) -> Path:
    def clear(topic: str, number: int, message: Any) -> Any:
        if topic == INFO_TOPIC:
            message.k = np.zeros(9)
        return message

    return rewrite(bag, out, clear)


def truncated_database(bag: Path, out: Path) -> Path:
    cut(storage_file(rewrite(bag, out, storage=StoragePlugin.SQLITE3)), 0.5)
    return out


def truncated_at_start(bag: Path, out: Path) -> Path:
    cut(storage_file(rewrite(bag, out)), 0.005)
    return out


def ground_truth_of_another_type(bag: Path, out: Path) -> Path:
    # Rename /tf to the ground-truth topic.
    with BagReader(bag) as reader, Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for c in reader.connections:
            topic = {GROUND_TRUTH_TOPIC: "/other", "/tf": GROUND_TRUTH_TOPIC}.get(c.topic, c.topic)
            to = writer.add_connection(topic, c.msgtype, typestore=typestore())
            for _, time, raw in reader.messages([c]):
                writer.write(to, time, raw)
    return out


UNUSABLE: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "missing": (lambda bag, out: out, "there is no bag {out}"),
    "text file": (text_file, "{out} cannot be read as a bag: "),
    "ROS 1 bag": (lambda bag, out: text_file(bag, out.with_suffix(".bag")), "{out}.bag is a ROS 1 bag; make a ROS 2"),
    "empty folder": (empty_folder, "{out} is not a bag: it has no metadata.yaml"),
    "empty bag": (empty_bag, "the image topics of {out} are: none; one of type sensor_msgs/msg/Image or"),
    "topics without messages": (topics_without_messages, "{out} has no message on /image"),
    "no images": (without(IMAGE_TOPIC), "the image topics of {out} are: none"),
    "no camera_info": (without(INFO_TOPIC), "the camera_info topics of {out} are: none"),
    "wrong size": (wrong_size, "frame 0 (stamp 1700000000.000000000): camera_info is 32x24 but the image is 96x72"),
    "uncalibrated": (uncalibrated, "no image of {out} can be used; frame 0 (stamp 1700000000.000000000): camera_info"),
    "truncated sqlite3": (truncated_database, "{out}/made.db3 is truncated: "),
    "truncated before the first message": (
        truncated_at_start,
        "the image topics of {out} are: none; one of type sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage is "
        "needed; {out}/made.mcap is truncated",
    ),
    "ground truth of another type": (
        ground_truth_of_another_type,
        "ground truth must be vision_msgs/msg/Detection3DArray",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_the_error_names_an_unusable_bag(
    case: str, bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    make, message = UNUSABLE[case]
    bag = make(bag_path, tmp_path / "made")
    status, stderr, _ = evaluate(bag)
    assert status == 1
    (line,) = stderr.strip().splitlines()
    assert line.startswith("evaluate_bag: ")
    assert message.format(out=tmp_path / "made") in line


# Partly usable bags.


def test_an_undecodable_image_is_skipped_and_reported(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    def damage(topic: str, number: int, message: Any) -> Any:
        if topic == IMAGE_TOPIC and number == 1:
            message.data = np.frombuffer(b"\xff\xd8\xff damaged", np.uint8)
        return message

    status, _, report = evaluate(rewrite(bag_path, tmp_path / "bag", damage))
    assert (status, report["frames_processed"], report["frames_skipped"]) == (0, FRAMES - 1, 1)
    ((frame, reason),) = report["skipped"].items()
    assert frame == "frame 1 (stamp 1700000000.100000000)"
    assert "11 bytes with format 'rgb8; jpeg compressed bgr8' could not be decoded" in reason
    assert report["objects_true"] == FRAMES - 1


def test_undeserializable_messages_are_skipped_and_reported(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    damage = {(IMAGE_TOPIC, 2), (INFO_TOPIC, 0), (GROUND_TRUTH_TOPIC, 3)}
    bag = rewrite(bag_path, tmp_path / "bag", lambda t, n, m: b"\x00\x01\x00\x00?" if (t, n) in damage else m)
    status, _, report = evaluate(bag)
    assert (status, report["frames_processed"]) == (0, 3)
    assert (report["frames_skipped"], report["ground_truths_skipped"]) == (1, 1)
    assert "5 bytes are not a sensor_msgs/msg/CompressedImage" in report["skipped"]["frame 2"]
    assert "ground truth recorded at 1700000000.300003000" in report["skipped"]
    assert report["frames_without_ground_truth"] == 1


def change_ground_truth(bag: Path, out: Path, edit: Callable[[Any], None]) -> Path:
    """Edit the ground truth of the third frame."""

    def change(topic: str, number: int, message: Any) -> Any:
        if topic == GROUND_TRUTH_TOPIC and number == 2:
            edit(message)
        return message

    return rewrite(bag, out, change)


def unknown_class(message: Any) -> None:
    message.detections[0].results[0].hypothesis.class_id = "chair"


def nan_pose(message: Any) -> None:
    message.detections[0].results[0].pose.pose.position.x = float("nan")


def nan_rotation(message: Any) -> None:
    message.detections[0].results[0].pose.pose.orientation.w = float("nan")


def flat(message: Any) -> None:
    message.detections[0].bbox.size.y = 0.0


def nameless(message: Any) -> None:
    message.detections[0].results = []


def elsewhere(message: Any) -> None:
    message.header.frame_id = "world"


@pytest.mark.parametrize(
    ("edit", "row", "reason"),
    [
        (unknown_class, " 0", "unknown category 'chair'; known are bottle"),
        (nan_pose, " 0", "position [nan"),
        (nan_rotation, " 0", "of a mug is not finite"),
        (flat, " 0", "of a mug is not positive"),
        (nameless, " 0", "has no hypothesis"),
        (elsewhere, "", "it is in frame 'world' but the image is in 'camera_optical_frame'"),
    ],
)
def test_invalid_ground_truth_is_skipped_and_reported(
    edit: Callable[[Any], None], row: str, reason: str, bag_path: Path, tmp_path: Path
) -> None:
    with Bag(change_ground_truth(bag_path, tmp_path / "bag", edit)) as bag:
        ground_truths = [frame.ground_truth for frame in bag.frames()]
        ((name, text),) = bag.skipped_ground_truths.items()
    assert [len(t or []) for t in ground_truths] == [1, 1, 0, 1]
    assert name == f"ground truth{row} of stamp 1700000000.200000000"
    assert reason in text


def test_invalid_ground_truth_is_counted_in_the_report(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    status, _, report = evaluate(change_ground_truth(bag_path, tmp_path / "bag", nan_pose))
    assert (status, report["ground_truths_skipped"], report["objects_true"]) == (0, 1, FRAMES - 1)


def test_the_player_names_an_unreadable_bag(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert player.main([str(text_file(tmp_path, tmp_path / "notes.txt"))]) == 1
    assert "notes.txt cannot be read as a bag" in capfd.readouterr().err
