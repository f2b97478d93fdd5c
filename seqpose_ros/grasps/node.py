# SPDX-License-Identifier: Apache-2.0
"""``ros2 run seqpose_ros grasp_node``: ranked grasps of the object that is selected in seqpose_node.

For every image with the selected object it publishes ~/grasps, ~/poses and ~/markers, in the frame of ~/objects. They
are empty while the object is hidden or lost, and if tf has not support_frame or base_frame at the stamp of the image
within _TF_TIMEOUT: without the plane, grasps could go through the table. While one image waits, later ones are ignored.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from seqpose_core import ObjectPose
from seqpose_core.grasping import Grasp, Gripper, plan_grasps
from seqpose_core.support_plane import SupportPlane
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import objects_from_array
from seqpose_ros.grasps.messages import grasps_message, markers_message, poses_message
from seqpose_ros.msg import GraspArray, ObjectPoseArray, SelectedObject
from seqpose_ros.run_node import run_node
from seqpose_ros.simple_parameters import declare_fields, parameter
from seqpose_ros.srv import SelectObject
from seqpose_ros.to_messages import restore_nocs_axes
from seqpose_ros.transforms import TransformLookup

_LOG_PERIOD = 5.0  # seconds between repeated warnings
_SELECT_PERIOD = 0.5  # seconds between attempts to select
_TF_TIMEOUT, _TF_PERIOD = 0.5, 0.01  # seconds of wall time to wait for the transforms of an image, and between lookups
_QUEUE = 10  # messages of each topic
#: Images without a message on selected_object after which nothing is selected: seqpose_node was restarted.
_MAX_UNSELECTED = 2 * _QUEUE


@dataclass(frozen=True)
class GraspSettings:
    """Parameters of the node."""

    opening: float = parameter(0.085, "Largest distance between the fingers; metres.", (0.001, 1.0))
    finger_depth: float = parameter(0.05, "From the palm to the finger tips; metres.", (0.001, 1.0))
    standoff: float = parameter(0.1, "Distance from the pre-grasp to the grasp; metres.", (0.001, 1.0))
    support_frame: str = parameter("", "Frame of the support plane, by tf; empty: no plane.")
    support_height: float = parameter(0.0, "The plane is z = this height in support_frame; metres.", (-10.0, 10.0))
    base_frame: str = parameter("", "Frame of the robot's base, by tf; empty: all grasps are in reach.")
    max_reach: float = parameter(0.85, "Grasps farther from base_frame are dropped; metres.", (0.1, 10.0))
    object_axes: str = parameter("nocs", "object_axes of seqpose_node.", choices=("nocs", "rep103"))
    select_category: str = parameter(
        "", "Select an object of this category whenever none is selected or the last one is lost; empty: never."
    )


@dataclass(frozen=True)
class _Image:
    """The objects of an image with the selected one, and the wall time, in seconds, until which it waits for tf."""

    header: Header
    target: ObjectPose
    others: Sequence[ObjectPose]
    deadline: float


class GraspNode(Node):
    """Plans grasps of the selected object.

    :raises ValueError, rclpy.exceptions.ParameterException: an invalid parameter value was given.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("grasp_node", **node_options)
        self.settings = settings = declare_fields(self, GraspSettings)
        self.gripper = Gripper(opening=settings.opening, finger_depth=settings.finger_depth, standoff=settings.standoff)
        self._transforms = TransformLookup(self) if settings.support_frame or settings.base_frame else None
        self._selected: SelectedObject | None = None
        self._unselected = 0  # images since the last message on selected_object
        self._waiting: _Image | None = None
        self._grasps = self.create_publisher(GraspArray, "~/grasps", 10)
        self._poses = self.create_publisher(PoseArray, "~/poses", 10)
        self._markers = self.create_publisher(MarkerArray, "~/markers", 10)
        self.create_subscription(SelectedObject, "seqpose_node/selected_object", self._on_selected, _QUEUE)
        self.create_subscription(ObjectPoseArray, "seqpose_node/objects", self._on_objects, _QUEUE)
        self._retry = self.create_timer(_TF_PERIOD, self._plan_waiting)
        self._retry.cancel()  # it runs only while an image waits
        if settings.select_category:
            self._select = self.create_client(SelectObject, "seqpose_node/select")
            self.create_timer(_SELECT_PERIOD, self._select_again)

    def _on_selected(self, message: SelectedObject) -> None:
        """Published before the objects of the same image."""
        previous, self._selected, self._unselected = self._selected, message, 0
        if previous is not None and previous.object.track_id != message.object.track_id:
            self._stop_waiting()
        if message.state != SelectedObject.VISIBLE:
            self._stop_waiting()
            self._publish(message.header, [], None)

    def _on_objects(self, message: ObjectPoseArray) -> None:
        selected = self._selected
        if selected is None:
            return
        self._unselected += 1
        if self._unselected > _MAX_UNSELECTED:
            self._selected = None
            self._publish(message.header, [], None)
            return
        if selected.state != SelectedObject.VISIBLE or selected.header != message.header or self._waiting is not None:
            return
        try:
            objects = restore_nocs_axes(objects_from_array(message), self.settings.object_axes)
        except InputError as error:
            self.get_logger().warning(f"objects ignored: {error}", throttle_duration_sec=_LOG_PERIOD)
            return
        target = next((o for o in objects if o.track_id == selected.object.track_id), None)
        if target is not None:
            others = [o for o in objects if o is not target]
            self._waiting = _Image(message.header, target, others, time.monotonic() + _TF_TIMEOUT)
            self._retry.reset()
            self._plan_waiting()

    def _stop_waiting(self) -> None:
        self._waiting = None
        self._retry.cancel()

    def _plan_waiting(self) -> None:
        """Plan grasps in the waiting image once tf has its frames, or publish none after the time to wait."""
        image = self._waiting
        if image is None:
            return
        try:
            plane, base = self._support_plane(image.header), self._lookup(image.header, self.settings.base_frame)
        except InputError as error:
            if time.monotonic() < image.deadline:
                return
            self.get_logger().warning(f"no grasps: {error}", throttle_duration_sec=_LOG_PERIOD)
            grasps, plane = [], None
        else:
            grasps = plan_grasps(
                image.target,
                image.others,
                gripper=self.gripper,
                plane=plane,
                base=None if base is None else base[:3, 3],
                max_reach=self.settings.max_reach,
            )
        self._stop_waiting()
        self._publish(image.header, grasps, plane)

    def _support_plane(self, header: Header) -> SupportPlane | None:
        matrix = self._lookup(header, self.settings.support_frame)
        return None if matrix is None else SupportPlane.from_frame(matrix, self.settings.support_height)

    def _lookup(self, header: Header, frame: str) -> np.ndarray | None:
        """(4, 4) from a frame to that of the objects; None if the name is empty.

        :raises InputError: tf has no transform at this stamp.
        """
        if not frame or frame == header.frame_id or self._transforms is None:
            return np.eye(4) if frame else None
        return self._transforms.lookup(header.frame_id, frame, header.stamp)

    def _publish(self, header: Header, grasps: Sequence[Grasp], plane: SupportPlane | None) -> None:
        self._grasps.publish(grasps_message(header, grasps, plane))
        self._poses.publish(poses_message(header, grasps))
        self._markers.publish(markers_message(header, grasps, self.gripper.finger_depth))

    def _select_again(self) -> None:
        state = SelectedObject.NONE if self._selected is None else self._selected.state
        if state in (SelectedObject.NONE, SelectedObject.LOST) and self._select.service_is_ready():
            self._select.call_async(SelectObject.Request(category=self.settings.select_category, track_id=-1))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until a signal; returns the exit status."""
    return run_node("grasp_node", GraspNode, args)


if __name__ == "__main__":
    sys.exit(main())
