# SPDX-License-Identifier: Apache-2.0
"""Why no images arrive: publishers of another type, transport, QoS or size; and two nodes of one name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_rig import CAMERA, Client, FakeEstimator, InProcess, info_message, picture
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from seqpose_core import Camera

Start = Callable[..., InProcess]


def wait_for_report(client: Client, *texts: str) -> DiagnosticStatus:
    def is_reported() -> bool:
        return bool(client.diagnostics) and all(t in client.diagnostics[-1].status[0].message for t in texts)

    client.until(is_reported, " and ".join(texts))
    return client.diagnostics[-1].status[0]


def test_missing_images_are_stale_until_the_first_image(client: Client, start: Start) -> None:
    start(FakeEstimator())
    assert wait_for_report(client, "waiting for /image (1 publishers)").level == DiagnosticStatus.STALE
    client.connect()
    client.send_first(picture(), 1.0)
    client.until(lambda: "waiting for" not in client.diagnostics[-1].status[0].message, "the end of the report")


@pytest.mark.parametrize(
    ("transport", "kind", "topic", "hint"),
    [
        ("raw", CompressedImage, "image", "has the type sensor_msgs/msg/CompressedImage instead of sensor_msgs"),
        ("raw", CompressedImage, "image", "/image has compressed images: set image_transport to compressed"),
        ("raw", CompressedImage, "image/compressed", "/image/compressed has compressed images: set image_transport to"),
        ("compressed", Image, "image", "/image has raw images: set image_transport to raw"),
    ],
)
def test_the_other_transport_is_named_with_the_parameter_to_change(
    transport: str, kind: type, topic: str, hint: str, client: Client, start: Start
) -> None:
    client.node.destroy_publisher(client.image)
    client.image = client.node.create_publisher(kind, topic, 10)
    start(FakeEstimator(), image_transport=transport)
    wait_for_report(client, hint)


def test_a_camera_info_topic_of_another_type_is_named(client: Client, start: Start) -> None:
    client.node.destroy_publisher(client.info)
    client.info = client.node.create_publisher(Image, "camera_info", 10)
    start(FakeEstimator())
    wait_for_report(client, "/camera_info (1 publishers), which has the type sensor_msgs/msg/Image instead of")


def test_an_incompatible_qos_is_reported_as_long_as_it_lasts(client: Client, start: Start) -> None:
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    client.node.destroy_publisher(client.image)
    client.image = client.node.create_publisher(Image, "image", best_effort)
    start(FakeEstimator(), **{"qos_overrides./image.subscription.reliability": "reliable"})
    text = "/image (1 publishers), whose QoS is incompatible ("
    wait_for_report(client, text)
    client.diagnostics.clear()
    client.until(lambda: len(client.diagnostics) >= 5, "5 s")
    wait_for_report(client, text)


def test_an_overridden_qos_does_not_change_other_subscriptions(client: Client, start: Start) -> None:
    node = start(FakeEstimator(), **{"qos_overrides./image.subscription.reliability": "reliable"}).node
    node.trigger_deactivate()
    node.trigger_activate()

    def reliabilities(topic: str) -> list[ReliabilityPolicy]:
        return [info.qos_profile.reliability for info in node.get_subscriptions_info_by_topic(topic)]

    client.until(lambda: len(reliabilities("/camera_info")) == 2, "both subscriptions")  # one for latched messages
    assert set(reliabilities("/camera_info")) == {ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE}
    assert reliabilities("/image") == [ReliabilityPolicy.RELIABLE]


def test_images_that_exceed_the_segment_of_dds_are_explained_by_their_size(client: Client, start: Start) -> None:
    # An image of 4K needs 3840 * 2160 * 3 = 24.9 MB. Nothing arrives: the publisher exists and publishes nothing.
    start(FakeEstimator())
    camera = Camera(3000.0, 3000.0, 1919.5, 1079.5, 3840, 2160)

    def is_reported() -> bool:
        client.info.publish(info_message(camera))
        return bool(client.diagnostics) and "24.9 MB for 3840x2160" in client.diagnostics[-1].status[0].message

    client.until(is_reported, "the size")
    assert "shared-memory segment of DDS" in client.diagnostics[-1].status[0].message


def test_a_second_node_of_the_same_name_is_an_error_while_it_exists(client: Client, start: Start) -> None:
    start(FakeEstimator())
    other = Node("seqpose_node", context=client.context)
    status = wait_for_report(client, "2 nodes have the name /seqpose_node")
    assert status.level == DiagnosticStatus.ERROR
    other.destroy_node()
    client.until(lambda: "2 nodes" not in client.diagnostics[-1].status[0].message, "the end of the report")


def test_an_invalid_camera_info_is_reported_until_a_valid_one_arrives(client: Client, start: Start) -> None:
    start(FakeEstimator())
    client.connect()
    uncalibrated = CameraInfo(header=info_message(CAMERA).header, width=64, height=48, k=np.zeros(9))
    client.info.publish(uncalibrated)
    wait_for_report(client, "camera_info cannot be used")
    client.diagnostics.clear()
    client.until(lambda: len(client.diagnostics) >= 5, "5 s")
    wait_for_report(client, "camera_info cannot be used")
    client.send_info()
    client.until(lambda: "cannot be used" not in client.diagnostics[-1].status[0].message, "the end of the report")
