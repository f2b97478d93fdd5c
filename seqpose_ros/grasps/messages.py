# SPDX-License-Identifier: Apache-2.0
"""Convert grasps to messages: GraspArray, PoseArray and markers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, PoseArray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from seqpose_core.grasping import Grasp
from seqpose_core.support_plane import SupportPlane
from seqpose_ros.msg import Grasp as GraspMessage
from seqpose_ros.msg import GraspArray
from seqpose_ros.to_messages import pose_from_matrix
from seqpose_ros.view.state import gripper_lines

_LINE_WIDTH = 0.003  # metres
_MARKERS = 10  # best grasps that are drawn


def grasps_message(header: Header, grasps: Sequence[Grasp], plane: SupportPlane | None) -> GraspArray:
    """seqpose_ros/GraspArray, in the order of ``grasps``.

    :param header: stamp of the image, frame of the grasps and of the plane.
    """
    message = GraspArray(header=header)
    if plane is not None:
        message.support_plane = np.array([*plane.normal, plane.offset], dtype=np.float64)
    message.grasps = [
        GraspMessage(
            pose=pose_from_matrix(g.pose),
            pregrasp=pose_from_matrix(g.pregrasp),
            width=g.width,
            opening=g.opening,
            score=g.score,
            clearance=g.clearance,
            kind=g.kind,
            track_id=-1 if g.object_id is None else g.object_id,
        )
        for g in grasps
    ]
    return message


def poses_message(header: Header, grasps: Sequence[Grasp]) -> PoseArray:
    """geometry_msgs/PoseArray of the gripper poses, best first."""
    return PoseArray(header=header, poses=[pose_from_matrix(g.pose) for g in grasps])


def markers_message(header: Header, grasps: Sequence[Grasp], finger_depth: float) -> MarkerArray:
    """Grippers from red (score 0) to green (score 1), and the score of the best one; older markers are deleted."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, grasp in enumerate(grasps[:_MARKERS]):
        marker = Marker(header=header, ns="grasp", id=number, type=Marker.LINE_LIST)
        marker.pose.orientation.w = 1.0
        marker.scale.x = _LINE_WIDTH
        marker.color = ColorRGBA(r=1.0 - grasp.score, g=grasp.score, b=0.0, a=1.0 if number == 0 else 0.5)
        marker.points = [
            Point(x=float(x), y=float(y), z=float(z)) for x, y, z in gripper_lines(grasp, finger_depth).reshape(-1, 3)
        ]
        markers.append(marker)
    if grasps:
        text = Marker(header=header, ns="score", id=0, type=Marker.TEXT_VIEW_FACING)
        text.pose = pose_from_matrix(grasps[0].pregrasp)
        text.scale.z = 0.02
        text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
        text.text = f"{grasps[0].kind} {grasps[0].score:.2f}"
        markers.append(text)
    return MarkerArray(markers=markers)
