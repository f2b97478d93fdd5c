# SPDX-License-Identifier: Apache-2.0
"""The node gives the support plane and depth images to the estimator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from ros_rig import CAMERA, STAMP, TIMEOUT, Client, FakeEstimator, InProcess, header, mug, picture
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from seqpose_ros.depth import DepthInput, decode_depth
from seqpose_ros.errors import InputError
from seqpose_ros.msg import ObjectPoseArray

Start = Callable[..., InProcess]
SIZE = (CAMERA.height, CAMERA.width)


def camera_above_table(stamp: float) -> TFMessage:
    """The camera is 0.9 m above the origin of the table frame and looks straight down: z of the camera is -z."""
    transform = TransformStamped(header=header(stamp, "table"), child_frame_id="camera")
    transform.transform.translation.z = 0.9
    transform.transform.rotation.x, transform.transform.rotation.w = 1.0, 0.0
    return TFMessage(transforms=[transform])


def depth_message(depth: np.ndarray, encoding: str, stamp: float = STAMP) -> Image:
    height, width = depth.shape
    step = depth.strides[0]
    return Image(header=header(stamp), height=height, width=width, encoding=encoding, step=step, data=depth.tobytes())


def test_the_plane_is_that_of_the_support_frame_at_the_time_of_the_image(client: Client, start: Start) -> None:
    estimator = FakeEstimator([replace(mug(), on_support=True), replace(mug(8), on_support=False)])
    start(
        estimator,
        support_frame="table",
        support_height=0.1,
        support_height_noise=0.02,
        support_tilt_noise=2.0,
        tf_timeout=2.0,
    )
    objects = client.listen(ObjectPoseArray, "/seqpose_node/objects")
    broadcaster = client.tf_publisher()
    client.connect()
    for stamp in (STAMP - 0.1, STAMP + 0.1):
        broadcaster.publish(camera_above_table(stamp))
    client.send_first(picture(), STAMP)
    plane = estimator.steps[-1]["support_plane"]
    np.testing.assert_allclose(plane.normal, [0.0, 0.0, -1.0], atol=1e-12)
    assert plane.offset == pytest.approx(0.8)  # 0.9 m above the frame, whose plane is at 0.1 m
    assert (plane.height_noise, plane.tilt_noise) == pytest.approx((0.02, np.radians(2)))
    client.until(lambda: client.values().get("objects_on_support") == "1 of 2", "the number of objects on the plane")
    assert client.values()["support_plane"] == "given"
    client.until(lambda: objects, "the objects")
    assert [(o.track_id, o.on_support) for o in objects[-1].objects] == [(7, True), (8, False)]


def test_without_the_support_frame_it_continues_without_plane_and_warns(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, support_frame="table")
    client.connect()
    client.send_first(picture(), STAMP)
    assert estimator.steps[-1]["support_plane"] is None
    client.until(lambda: client.values().get("support_plane") == "missing", "the value")
    client.until(lambda: "without the support plane" in client.diagnostics[-1].status[0].message, "the warning")


def test_a_depth_image_with_the_stamp_of_the_image_is_used(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, use_depth=True, tf_timeout=2.0)
    publisher = client.node.create_publisher(Image, "depth", 10)
    client.until(lambda: publisher.get_subscription_count() >= 1, "the subscription to depth")
    client.connect()
    millimetres = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
    publisher.publish(depth_message(millimetres + np.uint16(5), "16UC1", STAMP - 0.1))
    publisher.publish(depth_message(millimetres, "16UC1", STAMP + 0.005))
    client.send_first(picture(), STAMP)
    np.testing.assert_allclose(estimator.steps[-1]["depth"], millimetres / 1000, atol=1e-6)


def test_without_a_depth_image_it_continues_and_warns(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, use_depth=True)
    client.connect()
    client.send_first(picture(), STAMP)
    assert estimator.steps[-1]["depth"] is None
    client.until(lambda: "no depth image on /depth" in client.diagnostics[-1].status[0].message, "the warning")


def test_a_depth_image_is_not_waited_for_once_a_later_one_has_arrived(client: Client) -> None:
    """Depth at half the rate of the images would otherwise delay every second image by the timeout."""
    depth = DepthInput(client.node)
    for stamp in (STAMP - 0.033, STAMP + 0.033):
        depth._on_depth(depth_message(np.ones((48, 64), np.float32), "32FC1", stamp))
    with pytest.raises(InputError, match="no depth image on /depth within 20 ms"):
        depth.at(header(STAMP).stamp, CAMERA, timeout=np.inf)  # waiting raises OverflowError
    depth.close()


def test_a_depth_image_is_waited_for_after_the_stamps_jumped_back(client: Client) -> None:
    depth, image = DepthInput(client.node), np.full((48, 64), 0.5, np.float32)
    depth._on_depth(depth_message(image, "32FC1", STAMP + 60.0))  # of the end of the recording
    timer = threading.Timer(0.2, lambda: depth._on_depth(depth_message(image, "32FC1", STAMP)))
    timer.start()
    np.testing.assert_array_equal(depth.at(header(STAMP).stamp, CAMERA, timeout=TIMEOUT), image)
    depth.close()


def test_plane_and_depth_are_not_given_by_default(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    client.send_first(picture(), STAMP)
    assert (estimator.steps[-1]["support_plane"], estimator.steps[-1]["depth"]) == (None, None)
    assert not client.node.get_subscriptions_info_by_topic("/depth")


@pytest.mark.parametrize(("encoding", "kind", "unit"), [("16UC1", "u2", 1e-3), ("32FC1", "f4", 1.0)])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 4])
def test_depth_is_decoded_to_metres(encoding: str, kind: str, unit: float, big_endian: bool, padding: int) -> None:
    values = np.array([[0, 700, 1500], [65000, 1, 2]])
    samples = values.astype((">" if big_endian else "<") + kind)
    rows = np.concatenate([samples.view(np.uint8), np.full((2, padding), 255, np.uint8)], axis=1)
    message = Image(height=2, width=3, encoding=encoding, is_bigendian=int(big_endian), step=rows.shape[1])
    message.data = rows.tobytes()
    np.testing.assert_allclose(decode_depth(message), values * unit, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"encoding": "rgb8"}, "16UC1"),
        ({"encoding": "16UC1", "step": 5}, "step 5"),
        ({"encoding": "32FC1", "step": 12, "height": 3}, "has 24 bytes"),
        ({"encoding": "16UC1", "width": 0, "step": 0}, "0x2"),
    ],
)
def test_depth_that_cannot_be_used_is_refused(fields: dict[str, object], reason: str) -> None:
    values: dict[str, object] = {"height": 2, "width": 3, "step": 6, "data": bytes(24), **fields}
    with pytest.raises(InputError, match=reason):
        decode_depth(Image(**values))
