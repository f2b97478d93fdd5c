# SPDX-License-Identifier: Apache-2.0
"""The grasp node over DDS, and the launch file from a bag to ranked grasps."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import launch_rig
import numpy as np
import pytest
from geometry_msgs.msg import PoseArray, TransformStamped
from ros_rig import STAMP, Client, InProcess, header
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from seqpose_core import ObjectPose
from seqpose_core.grasping import plan_grasps
from seqpose_core.support_plane import SupportPlane
from seqpose_ros.from_messages import matrix_from_pose
from seqpose_ros.grasps import node as node_module
from seqpose_ros.grasps.messages import grasps_message
from seqpose_ros.grasps.node import GraspNode
from seqpose_ros.message_builders import ObjectFields, ObjectsBuilder
from seqpose_ros.msg import GraspArray, ObjectPoseArray, SelectedObject
from seqpose_ros.srv import SelectObject
from seqpose_ros.to_messages import convert_axes, object_message

ROOT = Path(__file__).resolve().parents[2]


def bottle(track_id: int, x: float) -> ObjectPose:
    """An upright bottle in a frame with z up, its foot on the plane z = 0."""
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    covariance = np.diag([1e-6] * 3 + [1e-4] * 3)
    return ObjectPose(
        "bottle", 0.9, upright, np.array([x, 0.0, 0.1]), np.array([0.06, 0.2, 0.06]), covariance, track_id
    )


def frame_at(name: str, stamp: float, height: float) -> TFMessage:
    """A frame parallel to the world's, above its origin by ``height`` metres."""
    transform = TransformStamped(header=header(stamp, "world"), child_frame_id=name)
    transform.transform.translation.z, transform.transform.rotation.w = height, 1.0
    return TFMessage(transforms=[transform])


