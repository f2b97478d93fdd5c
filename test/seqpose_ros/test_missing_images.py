# SPDX-License-Identifier: Apache-2.0
"""Why no images arrive: publishers of another type, transport, QoS or size; and two nodes of one name."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_rig import CAMERA, Client, FakeEstimator, InProcess, header, info_message, picture
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from seqpose_core import Camera
from seqpose_ros import node, problems
from seqpose_ros.images import image_fields

Start = Callable[..., InProcess]


@pytest.fixture
def short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are missing after 0.2 s, and problems that do not last end after 0.3 s."""
    monkeypatch.setattr(node, "NO_IMAGE_TIMEOUT", 0.2)
    monkeypatch.setattr(problems, "PROBLEM_LIFETIME", 0.3)


def wait_beyond_the_lifetime(client: Client) -> None:
    """Receive diagnostics for 1 s, then forget them."""
    end = time.monotonic() + 1.0
    client.until(lambda: time.monotonic() > end, "1 s")
    client.diagnostics.clear()


def wait_for_report(client: Client, *texts: str) -> DiagnosticStatus:
    def is_reported() -> bool:
        return bool(client.diagnostics) and all(t in client.diagnostics[-1].status[0].message for t in texts)

    client.until(is_reported, " and ".join(texts))
    return client.diagnostics[-1].status[0]


def test_missing_images_are_stale_after_2_s_until_the_first_image(client: Client, start: Start) -> None:
    begin = time.monotonic()
    start(FakeEstimator())
    assert wait_for_report(client, "waiting for /image (1 publishers)").level == DiagnosticStatus.STALE
    assert time.monotonic() - begin >= 2.0
    client.connect()
    client.send_first(picture(), 1.0)
    client.until(lambda: "waiting for" not in client.diagnostics[-1].status[0].message, "the end of the report")


@pytest.mark.usefixtures("short_periods")
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


@pytest.mark.usefixtures("short_periods")
def test_a_camera_info_topic_of_another_type_is_named(client: Client, start: Start) -> None:
    client.node.destroy_publisher(client.info)
    client.info = client.node.create_publisher(Image, "camera_info", 10)
    start(FakeEstimator())
    wait_for_report(client, "/camera_info (1 publishers), which has the type sensor_msgs/msg/Image instead of")


@pytest.mark.usefixtures("short_periods")
def test_an_incompatible_qos_is_reported_as_long_as_it_lasts(client: Client, start: Start) -> None:
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    client.node.destroy_publisher(client.image)
    client.image = client.node.create_publisher(Image, "image", best_effort)
    start(FakeEstimator(), **{"qos_overrides./image.subscription.reliability": "reliable"})
    text = "/image (1 publishers), whose QoS is incompatible ("
    wait_for_report(client, text)
    wait_beyond_the_lifetime(client)
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


@pytest.mark.usefixtures("short_periods")
def test_images_that_exceed_the_segment_of_dds_are_explained_by_their_size(client: Client, start: Start) -> None:
    # An image of 4K needs 3840 * 2160 * 3 = 24.9 MB. Nothing arrives: the publisher exists and publishes nothing.
    start(FakeEstimator())
    camera = Camera(3000.0, 3000.0, 1919.5, 1079.5, 3840, 2160)

    def is_reported() -> bool:
        client.info.publish(info_message(camera))
        return bool(client.diagnostics) and "24.9 MB for 3840x2160" in client.diagnostics[-1].status[0].message

    client.until(is_reported, "the size")
    assert "shared-memory segment of DDS" in client.diagnostics[-1].status[0].message


def test_the_reports_can_be_made_after_the_subscriptions_have_ended(client: Client, start: Start) -> None:
    """As if the node is deactivated while it makes its diagnostics, in another thread."""
    rig = start(FakeEstimator())
    inputs = rig.node._stream.inputs
    expected = "waiting for /image (1 publishers) and /camera_info (1 publishers)"
    client.until(lambda: expected in inputs.explain_missing_messages(), "the discovery of the publishers")
    rig.node.trigger_deactivate()
    assert expected in inputs.explain_missing_messages()
    assert inputs.explain_shared_topics() == ""


def test_a_second_node_of_the_same_name_is_an_error_while_it_exists(client: Client, start: Start) -> None:
    start(FakeEstimator())
    other = Node("seqpose_node", context=client.context)
    status = wait_for_report(client, "2 nodes have the name /seqpose_node")
    assert status.level == DiagnosticStatus.ERROR
    other.destroy_node()
    client.until(lambda: "2 nodes" not in client.diagnostics[-1].status[0].message, "the end of the report")


def test_several_publishers_of_a_topic_are_reported_as_long_as_they_exist(client: Client, start: Start) -> None:
    """Two cameras of different sizes on one topic: images of the second are refused, and the reason is given."""
    start(FakeEstimator())
    client.connect()
    other = client.node.create_publisher(Image, "image", 10)
    status = wait_for_report(client, "/image has 2 publishers, whose messages are mixed; remap all but one")
    assert status.level == DiagnosticStatus.WARN
    client.send_first(picture(), 1.0)
    small = picture(camera=Camera(90.0, 90.0, 15.5, 11.5, 32, 24))
    other.publish(Image(header=header(1.1), **image_fields(small)))
    wait_for_report(client, "camera_info is 64x48 but the image is 32x24", "/image has 2 publishers")
    client.send(picture(), 1.2)
    client.node.destroy_publisher(other)
    client.until(lambda: "2 publishers" not in client.diagnostics[-1].status[0].message, "the end of the report")


@pytest.mark.usefixtures("short_periods")
def test_an_invalid_camera_info_is_reported_until_a_valid_one_arrives(client: Client, start: Start) -> None:
    start(FakeEstimator())
    client.connect()
    uncalibrated = CameraInfo(header=info_message(CAMERA).header, width=64, height=48, k=np.zeros(9))
    client.info.publish(uncalibrated)
    wait_for_report(client, "camera_info cannot be used")
    wait_beyond_the_lifetime(client)
    wait_for_report(client, "camera_info cannot be used")
    client.send_info()
    client.until(lambda: "cannot be used" not in client.diagnostics[-1].status[0].message, "the end of the report")
