# SPDX-License-Identifier: Apache-2.0
"""The inputs of the node over DDS, with a fake estimator that records them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_rig import CAMERA, STAMP, Client, FakeEstimator, InProcess, header, info_message, picture
from sensor_msgs.msg import CompressedImage, Image

from seqpose_ros.images import image_fields

Start = Callable[..., InProcess]


def test_the_estimator_gets_the_image_the_camera_and_the_stamp(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    assert client.send_first(picture(), STAMP).detections == []  # an empty array is published if there is no detection
    step = estimator.steps[-1]
    np.testing.assert_array_equal(step["image"], picture())
    assert step["camera"] == CAMERA
    assert step["stamp"] == pytest.approx(STAMP, abs=1e-9)
    assert step["camera_pose"] is None


def test_compressed_images_are_received_on_the_topic_of_the_transport(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, image_transport="compressed")
    compressed = client.node.create_publisher(CompressedImage, "image/compressed", 10)
    data = cv2.imencode(".png", picture()[..., ::-1])[1].tobytes()
    client.until(lambda: compressed.get_subscription_count(), "the node")

    def done() -> bool:
        client.send_info()
        compressed.publish(CompressedImage(header=header(STAMP), format="rgb8; png compressed bgr8", data=data))
        return bool(estimator.steps)

    client.until(done, "a step")
    np.testing.assert_array_equal(estimator.steps[-1]["image"], picture())


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE])
def test_images_of_best_effort_and_reliable_publishers_are_received(
    client: Client, start: Start, reliability: ReliabilityPolicy
) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.image = client.node.create_publisher(Image, "image", QoSProfile(depth=1, reliability=reliability))
    client.connect()
    client.send_first(picture(), STAMP)
    assert estimator.steps


def test_only_the_newest_image_is_kept_while_the_estimator_is_busy(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    client.send_first(picture(), STAMP)
    before, counted = len(estimator.steps), client.counts()
    estimator.free.clear()
    client.send_image(picture(), STAMP + 1)
    client.until(lambda: len(estimator.steps) == before + 1, "the step to start")
    for index in range(2, 5):
        client.send_image(picture(), STAMP + index)
        arrived = str(counted["images_received"] + index)
        client.until(lambda arrived=arrived: client.values()["images_received"] == arrived, "the image to arrive")
    estimator.free.set()
    client.until(lambda: client.detections[-1].header == header(STAMP + 4), "the newest image")
    assert [round(step["stamp"] - STAMP) for step in estimator.steps[before:]] == [1, 4]
    assert client.counts()["images_dropped"] == counted["images_dropped"] + 2


def test_a_failed_step_is_reported_and_the_next_image_is_processed(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    client.send_first(picture(), STAMP)
    estimator.fault = RuntimeError("out of memory")
    client.send_image(picture(), STAMP + 0.1)
    client.until(lambda: "out of memory" in client.diagnostics[-1].status[0].message, "the warning")
    estimator.fault = None
    client.send(picture(), STAMP + 0.2)


def test_an_error_after_a_warning_is_logged_and_the_next_image_is_processed(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    client.send_first(picture(), 0.0)
    client.until(lambda: "stamp 0" in client.diagnostics[-1].status[0].message, "the warning")
    estimator.fault = RuntimeError("out of memory")
    client.send_image(picture(), STAMP)
    client.until(lambda: client.diagnostics[-1].status[0].level == DiagnosticStatus.ERROR, "the error")
    estimator.fault = None
    client.send(picture(), STAMP + 0.1)


def test_the_distortion_is_ignored_for_rectified_images(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, rectified=True)
    message = info_message(CAMERA)
    message.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    client.until(lambda: client.info.get_subscription_count(), "the node")

    def done() -> bool:
        client.info.publish(message)
        client.send_image(picture(), STAMP)
        return bool(estimator.steps)

    client.until(done, "a step")
    assert estimator.steps[-1]["camera"].distortion is None


def test_missing_images_are_reported_with_their_topics(client: Client, start: Start) -> None:
    start(FakeEstimator())
    client.until(lambda: client.diagnostics and "waiting" in client.diagnostics[-1].status[0].message, "the report")
    message = client.diagnostics[-1].status[0].message
    assert "/image (1 publishers)" in message
    assert "/camera_info (1 publishers)" in message


@pytest.mark.parametrize(
    ("stamp", "image_frame", "info_frame", "text"),
    [
        (STAMP, "/camera", "camera", "the frame_id '/camera' has a leading slash"),
        (0.0, "camera", "camera", "images have the stamp 0"),
        (STAMP, "camera", "other", "camera_info is in frame 'other' but the image is in 'camera'"),
    ],
)
def test_unusual_headers_are_reported_and_the_image_is_processed(
    stamp: float, image_frame: str, info_frame: str, text: str, client: Client, start: Start
) -> None:
    start(FakeEstimator())
    client.connect()
    info = info_message(CAMERA)
    info.header.frame_id = info_frame
    image = Image(header=header(stamp, image_frame), **image_fields(picture()))

    def is_reported() -> bool:
        client.info.publish(info)
        client.image.publish(image)
        return bool(client.detections) and text in client.diagnostics[-1].status[0].message

    client.until(is_reported, "the warning")
    assert client.diagnostics[-1].status[0].level == DiagnosticStatus.WARN
    assert client.detections[-1].header == header(stamp, "camera")
