# SPDX-License-Identifier: Apache-2.0
"""``ros2 run seqpose_ros planning_scene_node``: confirmed tracks as collision objects in MoveIt's planning scene.

Subscribes to seqpose_node/objects and publishes diffs on planning_scene, the topic that move_group reads. The services
~/freeze and ~/refresh hold the scene and update it once.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from builtin_interfaces.msg import Time
from moveit_msgs.msg import PlanningScene
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import SetBool, Trigger

from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import objects_from_array
from seqpose_ros.msg import ObjectPoseArray
from seqpose_ros.planning_scene.changes import Change, ChangeLimits, Operation, SceneChanges
from seqpose_ros.planning_scene.messages import scene_message
from seqpose_ros.run_node import run_node
from seqpose_ros.simple_parameters import declare_fields, parameter
from seqpose_ros.to_messages import restore_nocs_axes

_CHECK_PERIOD = 0.25  # seconds between checks of the time to live, and of the subscribers, while nothing is published
_ACK_TIMEOUT = Duration(seconds=2)  # for a subscriber that does not respond when the node ends
_ACTIVE = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING)


@dataclass(frozen=True)
class SceneSettings:
    """Parameters of the node."""

    refresh: str = parameter(
        "continuous",
        "When diffs are published: continuous, after each image; manual, on ~/refresh; on_goal, once for each new goal "
        "of goal_action, and on ~/refresh.",
        choices=("continuous", "manual", "on_goal"),
    )
    goal_action: str = parameter("move_action", "Action whose goals refresh the scene with refresh: on_goal.")
    time_to_live: float = parameter(2.0, "Seconds without a detection until an object is removed.", (1.0, 3600.0))
    position_deadband: float = parameter(0.01, "Smaller displacements are not published; metres.", (0.0, 1.0))
    rotation_deadband: float = parameter(0.1, "Smaller rotations are not published; radians.", (0.0, 3.2))
    size_deadband: float = parameter(0.2, "Smaller relative changes of the size are not published.", (0.0, 1.0))
    padding: float = parameter(
        0.005, "The shapes are larger than the object by this, on all sides; metres.", (0.0, 0.5)
    )
    object_axes: str = parameter("nocs", "object_axes of seqpose_node.", choices=("nocs", "rep103"))


class PlanningSceneNode(Node):
    """Publishes the difference between the detected objects and those in the planning scene.

    :raises ValueError, rclpy.exceptions.ParameterException: an invalid parameter value was given.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("planning_scene_node", **node_options)
        self.settings = settings = declare_fields(self, SceneSettings)
        self._changes = SceneChanges(
            ChangeLimits(
                settings.time_to_live, settings.position_deadband, settings.rotation_deadband, settings.size_deadband
            )
        )
        self._stamp = Time()
        self._subscribers = 0
        self._goals: set[bytes] = set()
        self._publisher = self.create_publisher(PlanningScene, "planning_scene", 10)
        self.create_subscription(ObjectPoseArray, "seqpose_node/objects", self._on_objects, 10)
        self.create_service(SetBool, "~/freeze", self._on_freeze)
        self.create_service(Trigger, "~/refresh", self._on_refresh)
        self.create_timer(_CHECK_PERIOD, self._publish if settings.refresh == "continuous" else self._check)
        if settings.refresh == "on_goal":
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            topic = f"{settings.goal_action}/_action/status"
            self.create_subscription(GoalStatusArray, topic, self._on_goal_status, latched)

    def destroy_node(self) -> None:
        """Remove the objects from the planning scene, then destroy the node."""
        if self.context.ok():
            self._send(self._changes.clear())
            self._publisher.wait_for_all_acked(_ACK_TIMEOUT)
        super().destroy_node()

    def _on_objects(self, message: ObjectPoseArray) -> None:
        try:
            objects = restore_nocs_axes(objects_from_array(message), self.settings.object_axes)
        except InputError as error:
            self.get_logger().warning(f"objects ignored: {error}", throttle_duration_sec=5.0)
            return
        self._stamp = message.header.stamp
        self._changes.observe(objects, message.header.frame_id, self._now())
        if self.settings.refresh == "continuous":
            self._publish()

    def _on_freeze(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._changes.frozen and not request.data:
            # A grasp may have attached, moved or removed objects: all are added again.
            self._changes.resend()
        self._changes.freeze(request.data, self._now())
        response.success = True
        response.message = f"{'frozen' if request.data else 'released'} with {len(self._changes.names)} objects"
        return response

    def _on_refresh(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._changes.frozen:
            response.message = "the scene is frozen: release it with ~/freeze first"
            return response
        counts = Counter(change.operation for change in self._publish())
        response.success = True
        response.message = ", ".join(f"{counts[operation]} {operation.value}" for operation in Operation)
        return response

    def _on_goal_status(self, message: GoalStatusArray) -> None:
        active = {bytes(s.goal_info.goal_id.uuid) for s in message.status_list if s.status in _ACTIVE}
        if active - self._goals:
            self._publish()
        self._goals = active

    def _publish(self) -> list[Change]:
        """Publish and return the changes since the last diff."""
        self._check_subscribers()
        changes = self._changes.collect(self._now())
        self._send(changes)
        return changes

    def _check(self) -> None:
        """What must not wait for the next diff: a move_group that restarts between two of them has no objects."""
        self._check_subscribers()
        self._changes.drop_unsent(self._now())

    def _check_subscribers(self) -> None:
        subscribers = self._publisher.get_subscription_count()
        if subscribers > self._subscribers:  # a planning scene that has none of the objects yet
            self._changes.resend()
        self._subscribers = subscribers

    def _send(self, changes: Sequence[Change]) -> None:
        if changes:
            self._publisher.publish(scene_message(changes, self._stamp, self.settings.padding))

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; returns the exit status."""
    return run_node("planning_scene_node", PlanningSceneNode, args)


if __name__ == "__main__":
    sys.exit(main())
