# SPDX-License-Identifier: Apache-2.0
"""The node over DDS, evaluate_bag and the estimator give the same result for the same JPEG bytes, to 1e-6."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_rig import CAMERA, FRAMES, camera_pose
from ros_rig import DEEP, Client, Process
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage

from seqpose_core import ObjectPose, PoseEstimator
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.estimate import predict_bag
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.from_messages import objects_from_detections
from seqpose_ros.stamps import stamp_nanoseconds
from train.bag_messages import IMAGE_TOPIC, INFO_TOPIC
from train.to_bag import EPOCH

# Random weights give low scores: report everything.
OPTIONS: dict[str, Any] = {"score_threshold": 0.0, "max_objects": 5}
WORLD = "world"


def recorded(bag: Path, topic: str) -> list[bytes]:
    """The serialized messages of a topic."""
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        return [bytes(raw) for _, _, raw in reader.messages(connections)]


def jpegs(bag: Path) -> list[bytes]:
    """The JPEG files inside the image messages."""
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == IMAGE_TOPIC]
        return [reader.deserialize(raw, c.msgtype).data.tobytes() for c, _, raw in reader.messages(connections)]


def run_estimator(bag: Path, weights: Path) -> list[list[ObjectPose]]:
    """Run the estimator without any code of seqpose_ros."""
    estimator = PoseEstimator.from_pretrained(weights, **OPTIONS)
    out = []
    for index, data in enumerate(jpegs(bag)):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        out.append(estimator.step(pixels, CAMERA, EPOCH + 0.1 * index, camera_pose(index)))
    return out


def run_evaluate_bag(bag: Path, weights: Path) -> list[list[ObjectPose]]:
    with Bag(bag) as opened:
        run = predict_bag(PoseEstimator.from_pretrained(weights, **OPTIONS), opened, WORLD)
    return [run.objects[index] for index in range(FRAMES)]


def run_node(client: Client, bag: Path) -> list[list[ObjectPose]]:
    """Publish the recorded bytes to the node, one image at a time, so that no image is dropped."""
    image = client.node.create_publisher(CompressedImage, "image/compressed", 10)
    tf = client.node.create_publisher(TFMessage, "/tf", DEEP)
    client.until(image.get_subscription_count, "the node's subscription to image/compressed")
    client.until(client.info.get_subscription_count, "the node's subscription to camera_info")
    client.until(tf.get_subscription_count, "the node's subscription to /tf")
    client.until(lambda: client.values().get("listeners_detections", "0") != "0", "the node's detections")
    for raw in recorded(bag, "/tf"):
        tf.publish(raw)
    client.info.publish(recorded(bag, INFO_TOPIC)[0])
    client.counts()  # after two diagnostics messages everything has arrived
    out = []
    for index, raw in enumerate(recorded(bag, IMAGE_TOPIC)):
        stamp = EPOCH * 10**9 + index * 10**8
        image.publish(raw)
        client.until(
            lambda stamp=stamp: client.detections and stamp_nanoseconds(client.detections[-1].header.stamp) == stamp,
            f"detections of frame {index}",
        )
        out.append(objects_from_detections(client.detections[-1].detections))
    return out


@pytest.fixture(scope="module")
def client(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**private_ros_environment(), "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        options = {"checkpoint": weights, "image_transport": "compressed", "fixed_frame": WORLD, **OPTIONS}
        given = [f"{name}:={value}" for name, value in options.items()]
        process = Process(tmp_path_factory.mktemp("log") / "node.log", *given)
        made = Client()
        yield made
        made.close()
        assert process.stop() == 0
        assert "Traceback" not in process.log and "without ego-motion" not in process.log


def assert_same(one: list[list[ObjectPose]], other: list[list[ObjectPose]]) -> None:
    assert [[o.category for o in frame] for frame in one] == [[o.category for o in frame] for frame in other]
    assert [[o.track_id for o in frame] for frame in one] == [[o.track_id for o in frame] for frame in other]
    for a, b in zip(chain(*one), chain(*other), strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-6)
        for name in ("rotation", "translation", "size", "covariance"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-6)


def test_node_evaluate_bag_and_estimator_agree_on_the_same_jpeg_bytes(
    client: Client, bag_path: Path, weights: Path
) -> None:
    expected = run_estimator(bag_path, weights)
    assert all(expected) and any(o.track_id is not None for frame in expected for o in frame)
    assert_same(run_evaluate_bag(bag_path, weights), expected)
    assert_same(run_node(client, bag_path), expected)


def test_the_predictions_depend_on_the_camera_motion(bag_path: Path, weights: Path) -> None:
    """Otherwise the agreement above would not show that all three use the camera pose."""
    estimator = PoseEstimator.from_pretrained(weights, **OPTIONS)
    with Bag(bag_path) as opened:
        still = predict_bag(estimator, opened).objects
    moving = run_estimator(bag_path, weights)
    assert any(
        np.abs(a.translation - b.translation).max() > 1e-4
        for index in range(1, FRAMES)
        for a, b in zip(still[index], moving[index], strict=False)
    )
