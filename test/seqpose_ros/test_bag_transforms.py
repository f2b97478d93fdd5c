# SPDX-License-Identifier: Apache-2.0
"""Which transforms of a bag belong to the images if several robots were recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from seqpose_core import Camera
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.estimate import camera_poses
from train.bag_messages import MessageBuilder, typestore

CAMERA = Camera(80.0, 80.0, 31.5, 23.5, 64, 48)
SECOND = 10**9


def write_robots(path: Path, images: str, transforms: dict[str, float]) -> Path:
    """One image on the topic ``images`` in namespace /robot1/camera, and on each tf topic a camera at x metres."""
    store = typestore()
    builder = MessageBuilder(store, 90)
    picture = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    messages: dict[str, Any] = {}
    for topic, x in transforms.items():
        pose = np.eye(4)
        pose[0, 3] = x
        messages[topic] = builder.transform(pose, SECOND)
    messages[images.rpartition("/")[0] + "/camera_info"] = builder.camera_info(CAMERA, SECOND)
    messages[images] = builder.image(picture, SECOND)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for offset, (topic, message) in enumerate(messages.items()):
            kind = message.__msgtype__
            connection = writer.add_connection(topic, kind, typestore=store)
            writer.write(connection, SECOND + offset, store.serialize_cdr(message, kind))
    return path


IMAGES = "/robot1/camera/jpeg"


@pytest.mark.parametrize(
    ("images", "transforms", "expected"),
    [
        (IMAGES, {"/robot1/tf": 1.0, "/robot2/tf": 2.0}, 1.0),
        (IMAGES, {"/robot1/tf": 1.0, "/tf": 2.0}, 1.0),
        (IMAGES, {"/robot10/tf": 2.0, "/tf": 1.0}, 1.0),
        (IMAGES, {"/robot1/base/tf": 1.0, "/robot2/base/tf": 2.0}, 1.0),
        (IMAGES, {"/robot1/tf_static": 1.0, "/robot2/tf_static": 2.0, "/robot2/tf": 3.0, "/tf": 1.0}, 1.0),
        ("/camera/jpeg", {"/robot1/tf": 2.0, "/tf": 1.0}, 1.0),
        ("/camera/jpeg", {"/robot1/tf": 1.0}, 1.0),
        ("/camera/jpeg", {"/robot1/tf": 1.0, "/robot2/tf": 2.0}, None),
        ("/camera/jpeg", {"/recorded_transforms": 1.0}, 1.0),
    ],
)
def test_the_camera_pose_is_that_of_the_tf_topic_nearest_to_the_images(
    images: str, transforms: dict[str, float], expected: float | None, tmp_path: Path
) -> None:
    with Bag(write_robots(tmp_path / "bag", images, transforms)) as bag:
        (frame,) = bag.frames()
        pose = camera_poses(bag, "world")(frame)
        assert (None if pose is None else pose[0, 3]) == expected


def test_the_used_and_the_ignored_tf_topics_are_named(tmp_path: Path) -> None:
    with Bag(write_robots(tmp_path / "bag", IMAGES, {"/robot1/tf": 1.0, "/robot2/tf": 2.0})) as bag:
        camera_poses(bag, "world")
        (text,) = bag.warnings
    assert text == f"transforms are read from /robot1/tf, next to {IMAGES}; not from /robot2/tf"
    with Bag(write_robots(tmp_path / "other", "/camera/jpeg", {"/robot1/tf": 1.0, "/robot2/tf": 2.0})) as bag:
        camera_poses(bag, "world")
        (text,) = bag.warnings
    assert text == "transforms are read from no topic, next to /camera/jpeg; not from /robot1/tf, /robot2/tf"
