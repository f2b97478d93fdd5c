# SPDX-License-Identifier: Apache-2.0
"""Collision objects as messages, and the planning scene node over DDS. Needs moveit_msgs (`make moveit`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from ros_rig import STAMP, Client, InProcess, header, mug
from scipy.spatial.transform import Rotation
from std_srvs.srv import SetBool, Trigger

from seqpose_core import ObjectPose
from seqpose_ros.message_builders import ObjectFields, ObjectsBuilder
from seqpose_ros.msg import ObjectPoseArray
from seqpose_ros.to_messages import convert_axes

pytest.importorskip("moveit_msgs", reason="needs moveit_msgs: make moveit")

from action_msgs.msg import GoalStatus, GoalStatusArray
from moveit_msgs.msg import CollisionObject, PlanningScene
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from shape_msgs.msg import SolidPrimitive

from seqpose_ros.planning_scene.changes import Change, Operation
from seqpose_ros.planning_scene.messages import scene_message
from seqpose_ros.planning_scene.node import PlanningSceneNode

NODE = "/planning_scene_node"


def upright(category: str, size: tuple[float, float, float]) -> ObjectPose:
    return ObjectPose(category, 0.9, np.eye(3), np.zeros(3), np.array(size), np.eye(6), 1)


def added(item: ObjectPose, padding: float = 0.0) -> CollisionObject:
    change = Change(Operation.ADD, "name", item, "world")
    (collision_object,) = scene_message([change], header(STAMP).stamp, padding).world.collision_objects
    return collision_object


def inside(collision_object: CollisionObject, point: tuple[float, float, float]) -> bool:
    """Whether a point in the object frame is inside a primitive."""
    for primitive, pose in zip(collision_object.primitives, collision_object.primitive_poses, strict=True):
        q, p = pose.orientation, pose.position
        rotation = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        x, y, z = rotation.T @ (np.array(point) - [p.x, p.y, p.z])
        if primitive.type == SolidPrimitive.CYLINDER:
            height, radius = primitive.dimensions
            hit = abs(z) <= height / 2 and np.hypot(x, y) <= radius
        else:
            hit = bool(np.all(np.abs([x, y, z]) <= np.array(primitive.dimensions) / 2))
        if hit:
            return True
    return False


def test_a_can_is_a_cylinder_about_its_y_axis() -> None:
    can = added(upright("can", (0.06, 0.12, 0.08)), padding=0.01)
    (primitive,) = can.primitives
    assert primitive.type == SolidPrimitive.CYLINDER
    np.testing.assert_allclose(primitive.dimensions, [0.14, 0.05])  # height 0.12 + 0.02, radius 0.08 / 2 + 0.01
    assert inside(can, (0.0, 0.069, 0.0))
    assert inside(can, (0.049, 0.0, 0.0))
    assert not inside(can, (0.0, 0.071, 0.0))
    assert not inside(can, (0.05, 0.0, 0.05))


@pytest.mark.parametrize("category", ["bowl", "mug"])
def test_a_finger_fits_into_a_vessel_but_not_through_its_wall(category: str) -> None:
    vessel = added(upright(category, (0.12, 0.08, 0.12)))
    assert not inside(vessel, (0.0, 0.03, 0.0))
    assert inside(vessel, (0.0, -0.039, 0.0))  # bottom
    for azimuth in np.arange(0, 360, 15):
        x, z = 0.0575 * np.cos(np.radians(azimuth)), 0.0575 * np.sin(np.radians(azimuth))
        assert inside(vessel, (x, 0.035, z)), azimuth


def test_the_handle_of_a_mug_is_at_plus_x() -> None:
    vessel = added(upright("mug", (0.12, 0.1, 0.08)))
    assert inside(vessel, (0.055, 0.0, 0.0))
    assert not inside(vessel, (-0.055, 0.0, 0.05))


def test_a_laptop_is_a_base_and_a_lid_with_free_space_above_the_base() -> None:
    laptop = added(upright("laptop", (0.25, 0.2, 0.3)))
    assert inside(laptop, (0.1, -0.095, 0.1))  # front of the base
    assert not inside(laptop, (0.08, 0.05, 0.0))
    assert any(inside(laptop, (x, 0.05, 0.0)) for x in np.linspace(-0.125, 0.0, 126))  # the lid


def test_a_camera_fills_the_extent_of_its_lens_and_an_unknown_category_is_its_box() -> None:
    assert inside(added(upright("camera", (0.1, 0.08, 0.12))), (0.049, -0.01, 0.0))
    from seqpose_core.categories import Category

    kettle = Category(7, "kettle", False, (0.2, 0.2, 0.2), (1, 2, 3))
    item = ObjectPose(
        "kettle", 0.9, np.eye(3), np.zeros(3), np.array([0.2, 0.3, 0.1]), np.eye(6), 1, category_info=kettle
    )
    (box,) = added(item).primitives
    assert (box.type, list(box.dimensions)) == (SolidPrimitive.BOX, [0.2, 0.3, 0.1])


def test_a_diff_keeps_the_robot_state_and_only_added_objects_have_shapes() -> None:
    changes = [Change(operation, f"mug_{i}", mug(i), "world") for i, operation in enumerate(Operation)]
    scene = scene_message(changes, header(STAMP).stamp, 0.0)
    assert (scene.is_diff, scene.robot_state.is_diff) == (True, True)
    by_operation = {o.operation: o for o in scene.world.collision_objects}
    assert set(by_operation) == {CollisionObject.REMOVE, CollisionObject.ADD, CollisionObject.MOVE}
    assert {o.header.frame_id for o in scene.world.collision_objects} == {"world"}
    move, add = by_operation[CollisionObject.MOVE], by_operation[CollisionObject.ADD]
    assert (list(move.primitives), list(move.primitive_poses), add.type.key) == ([], [], "mug")
    assert (move.pose.position.x, move.pose.position.z) == (0.1, 0.9)
    assert [color.id for color in scene.object_colors] == [add.id]


# The node.


class Rig(InProcess):
    """The planning scene node in a thread, a publisher of objects, and the diffs that move_group would receive."""

    def __init__(self, client: Client, **parameters: Any) -> None:
        super().__init__(PlanningSceneNode, threads=1, **parameters)
        self.client = client
        self.objects = client.node.create_publisher(ObjectPoseArray, "/seqpose_node/objects", 10)
        self.diffs = client.listen(PlanningScene, "/planning_scene")
        client.until(self.objects.get_subscription_count, "the node's subscription")
        client.until(lambda: client.node.count_publishers("/planning_scene"), "the node's publisher")
        client.until(lambda: self.node._publisher.get_subscription_count() == 1, "the subscription of this test")
        self.closed = False

    def send(self, *objects: ObjectPose, object_axes: str = "nocs") -> None:
        message = ObjectsBuilder().message(header(STAMP, "world"), ObjectFields.of(convert_axes(objects, object_axes)))
        self.objects.publish(message)

    def operations(self) -> list[tuple[int, str]]:
        return [(o.operation[0], o.id) for diff in self.diffs for o in diff.world.collision_objects]

    def call(self, kind: type, name: str, request: Any) -> Any:
        return self.client.call(kind, f"{NODE}/{name}", request)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            super().close()


@pytest.fixture
def start_scene(client: Client) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def begin(**parameters: Any) -> Rig:
        rigs.append(Rig(client, **parameters))
        return rigs[-1]

    yield begin
    for rig in rigs:
        rig.close()


ADD, REMOVE, MOVE = (value[0] for value in (CollisionObject.ADD, CollisionObject.REMOVE, CollisionObject.MOVE))


def test_objects_are_added_and_removed_after_the_last_image(client: Client, start_scene: Callable[..., Rig]) -> None:
    rig = start_scene(time_to_live=1.0)
    rig.send(mug(7), mug(None))
    client.until(lambda: rig.operations(), "a diff")
    assert rig.operations() == [(ADD, "mug_7")]
    assert rig.diffs[0].world.collision_objects[0].header == header(STAMP, "world")
    client.until(lambda: len(rig.operations()) == 2, "the removal")  # no further image comes
    assert rig.operations()[1] == (REMOVE, "mug_7")


def test_nothing_is_published_while_frozen_and_all_objects_are_added_again_after_it(
    client: Client, start_scene: Callable[..., Rig]
) -> None:
    rig = start_scene(time_to_live=60.0)
    rig.send(mug(7))
    client.until(lambda: rig.operations(), "a diff")
    assert rig.call(SetBool, "freeze", SetBool.Request(data=True)).message == "frozen with 1 objects"
    rig.send(mug(7), mug(8))
    refresh = rig.call(Trigger, "refresh", Trigger.Request())
    assert (refresh.success, "frozen" in refresh.message) == (False, True)
    assert rig.operations() == [(ADD, "mug_7")]
    rig.call(SetBool, "freeze", SetBool.Request(data=False))
    client.until(lambda: len(rig.operations()) == 2, "the diff after the release")
    assert rig.operations()[1] == (ADD, "mug_7")


def test_a_manual_scene_changes_on_refresh_only(client: Client, start_scene: Callable[..., Rig]) -> None:
    rig = start_scene(refresh="manual", time_to_live=60.0)
    rig.send(mug(7))
    client.until(lambda: rig.call(Trigger, "refresh", Trigger.Request()).message.startswith("0 remove, 1 add"), "mug_7")
    assert rig.operations() == [(ADD, "mug_7")]
    rig.send(mug(8))
    assert rig.operations() == [(ADD, "mug_7")]


def test_a_move_group_that_restarts_between_two_refreshes_gets_every_object(
    client: Client, start_scene: Callable[..., Rig]
) -> None:
    rig = start_scene(refresh="manual", time_to_live=60.0)
    rig.send(mug(7))
    client.until(lambda: rig.call(Trigger, "refresh", Trigger.Request()).message.startswith("0 remove, 1 add"), "mug_7")
    (subscription,) = (s for s in client.node.subscriptions if s.topic_name == "/planning_scene")
    client.node.destroy_subscription(subscription)
    client.until(lambda: rig.node._subscribers == 0, "the end of the first subscription")
    restarted = client.listen(PlanningScene, "/planning_scene")
    client.until(lambda: rig.node._publisher.get_subscription_count() == 1, "the second subscription")
    assert rig.call(Trigger, "refresh", Trigger.Request()).message == "0 remove, 1 add, 0 move"
    client.until(lambda: restarted, "the diff")
    assert [o.id for o in restarted[0].world.collision_objects] == ["mug_7"]


def test_each_new_goal_refreshes_the_scene_once(client: Client, start_scene: Callable[..., Rig]) -> None:
    rig = start_scene(refresh="on_goal", time_to_live=60.0)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    goals = client.node.create_publisher(GoalStatusArray, "/move_action/_action/status", latched)
    client.until(goals.get_subscription_count, "the node's subscription to the goals")
    status = GoalStatus(status=GoalStatus.STATUS_EXECUTING)
    status.goal_info.goal_id.uuid = np.arange(16, dtype=np.uint8)
    rig.send(mug(7))
    client.until(lambda: rig.node._changes._entries, "the objects")
    assert rig.operations() == []
    goals.publish(GoalStatusArray(status_list=[status]))
    client.until(lambda: rig.operations() == [(ADD, "mug_7")], "the diff")
    rig.send(mug(7), mug(8))
    client.until(lambda: len(rig.node._changes._entries) == 2, "the objects")
    goals.publish(GoalStatusArray(status_list=[status]))  # the same goal
    status.goal_info.goal_id.uuid = np.arange(1, 17, dtype=np.uint8)
    goals.publish(GoalStatusArray(status_list=[status]))
    client.until(lambda: len(rig.operations()) == 2, "the second diff")
    assert rig.operations() == [(ADD, "mug_7"), (ADD, "mug_8")]
    assert len(rig.diffs) == 2


def test_a_planning_scene_that_starts_later_gets_every_object(client: Client, start_scene: Callable[..., Rig]) -> None:
    rig = start_scene(time_to_live=60.0)
    rig.send(mug(7))
    client.until(lambda: rig.operations(), "a diff")
    later = client.listen(PlanningScene, "/planning_scene")
    client.until(lambda: later, "a diff for the new subscriber")
    assert [o.id for o in later[0].world.collision_objects] == ["mug_7"]
    assert later[0].world.collision_objects[0].operation == CollisionObject.ADD


def test_rep103_axes_give_the_same_collision_object(client: Client, start_scene: Callable[..., Rig]) -> None:
    rig = start_scene(object_axes="rep103", time_to_live=60.0)
    rig.send(mug(7), object_axes="rep103")
    client.until(lambda: rig.operations(), "a diff")
    received, expected = rig.diffs[0].world.collision_objects[0], added(mug(7), padding=0.005)
    q, e = received.pose.orientation, expected.pose.orientation
    np.testing.assert_allclose([q.x, q.y, q.z, q.w], [e.x, e.y, e.z, e.w], atol=1e-9)
    assert [list(p.dimensions) for p in received.primitives] == [list(p.dimensions) for p in expected.primitives]


def test_the_objects_are_removed_when_the_node_ends(client: Client, start_scene: Callable[..., Rig]) -> None:
    rig = start_scene(time_to_live=60.0)
    rig.send(mug(7))
    client.until(lambda: rig.operations(), "a diff")
    rig.close()
    client.until(lambda: len(rig.operations()) == 2, "the removal")
    assert rig.operations()[1] == (REMOVE, "mug_7")


def test_an_unknown_refresh_mode_is_refused(private_domain: None) -> None:
    context = Context()
    rclpy.init(context=context)
    with pytest.raises(ValueError, match="refresh is 'sometimes'; it must be one of continuous, manual, on_goal"):
        PlanningSceneNode(context=context, parameter_overrides=[Parameter("refresh", value="sometimes")])
    context.try_shutdown()
