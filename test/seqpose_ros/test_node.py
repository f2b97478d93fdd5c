# SPDX-License-Identifier: Apache-2.0
"""The node's plumbing, over DDS, with an estimator that notes what it is given."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_rig import CAMERA, Client, FakeEstimator, InProcess, header, info_message, picture
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from seqpose_core import ObjectPose
from seqpose_ros import outputs
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.msg import ObjectPoseArray

STAMP = 1234.567890123


def mug(track_id: int | None = 7) -> ObjectPose:
    turn = Rotation.from_euler("xyz", [0.3, -0.2, 1.0]).as_matrix()
    spread = np.diag([1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4])
    return ObjectPose("mug", 0.75, turn, np.array([0.1, -0.2, 0.9]), np.array([0.12, 0.1, 0.08]), spread, track_id, 4)


@pytest.fixture(scope="module", autouse=True)
def private_domain() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in private_ros_environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


Start = Callable[..., InProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[InProcess] = []

    def begin(estimator: Any, active: bool = True, **parameters: Any) -> InProcess:
        running.append(InProcess(lambda settings: estimator, **parameters))
        if active:
            running[-1].node.trigger_configure()
            running[-1].node.trigger_activate()
        return running[-1]

    yield begin
    for rig in running:
        rig.close()


def test_every_output_carries_the_object_with_the_images_stamp_and_frame(client: Client, start: Start) -> None:
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


def test_the_estimator_gets_the_image_the_camera_and_the_stamp(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    assert client.send_first(picture(), STAMP).detections == []  # nothing seen: an empty array all the same
    step = estimator.steps[-1]
    np.testing.assert_array_equal(step["image"], picture())
    assert step["camera"] == CAMERA
    assert step["stamp"] == pytest.approx(STAMP, abs=1e-9)
    assert step["camera_pose"] is None


def test_compressed_images_are_taken_from_the_transports_topic(client: Client, start: Start) -> None:
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
def test_publishers_of_either_reliability_are_heard(
    client: Client, start: Start, reliability: ReliabilityPolicy
) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.image = client.node.create_publisher(Image, "image", QoSProfile(depth=1, reliability=reliability))
    client.connect()
    client.send_first(picture(), STAMP)
    assert estimator.steps


def test_the_debug_image_is_drawn_only_while_someone_listens(
    client: Client, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    draw = outputs.draw_objects

    def counting(*arguments: Any, **options: Any) -> np.ndarray:
        drawn.append(1)
        return draw(*arguments, **options)

    monkeypatch.setattr(outputs, "draw_objects", counting)
    start(FakeEstimator([mug()]))
    client.connect()
    client.send_first(picture(), STAMP)
    client.send(picture(), STAMP + 0.1)
    assert not drawn
    images = client.listen(Image, "/seqpose_node/debug_image")
    client.until(lambda: client.values().get("listeners_debug_image", "0") != "0", "the node to find the listener")
    client.send(picture(), STAMP + 0.2)
    client.until(lambda: images, "a debug image")
    assert len(drawn) == 1
    assert (images[-1].width, images[-1].height, images[-1].encoding) == (64, 48, "rgb8")
    assert images[-1].header == header(STAMP + 0.2)


def tf_message(parent: str, child: str, stamp: float, x: float) -> TFMessage:
    transform = TransformStamped(header=header(stamp, parent), child_frame_id=child)
    transform.transform.translation.x = x
    transform.transform.rotation.z = transform.transform.rotation.w = np.sqrt(0.5)  # a quarter turn about z
    return TFMessage(transforms=[transform])


def test_frames_are_looked_up_at_the_images_time(client: Client, start: Start) -> None:
    estimator = FakeEstimator([mug()])
    start(estimator, fixed_frame="world", target_frame="world", tf_prefix="seen_")
    heard = client.listen(TFMessage, "/tf")
    broadcaster = client.node.create_publisher(TFMessage, "/tf", 100)
    client.until(lambda: broadcaster.get_subscription_count() >= 2, "the node's tf listener")
    client.connect()
    # At the image's time, midway between the two, the camera is at x = 2 m.
    for stamp, x in ((STAMP - 0.1, 1.0), (STAMP + 0.1, 3.0)):
        broadcaster.publish(tf_message("world", "camera", stamp, x))
    message = client.send_first(picture(), STAMP)
    pose = estimator.steps[-1]["camera_pose"]
    np.testing.assert_allclose(pose[:3, 3], [2.0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(pose[:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    # The mug at (0.1, -0.2, 0.9) in the camera is a quarter turn and 2 m away from there in the world.
    assert message.header.frame_id == "world"
    place = message.detections[0].bbox.center.position
    np.testing.assert_allclose([place.x, place.y, place.z], [2.2, 0.1, 0.9], atol=1e-6)
    client.until(lambda: [t for m in heard for t in m.transforms if t.child_frame_id == "seen_mug_7"], "tf")
    found = next(t for m in heard for t in m.transforms if t.child_frame_id == "seen_mug_7")
    assert found.header.frame_id == "world"


def test_without_the_fixed_frame_it_goes_on_without_ego_motion_and_says_so(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, fixed_frame="world")
    client.connect()
    client.send_first(picture(), STAMP)
    assert estimator.steps[-1]["camera_pose"] is None
    client.until(lambda: "without ego-motion" in client.diagnostics[-1].status[0].message, "the complaint")
    assert client.diagnostics[-1].status[0].level == DiagnosticStatus.WARN


def test_while_the_estimator_is_busy_only_the_newest_image_waits(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    client.send_first(picture(), STAMP)
    before, counted = len(estimator.steps), client.counts()
    estimator.free.clear()
    client.send_image(picture(), STAMP + 1)
    client.until(lambda: len(estimator.steps) == before + 1, "the step that waits")
    for index in range(2, 5):
        client.send_image(picture(), STAMP + index)
        client.counts()  # each has arrived before the next is sent
    estimator.free.set()
    client.until(lambda: client.detections[-1].header == header(STAMP + 4), "the newest")
    assert [round(step["stamp"] - STAMP) for step in estimator.steps[before:]] == [1, 4]
    assert client.counts()["images_dropped"] == counted["images_dropped"] + 2


def change(client: Client, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return client.call(ChangeState, "/seqpose_node/change_state", request).success


def state(client: Client) -> int:
    return client.call(GetState, "/seqpose_node/get_state", GetState.Request()).current_state.id


def test_the_model_lives_only_while_the_node_is_active(client: Client) -> None:
    alive: list[weakref.ref[FakeEstimator]] = []

    def load(settings: Any) -> FakeEstimator:
        estimator = FakeEstimator()
        alive.append(weakref.ref(estimator))
        return estimator

    rig = InProcess(load, autostart=False)
    try:
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert change(client, Transition.TRANSITION_CONFIGURE)
        assert not alive
        assert client.image.get_subscription_count() == 0
        for _ in range(2):
            assert change(client, Transition.TRANSITION_ACTIVATE)
            assert state(client) == State.PRIMARY_STATE_ACTIVE
            client.detections.clear()
            client.send_first(picture(), STAMP)
            assert alive[-1]() is not None
            assert change(client, Transition.TRANSITION_DEACTIVATE)
            assert alive[-1]() is None
            client.until(lambda: client.image.get_subscription_count() == 0, "the subscription to go")
        assert not client.call(Trigger, "/seqpose_node/reset", Trigger.Request()).success
        assert change(client, Transition.TRANSITION_CLEANUP)
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert change(client, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert state(client) == State.PRIMARY_STATE_FINALIZED
    finally:
        rig.close()


def test_a_model_that_cannot_be_loaded_leaves_the_node_inactive(client: Client) -> None:
    def load(settings: Any) -> FakeEstimator:
        raise ValueError("no such checkpoint")

    rig = InProcess(load, autostart=False)
    try:
        assert change(client, Transition.TRANSITION_CONFIGURE)
        assert not change(client, Transition.TRANSITION_ACTIVATE)
        assert state(client) == State.PRIMARY_STATE_INACTIVE
    finally:
        rig.close()


def set_parameter(client: Client, name: str, value: Any) -> Any:
    parameter = Parameter(name, value=value).to_parameter_msg()
    request = SetParameters.Request(parameters=[parameter])
    return client.call(SetParameters, "/seqpose_node/set_parameters", request).results[0]


def test_live_parameters_reach_the_running_estimator_and_the_outputs(client: Client, start: Start) -> None:
    estimator = FakeEstimator([mug()])
    start(estimator)
    transforms = client.listen(TFMessage, "/tf")
    client.connect()
    assert set_parameter(client, "score_threshold", 0.8).successful
    assert set_parameter(client, "categories", ["mug", "can"]).successful
    assert (estimator.options["score_threshold"], estimator.options["categories"]) == (0.8, ("mug", "can"))
    refused = set_parameter(client, "categories", ["cup"])
    assert not refused.successful
    assert "'cup'" in refused.reason
    assert estimator.options["categories"] == ("mug", "can")
    assert set_parameter(client, "publish_tf", False).successful
    client.send_first(picture(), STAMP)
    client.send(picture(), STAMP + 0.1)
    assert not transforms


def test_a_fault_in_one_frame_is_told_and_does_not_end_the_stream(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    client.send_first(picture(), STAMP)
    estimator.fault = RuntimeError("out of memory")
    client.send_image(picture(), STAMP + 0.1)
    client.until(lambda: "out of memory" in client.diagnostics[-1].status[0].message, "the complaint")
    estimator.fault = None
    client.send(picture(), STAMP + 0.2)


def test_reset_forgets(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    assert client.call(Trigger, "/seqpose_node/reset", Trigger.Request()).success
    assert estimator.resets == 1


def test_a_distorted_camera_reaches_the_estimator_unless_the_images_are_rectified(client: Client, start: Start) -> None:
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


def test_silence_is_told_with_what_is_missing(client: Client, start: Start) -> None:
    start(FakeEstimator())
    client.until(lambda: client.diagnostics and "waiting" in client.diagnostics[-1].status[0].message, "it")
    message = client.diagnostics[-1].status[0].message
    assert "/image (1 publishers)" in message
    assert "/camera_info (1 publishers)" in message
