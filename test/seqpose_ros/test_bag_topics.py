# SPDX-License-Identifier: Apache-2.0
"""Several topics and layouts in one bag: merged channels, repeated ground truths, RGB-D cameras, older vision_msgs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import FRAMES, rewrite
from foreign_bag_rig import READ, assert_complete, content
from mcap_rig import McapFile
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.reader import BagError
from train.bag_messages import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, INFO_TOPIC, typestore


def test_two_channels_with_one_topic_are_read_as_one(bag_path: Path, tmp_path: Path) -> None:
    """As in a bag that was merged from two files."""
    file = McapFile()
    for topic in READ:
        msgtype, definition, messages = content(bag_path)[topic]
        for part in (0, 1):
            channel = file.channel(topic, file.schema(msgtype, definition))
            for time, raw in messages[part::2]:
                file.message(channel, time, raw)
    bag = file.write(tmp_path / "bag.mcap")
    assert_complete(bag)
    with Bag(bag) as opened:
        stamps = [frame.stamp for frame in opened.frames()]
        assert stamps == sorted(stamps)


def test_different_ground_truths_with_one_stamp_are_not_used(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    def stamp_zero(topic: str, number: int, message: Any) -> Any:
        if topic != "/tf":
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        return message

    status, _, report = evaluate(rewrite(bag_path, tmp_path / "bag", stamp_zero))
    assert status == 0 and report["frames_without_ground_truth"] == FRAMES
    reason = report["skipped"]["ground truth of stamp 0.000000000"]
    assert reason == f"{FRAMES} different messages have this stamp, so that none can be assigned to an image"


def test_equal_ground_truths_with_one_stamp_are_used_once(bag_path: Path, tmp_path: Path) -> None:
    file = McapFile()
    for topic, (msgtype, definition, messages) in content(bag_path).items():
        if topic in READ:
            channel = file.channel(topic, file.schema(msgtype, definition))
            for time, raw in messages:
                file.message(channel, time, raw)
                if topic == GROUND_TRUTH_TOPIC:
                    file.message(channel, time, raw)
    with Bag(file.write(tmp_path / "bag.mcap")) as bag:
        assert all(frame.ground_truth for frame in bag.frames()) and not bag.skipped_ground_truths
        assert bag.warnings[0] == "the ground truth of stamp 1700000000.000000000 is recorded 2 times"


def rgbd(bag: Path, out: Path, keep: tuple[str, ...]) -> Path:
    """An RGB-D camera: color and depth images, each with its camera_info; only the topics `keep` are written."""
    stored = content(bag)
    file = McapFile()
    rows = []
    for topic, source in (
        ("/camera/color/image_raw/compressed", IMAGE_TOPIC),
        ("/camera/color/camera_info", INFO_TOPIC),
        ("/camera/depth/image_rect_raw/compressed", IMAGE_TOPIC),
        ("/camera/depth/camera_info", INFO_TOPIC),
    ):
        if topic not in keep:
            continue
        msgtype, definition, messages = stored[source]
        channel = file.channel(topic, file.schema(msgtype, definition))
        for time, raw in messages:
            if topic == "/camera/depth/camera_info":
                info = typestore().deserialize_cdr(raw, msgtype)
                info.k = np.array([70.0, 0, 40, 0, 70, 30, 0, 0, 1])
                raw = bytes(typestore().serialize_cdr(info, msgtype))
            rows.append((time, channel, raw))
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write(out)


COLOR = ("/camera/color/image_raw/compressed", "/camera/color/camera_info")


DEPTH = ("/camera/depth/image_rect_raw/compressed", "/camera/depth/camera_info")


def test_camera_info_comes_from_the_namespace_of_the_images(bag_path: Path, tmp_path: Path) -> None:
    bag = rgbd(bag_path, tmp_path / "bag.mcap", COLOR + DEPTH)
    with pytest.raises(BagError, match=f"{COLOR[0]}, {DEPTH[0]}; name one with --image-topic"):
        Bag(bag)
    for (image, info), focal in ((COLOR, 80.0), (DEPTH, 70.0)):
        with Bag(bag, image_topic=image) as opened:
            assert (opened.camera_info.topic, next(opened.frames()).camera.fx) == (info, focal)


def test_the_camera_info_of_another_image_is_not_used(bag_path: Path, tmp_path: Path) -> None:
    bag = rgbd(bag_path, tmp_path / "bag.mcap", (COLOR[0], *DEPTH))
    with pytest.raises(BagError, match=f"no camera_info for {COLOR[0]}; {DEPTH[1]} belongs to {DEPTH[0]}.*--camera"):
        Bag(bag, image_topic=COLOR[0])
    with Bag(bag, COLOR[0], DEPTH[1]) as opened:
        assert next(opened.frames()).camera.fx == 70.0


FOXY = """std_msgs/Header header
vision_msgs/Detection3D[] detections
================================================================================
MSG: vision_msgs/Detection3D
std_msgs/Header header
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox3D bbox
bool is_tracking
string tracking_id
================================================================================
MSG: vision_msgs/ObjectHypothesisWithPose
string id
float64 score
geometry_msgs/PoseWithCovariance pose
================================================================================
MSG: vision_msgs/BoundingBox3D
geometry_msgs/Pose center
geometry_msgs/Vector3 size
"""


def older_ground_truth(bag: Path, out: Path, definition: str) -> Path:
    """The bag with ground truth in the layout of vision_msgs 2 (Foxy)."""
    types = {**typestore().fielddefs, **get_types_from_msg(definition, "vision_msgs/msg/Detection3DArray")}
    for name in ("ObjectHypothesis", "VisionClass", "LabelInfo"):
        types.pop(f"vision_msgs/msg/{name}")
    old = get_typestore(Stores.EMPTY)
    old.register(types)
    t = old.types
    file, rows = McapFile(), []
    for topic, (msgtype, text, messages) in content(bag).items():
        if topic not in READ:
            continue
        is_ground_truth = topic == GROUND_TRUTH_TOPIC
        channel = file.channel(topic, file.schema(msgtype, definition if is_ground_truth else text))
        for time, raw in messages:
            if is_ground_truth:
                message = typestore().deserialize_cdr(raw, msgtype)
                detections = [
                    t["vision_msgs/msg/Detection3D"](
                        header=d.header,
                        results=[
                            t["vision_msgs/msg/ObjectHypothesisWithPose"](
                                id=r.hypothesis.class_id, score=r.hypothesis.score, pose=r.pose
                            )
                            for r in d.results
                        ],
                        bbox=d.bbox,
                        is_tracking=True,
                        tracking_id=d.id,
                    )
                    for d in message.detections
                ]
                array = t["vision_msgs/msg/Detection3DArray"](header=message.header, detections=detections)
                raw = bytes(old.serialize_cdr(array, msgtype))
            rows.append((time, channel, raw))
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write(out)


def test_ground_truth_in_the_layout_of_foxy_is_converted(bag_path: Path, tmp_path: Path) -> None:
    bag = older_ground_truth(bag_path, tmp_path / "bag.mcap", FOXY)
    with Bag(bag) as opened, Bag(bag_path) as original:
        for frame, expected in zip(opened.frames(), original.frames(), strict=True):
            ((mug,), (same,)) = frame.ground_truth or [], expected.ground_truth or []
            assert (mug.category, mug.track_id, mug.score) == ("mug", 1, 1.0)
            np.testing.assert_array_equal(mug.transform, same.transform)


def test_ground_truth_without_a_category_is_reported(bag_path: Path, tmp_path: Path) -> None:
    class_less = McapFile()
    for topic, (msgtype, definition, messages) in content(bag_path).items():
        if topic in READ:
            text = definition.replace("string class_id", "string label")
            channel = class_less.channel(topic, class_less.schema(msgtype, text))
            for time, raw in messages:
                class_less.message(channel, time, raw)
    with Bag(class_less.write(tmp_path / "other.mcap")) as bag:
        assert [frame.ground_truth for frame in bag.frames()] == [[]] * FRAMES
        assert len(bag.skipped_ground_truths) == FRAMES
        assert all("has no class_id or id" in reason for reason in bag.skipped_ground_truths.values())
