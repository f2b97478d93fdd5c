# SPDX-License-Identifier: Apache-2.0
"""The subscriptions and service clients of the live page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from seqpose_core.grasping import Grasp
from seqpose_ros.diagnostics import is_status_of
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import matrix_from_pose, object_from_message, objects_from_array
from seqpose_ros.images import decode
from seqpose_ros.msg import GraspArray, ObjectPoseArray, SelectedObject
from seqpose_ros.srv import SelectObject
from seqpose_ros.view.state import ViewState

_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_SELECTION = {
    SelectedObject.NONE: "none",
    SelectedObject.VISIBLE: "visible",
    SelectedObject.HIDDEN: "hidden",
    SelectedObject.LOST: "lost",
}


class ViewNode(Node):
    """Keeps the latest messages of ``seqpose_node`` and calls its services.

    :param target: name of the node to show. :param grasp_node: name of the node that publishes grasps.
    :param answer: called with the response of a service.
    """

    def __init__(
        self, target: str, grasp_node: str, answer: Callable[[str], None] = lambda text: None, **node_options: Any
    ) -> None:
        super().__init__("seqpose_view", **node_options)
        self.state = ViewState(message=f"waiting for {target}")
        #: Whether the state changed since it was shown last.
        self.changed = True
        self.answer = answer
        self._target = self.resolve_topic_name(target)
        self.create_subscription(Image, f"{target}/debug_image", self._on_image, _NEWEST)
        self.create_subscription(ObjectPoseArray, f"{target}/objects", self._on_objects, 1)
        self.create_subscription(SelectedObject, f"{target}/selected_object", self._on_selected, 1)
        self.create_subscription(GraspArray, f"{grasp_node}/grasps", self._on_grasps, 1)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._reset = self.create_client(Trigger, f"{target}/reset")
        self._select = self.create_client(SelectObject, f"{target}/select")

    def reset(self) -> None:
        """Call ~/reset."""
        self._call(self._reset, Trigger.Request())

    def select(self, track_id: int | None) -> None:
        """Call ~/select for a track, or for the best score."""
        self._call(self._select, SelectObject.Request(track_id=-1 if track_id is None else track_id))

    def clear_selection(self) -> None:
        """End the selection with ~/select."""
        self._call(self._select, SelectObject.Request(by=SelectObject.Request.CLEAR))

    def _call(self, client: Any, request: Any) -> None:
        if not client.service_is_ready():
            self.answer(f"{client.srv_name} is not available")
            return
        client.call_async(request).add_done_callback(lambda future: self.answer(future.result().message))

    def _on_image(self, message: Image) -> None:
        try:
            self.state.image = decode(message)
        except InputError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)
        self.changed = True

    def _on_objects(self, message: ObjectPoseArray) -> None:
        try:
            self.state.objects = objects_from_array(message)
        except InputError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)
        self.changed = True

    def _on_selected(self, message: SelectedObject) -> None:
        state = _SELECTION.get(message.state, "none")
        self.state.selection, self.state.selected = "none", None
        if state != "none":
            item = object_from_message(message.object)
            self.state.selection, self.state.selected = f"{item.category} {item.track_id}, {state}", item.track_id
        if state != "visible":
            self.state.grasps = ()
        self.changed = True

    def _on_grasps(self, message: GraspArray) -> None:
        self.state.grasps = [
            Grasp(
                matrix_from_pose(g.pose),
                matrix_from_pose(g.pregrasp),
                g.width,
                g.opening,
                g.score,
                g.clearance,
                g.kind,
                g.track_id,
            )
            for g in message.grasps
        ]
        plane = np.array(message.support_plane, dtype=np.float64)
        self.state.plane = plane if plane[:3].any() else None
        self.changed = True

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if is_status_of(status, self._target):
                self.state.diagnostics = {value.key: value.value for value in status.values}
                self.state.message = status.message
                self.changed = True