def test_the_messages_have_the_order_of_the_plan_and_the_plane() -> None:
    plane = SupportPlane(np.array([0.0, 0.0, 2.0]), 0.5)  # z = -0.25
    grasps = plan_grasps(bottle(1, 0.5), [bottle(2, 0.8)], plane=plane)
    message = grasps_message(header(STAMP, "world"), grasps, plane)
    assert list(message.support_plane) == [0.0, 0.0, 1.0, 0.25]
    scores = [grasp.score for grasp in message.grasps]
    assert len(scores) > 3
    assert scores == sorted(scores, reverse=True)
    for sent, planned in zip(message.grasps, grasps, strict=True):
        np.testing.assert_allclose(matrix_from_pose(sent.pose), planned.pose, atol=1e-9)
        assert (sent.kind, sent.track_id, sent.opening) == (planned.kind, 1, planned.opening)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_receives_nothing_ends_after_a_signal(client: Client, number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-m", "seqpose_ros.grasps.node"])
    try:
        client.until(lambda: "grasp_node" in client.node.get_node_names(), "the node")
        process.send_signal(number)
        assert process.wait(30) == 0
    finally:
        process.kill()


class Rig(InProcess):
    """The grasp node in a thread, and publishers of its inputs."""

    def __init__(self, client: Client, **parameters: Any) -> None:
        super().__init__(GraspNode, threads=1, **parameters)
        self.client = client
        self.grasps = client.listen(GraspArray, "/grasp_node/grasps")
        self.poses = client.listen(PoseArray, "/grasp_node/poses")
        self.markers = client.listen(MarkerArray, "/grasp_node/markers")
        self.selected = client.node.create_publisher(SelectedObject, "/seqpose_node/selected_object", 10)
        self.objects = client.node.create_publisher(ObjectPoseArray, "/seqpose_node/objects", 10)
        for publisher in (self.selected, self.objects):
            client.until(publisher.get_subscription_count, "the node's subscription")
        outputs = (self.node._grasps, self.node._poses, self.node._markers)
        client.until(lambda: all(p.get_subscription_count() for p in outputs), "the subscriptions of this test")

    def send(self, stamp: float, state: int, objects: list[ObjectPose], axes: str = "nocs") -> Header:
        """Publish one image's outputs of seqpose_node; the first object is selected."""
        at = header(stamp, "world")
        converted = convert_axes(objects, axes)
        self.selected.publish(SelectedObject(header=at, state=state, object=object_message(converted[0])))
        self.objects.publish(ObjectsBuilder().message(at, ObjectFields.of(converted)))
        return at


@pytest.fixture
def start_grasps(client: Client) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def begin(**parameters: Any) -> Rig:
        rigs.append(Rig(client, **parameters))
        return rigs[-1]

    yield begin
    for rig in rigs:
        rig.close()


def test_grasps_of_the_selected_object_are_published_at_the_stamp_of_the_image(
    client: Client, start_grasps: Callable[..., Rig]
) -> None:
    rig = start_grasps(support_frame="world", support_height=0.0)
    at = rig.send(STAMP, SelectedObject.VISIBLE, [bottle(1, 0.5), bottle(2, 0.8)])
    client.until(lambda: rig.grasps and rig.poses and rig.markers, "grasps")
    message = rig.grasps[0]
    assert message.header == rig.poses[0].header == at
    assert list(message.support_plane) == [0.0, 0.0, 1.0, 0.0]
    assert [g.pose for g in message.grasps] == list(rig.poses[0].poses)
    assert {g.track_id for g in message.grasps} == {1}
    for grasp in message.grasps:
        assert np.hypot(grasp.pose.position.x - 0.5, grasp.pose.position.y) < 0.06
        assert 0.0 < grasp.pose.position.z < 0.25
        assert grasp.opening >= grasp.width > 0.03
        assert grasp.clearance >= 0
    assert rig.markers[0].markers[0].action == Marker.DELETEALL
    assert {m.ns for m in rig.markers[0].markers[1:]} == {"grasp", "score"}


def test_a_hidden_or_lost_object_has_no_grasps(client: Client, start_grasps: Callable[..., Rig]) -> None:
    rig = start_grasps()
    rig.send(STAMP, SelectedObject.VISIBLE, [bottle(1, 0.5)])
    client.until(lambda: rig.grasps, "grasps")
    assert rig.grasps[0].grasps
    rig.send(STAMP + 0.1, SelectedObject.HIDDEN, [bottle(1, 0.5)])
    rig.send(STAMP + 0.2, SelectedObject.LOST, [bottle(1, 0.5)])
    client.until(lambda: len(rig.grasps) == len(rig.markers) == 3, "empty grasps")
    assert [len(message.grasps) for message in rig.grasps[1:]] == [0, 0]
    assert [m.action for m in rig.markers[-1].markers] == [Marker.DELETEALL]


def test_an_image_waits_for_the_transform_of_the_support_plane(
    client: Client, start_grasps: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "_TF_TIMEOUT", 60.0)
    rig = start_grasps(support_frame="table")
    broadcaster = client.tf_publisher()
    rig.send(STAMP, SelectedObject.VISIBLE, [bottle(1, 0.5)])
    client.until(lambda: rig.node._waiting, "the image")
    at = rig.send(STAMP + 0.1, SelectedObject.VISIBLE, [bottle(1, 0.5)])  # replaces no image that waits
    for stamp in (STAMP - 0.1, STAMP + 0.2):
        broadcaster.publish(frame_at("table", stamp, height=-0.01))
    client.until(lambda: rig.grasps, "grasps")
    assert rig.grasps[0].header == header(STAMP, "world") != at
    assert rig.grasps[0].grasps
    np.testing.assert_allclose(rig.grasps[0].support_plane, [0.0, 0.0, 1.0, 0.01], atol=1e-9)


@pytest.mark.parametrize("frame", ["support_frame", "base_frame"])
def test_there_are_no_grasps_without_the_transform_of_a_requested_frame(
    frame: str, client: Client, start_grasps: Callable[..., Rig]
) -> None:
    rig = start_grasps(**{frame: "unknown"})
    at = rig.send(STAMP, SelectedObject.VISIBLE, [bottle(1, 0.5)])
    client.until(lambda: rig.grasps, "a message")
    assert rig.grasps[0].header == at
    assert list(rig.grasps[0].grasps) == []


def test_an_object_is_selected_again_after_a_restart_of_seqpose_node(
    client: Client, start_grasps: Callable[..., Rig]
) -> None:
    """The new process publishes objects, but has no selection."""
    requests: list[SelectObject.Request] = []

    def on_select(request: SelectObject.Request, response: SelectObject.Response) -> SelectObject.Response:
        requests.append(request)
        return response

    rig = start_grasps(select_category="bottle")
    rig.send(STAMP, SelectedObject.VISIBLE, [bottle(1, 0.5)])
    client.until(lambda: rig.grasps, "grasps")
    service = client.node.create_service(SelectObject, "/seqpose_node/select", on_select)
    client.until(lambda: rig.node._select.service_is_ready(), "the service")
    requests.clear()
    image = 0
    while not requests:
        image += 1
        at = header(STAMP + image / 10, "world")
        rig.objects.publish(ObjectsBuilder().message(at, ObjectFields.of([bottle(2, 0.5)])))
        client.executor.spin_once(timeout_sec=0.1)
        assert image < 1000
    assert requests[0].category == "bottle"
    client.until(lambda: len(rig.grasps) == 2, "empty grasps")
    assert list(rig.grasps[1].grasps) == []
    client.node.destroy_service(service)


def test_rep103_axes_give_the_same_grasps(client: Client, start_grasps: Callable[..., Rig]) -> None:
    rig = start_grasps(object_axes="rep103")
    rig.send(STAMP, SelectedObject.VISIBLE, [bottle(1, 0.5)], axes="rep103")
    client.until(lambda: rig.grasps, "grasps")
    expected = plan_grasps(bottle(1, 0.5))
    assert len(rig.grasps[0].grasps) == len(expected)
    np.testing.assert_allclose(rig.grasps[0].grasps[0].score, expected[0].score, atol=1e-6)


def test_an_object_wider_than_the_opening_has_no_grasps(client: Client, start_grasps: Callable[..., Rig]) -> None:
    rig = start_grasps(opening=0.03)  # less than the body, 6 cm, and than the neck of the modelled shape
    rig.send(STAMP, SelectedObject.VISIBLE, [bottle(1, 0.5)])
    client.until(lambda: rig.grasps, "a message")
    assert list(rig.grasps[0].grasps) == []


@pytest.mark.slow
def test_the_launch_file_publishes_ranked_grasps_of_a_bag(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("moveit_msgs", reason="needs moveit_msgs: make moveit")
    from moveit_msgs.msg import CollisionObject, PlanningScene

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    grasps = client.listen(GraspArray, "/grasp_node/grasps")
    selected = client.listen(SelectedObject, "/seqpose_node/selected_object")
    diffs = client.listen(PlanningScene, "/planning_scene")
    description = launch_rig.load(ROOT / "launch" / "grasp_demo.launch.py", monkeypatch)
    launched = launch_rig.Launched(description, tmp_path / "log", category="bottle", rate="0.5")
    try:

        def done() -> bool:
            assert launched.failed() == [], launched.log
            return bool(diffs) and any(message.grasps for message in grasps)

        client.until(done, "grasps and a planning scene")
    finally:
        statuses = launched.stop()
    message = next(message for message in grasps if message.grasps)
    by_stamp = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in selected}
    target = by_stamp[message.header.stamp.sec, message.header.stamp.nanosec].object
    assert target.category == "bottle"
    assert {g.track_id for g in message.grasps} == {target.track_id}
    position = target.pose.pose.position
    best = message.grasps[0].pose.position
    assert np.linalg.norm([best.x - position.x, best.y - position.y, best.z - position.z]) < target.size.y
    added = {o.id for d in diffs for o in d.world.collision_objects if o.operation == CollisionObject.ADD}
    assert f"bottle_{target.track_id}" in added
    assert statuses[:3] == [0, 0, 0], launched.log
