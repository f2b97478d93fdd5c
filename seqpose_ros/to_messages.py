# SPDX-License-Identifier: Apache-2.0
"""Convert ObjectPose to other frames and axes, and to single messages (arrays: see :mod:`message_builders`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from geometry_msgs.msg import Pose
from std_msgs.msg import Header

from seqpose_core import ObjectPose
from seqpose_ros.message_builders import ObjectFields, ObjectsBuilder, quaternion_from_matrix, set_pose
from seqpose_ros.msg import ObjectPose as ObjectPoseMessage

#: Axes of the rep103 object frame (x forward, z up) as columns in the NOCS object frame (x front, y up).
NOCS_FROM_REP103: np.ndarray = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def convert_axes(objects: Iterable[ObjectPose], object_axes: str) -> list[ObjectPose]:
    """Convert the object frames from NOCS axes to ``object_axes``.

    ``nocs`` (y up) changes nothing. ``rep103`` rotates the object frame about x so that z is NOCS y, and permutes the
    size accordingly; the box in space stays the same. The covariance is about the axes of the header frame and does
    not change.
    """
    if object_axes == "nocs":
        return list(objects)
    return [replace(o, rotation=o.rotation @ NOCS_FROM_REP103, size=np.asarray(o.size)[[0, 2, 1]]) for o in objects]


def restore_nocs_axes(objects: Iterable[ObjectPose], object_axes: str) -> list[ObjectPose]:
    """The inverse of :func:`convert_axes`, for subscribers of the node's outputs."""
    if object_axes == "nocs":
        return list(objects)
    return [replace(o, rotation=o.rotation @ NOCS_FROM_REP103.T, size=np.asarray(o.size)[[0, 2, 1]]) for o in objects]


def transform_objects(objects: Iterable[ObjectPose], transform: np.ndarray) -> list[ObjectPose]:
    """Transform poses and their covariances into another frame.

    :param transform: (4, 4) from the current frame to the new frame.
    """
    rotation = np.kron(np.eye(2), transform[:3, :3])
    return [
        replace(
            o,
            rotation=transform[:3, :3] @ o.rotation,
            translation=transform[:3, :3] @ o.translation + transform[:3, 3],
            covariance=rotation @ o.covariance @ rotation.T,
        )
        for o in objects
    ]


def pose_message(pose: ObjectPose) -> Pose:
    """geometry_msgs/Pose of an object's frame."""
    return pose_from_matrix(pose.transform)


def pose_from_matrix(matrix: np.ndarray) -> Pose:
    """geometry_msgs/Pose of a rigid transform (4, 4)."""
    pose = Pose()
    set_pose(pose, matrix[:3, 3].tolist(), quaternion_from_matrix(matrix[:3, :3]))
    return pose


def object_message(o: ObjectPose) -> ObjectPoseMessage:
    """seqpose_ros/ObjectPose of one object."""
    return ObjectsBuilder().message(Header(), ObjectFields.of([o])).objects[0]
