# SPDX-License-Identifier: Apache-2.0
"""The outputs of the node over DDS, with a fake estimator, and the use of tf."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_rig import CAMERA, STAMP, Client, FakeEstimator, InProcess, header, info_message, mug, picture
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import LabelInfo
from visualization_msgs.msg import Marker, MarkerArray

from seqpose_ros import publishers
from seqpose_ros.images import image_fields
from seqpose_ros.msg import ObjectPoseArray
from seqpose_ros.node import camera_node

Start = Callable[..., InProcess]


def test_every_output_has_the_object_with_the_stamp_and_frame_of_the_image(client: Client, start: Start) -> None:
    start(FakeEstimator([mug(), mug(None)]))
    objects = client.listen(ObjectPoseArray, "/seqpose_node/objects")
    markers = client.listen(MarkerArray, "/seqpose_node/markers")
    transforms = client.listen(TFMessage, "/tf")
    client.connect()
    client.send_first(picture(), STAMP)
    client.until(lambda: objects and markers and transforms, "objects, markers and tf")
    expected = header(STAMP)
    detections = client.detections[-1]
    assert detections.header == objects[-1].header == transforms[-1].transforms[0].header == expected
    assert [d.id for d in detections.detections] == ["7", ""]
    assert detections.detections[0].results[0].pose.covariance[35] == 6e-4
    assert [(o.category, o.track_id, o.age) for o in objects[-1].objects] == [("mug", 7, 4), ("mug", -1, 4)]
    assert {m.header.stamp.sec for m in markers[-1].markers if m.action == Marker.ADD} == {expected.stamp.sec}
    (transform,) = transforms[-1].transforms
    assert transform.child_frame_id == "mug_7"
    assert (transform.transform.translation.x, transform.transform.translation.z) == (0.1, 0.9)


@pytest.mark.parametrize(("parameter", "name"), [("", "robot_left_mug_7"), ("seen_", "seen_mug_7")])
def test_tf_names_of_one_of_several_cameras_begin_with_its_namespace(client: Client, parameter: str, name: str) -> None:
    """Otherwise /tf would have the frame mug_7 of two cameras, with two parents."""
    estimator = FakeEstimator([mug(7)])
    transforms = client.listen(TFMessage, "/tf")
    rig = InProcess(partial(camera_node, lambda settings: estimator, "/robot/left"), tf_prefix=parameter)
    try:
        rig.node.trigger_configure()
        rig.node.trigger_activate()
        publishers = [
            client.node.create_publisher(kind, f"/robot/left/{topic}", 10)
            for kind, topic in ((CameraInfo, "camera_info"), (Image, "image"))
        ]
        client.until(lambda: all(p.get_subscription_count() for p in publishers), "the node")
        client.until(lambda: rig.node._outputs._tf.get_subscription_count() == 1, "the subscription to tf")
        messages = (info_message(CAMERA), Image(header=header(STAMP), **image_fields(picture())))
        while not transforms:
            for publisher, message in zip(publishers, messages, strict=True):
                publisher.publish(message)
                client.executor.spin_once(timeout_sec=0.2)
            messages[1].header.stamp.sec += 1
        assert [t.child_frame_id for t in transforms[0].transforms] == [name]
    finally:
        rig.close()


def test_the_debug_image_is_drawn_only_if_it_has_subscribers(
    client: Client, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    draw = publishers.draw_objects

    def counting(*arguments: Any, **options: Any) -> np.ndarray:
        drawn.append(1)
        return draw(*arguments, **options)

    monkeypatch.setattr(publishers, "draw_objects", counting)
    start(FakeEstimator([mug()]))
    client.connect()
    client.send_first(picture(), STAMP)
    client.send(picture(), STAMP + 0.1)
    assert not drawn
    images = client.listen(Image, "/seqpose_node/debug_image")
    client.until(
        lambda: client.values().get("listeners_debug_image", "0") != "0", "the node to discover the subscription"
    )
    client.send(picture(), STAMP + 0.2)
    client.until(lambda: images, "a debug image")
    assert len(drawn) == 1
    assert (images[-1].width, images[-1].height, images[-1].encoding) == (64, 48, "rgb8")
    assert images[-1].header == header(STAMP + 0.2)


def test_nothing_is_converted_for_outputs_without_subscribers(
    client: Client, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[int] = []
    convert = publishers.ObjectFields.of
    monkeypatch.setattr(publishers.ObjectFields, "of", lambda objects: converted.append(1) or convert(objects))
    start(FakeEstimator([mug()]), publish_tf=False)
    client.connect()
    client.send_first(picture(), STAMP)
    assert converted
    client.node.destroy_subscription(next(iter(client.node.subscriptions)))  # detections, the only output with one
    client.until(lambda: client.values().get("listeners_detections") == "0", "the end of the subscription")
    converted.clear()
    processed = client.counts()["images_processed"]
    client.send_image(picture(), STAMP + 0.1)
    client.until(lambda: client.values()["images_processed"] == str(processed + 1), "the step")
    assert not converted


def test_label_info_reaches_late_subscribers_and_follows_the_threshold(client: Client, start: Start) -> None:
    rig = start(FakeEstimator(), score_threshold=0.25)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    messages = client.listen(LabelInfo, "/seqpose_node/label_info", latched)  # after the node has published
    client.until(lambda: messages, "the label info")
    assert messages[-1].threshold == 0.25
    names = ["bottle", "bowl", "camera", "can", "laptop", "mug"]  # the order and numbers of NOCS
    assert [(c.class_id, c.class_name) for c in messages[-1].class_map] == list(enumerate(names, start=1))
    rig.node.set_parameters([Parameter("score_threshold", value=0.5)])
    client.until(lambda: messages[-1].threshold == 0.5, "the new threshold")
    rig.node.set_parameters([Parameter("score_threshold", value=-1.0)])  # that of the model's categories
    client.until(lambda: messages[-1].threshold == pytest.approx(0.3), "the threshold of the categories")


def tf_message(parent: str, child: str, stamp: float, x: float) -> TFMessage:
    transform = TransformStamped(header=header(stamp, parent), child_frame_id=child)
    transform.transform.translation.x = x
    transform.transform.rotation.z = transform.transform.rotation.w = np.sqrt(0.5)  # 90 degrees about z
    return TFMessage(transforms=[transform])


def test_transforms_are_looked_up_at_the_stamp_of_the_image(client: Client, start: Start) -> None:
    estimator = FakeEstimator([mug()])
    start(estimator, fixed_frame="world", target_frame="world", tf_prefix="seen_")
    received = client.listen(TFMessage, "/tf")
    broadcaster = client.node.create_publisher(TFMessage, "/tf", 100)
    client.until(lambda: broadcaster.get_subscription_count() >= 2, "the node's tf listener")
    client.connect()
    # The image stamp is midway between the two transforms, so the camera is at x = 2 m.
    for stamp, x in ((STAMP - 0.1, 1.0), (STAMP + 0.1, 3.0)):
        broadcaster.publish(tf_message("world", "camera", stamp, x))
    message = client.send_first(picture(), STAMP)
    pose = estimator.steps[-1]["camera_pose"]
    np.testing.assert_allclose(pose[:3, 3], [2.0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(pose[:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    # The mug is at (0.1, -0.2, 0.9) in the camera; the camera is rotated by 90 degrees and moved by 2 m in the world.
    assert message.header.frame_id == "world"
    position = message.detections[0].bbox.center.position
    np.testing.assert_allclose([position.x, position.y, position.z], [2.2, 0.1, 0.9], atol=1e-6)
    client.until(lambda: [t for m in received for t in m.transforms if t.child_frame_id == "seen_mug_7"], "tf")
    transform = next(t for m in received for t in m.transforms if t.child_frame_id == "seen_mug_7")
    assert transform.header.frame_id == "world"


def test_without_the_fixed_frame_it_continues_without_ego_motion_and_warns(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, fixed_frame="world")
    client.connect()
    client.send_first(picture(), STAMP)
    assert estimator.steps[-1]["camera_pose"] is None
    client.until(lambda: "without ego-motion" in client.diagnostics[-1].status[0].message, "the warning")
    assert client.diagnostics[-1].status[0].level == DiagnosticStatus.WARN


def test_the_node_waits_for_a_late_transform_up_to_tf_timeout(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, fixed_frame="world", tf_timeout=2.0)
    broadcaster = client.tf_publisher()
    client.connect()
    client.send_info()
    client.counts()  # camera_info has arrived
    broadcaster.publish(tf_message("world", "camera", STAMP - 0.1, 1.0))
    client.send_image(picture(), STAMP)
    time.sleep(0.3)  # the image is in the node before the transform
    broadcaster.publish(tf_message("world", "camera", STAMP + 0.1, 3.0))
    client.until(lambda: estimator.steps, "the step")
    np.testing.assert_allclose(estimator.steps[0]["camera_pose"][:3, 3], [2.0, 0, 0], atol=1e-6)
