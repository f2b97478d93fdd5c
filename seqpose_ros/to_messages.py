# SPDX-License-Identifier: Apache-2.0
"""Convert ObjectPose to ROS messages: detections, objects and transforms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseWithCovariance,
    Quaternion,
    Transform,
    TransformStamped,
    Vector3,
)
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox3D,
    Detection3D,
    Detection3DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
)

from seqpose_core import ObjectPose
from seqpose_ros.msg import ObjectPose as ObjectPoseMessage
from seqpose_ros.msg import ObjectPoseArray

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
    x, y, z = (float(v) for v in matrix[:3, 3])
    return Pose(position=Point(x=x, y=y, z=z), orientation=_quaternion(matrix[:3, :3]))


def detections_message(header: Header, objects: Sequence[ObjectPose]) -> Detection3DArray:
    """vision_msgs/Detection3DArray with one hypothesis per detection; size is the full extent along the object axes.

    The id is the track id, or empty before the track is confirmed.
    """
    message = Detection3DArray(header=header)
    for o in objects:
        pose = pose_message(o)
        message.detections.append(
            Detection3D(
                header=header,
                results=[
                    ObjectHypothesisWithPose(
                        hypothesis=ObjectHypothesis(class_id=o.category, score=float(o.score)),
                        pose=PoseWithCovariance(pose=pose, covariance=_covariance(o)),
                    )
                ],
                bbox=BoundingBox3D(center=pose, size=_vector(o.size)),
                id="" if o.track_id is None else str(o.track_id),
            )
        )
    return message


def objects_message(header: Header, objects: Sequence[ObjectPose]) -> ObjectPoseArray:
    """seqpose_ros/ObjectPoseArray with all fields of each object."""
    return ObjectPoseArray(header=header, objects=[object_message(o) for o in objects])


def object_message(o: ObjectPose) -> ObjectPoseMessage:
    """seqpose_ros/ObjectPose of one object."""
    return ObjectPoseMessage(
        category=o.category,
        category_id=o.category_info.id,
        score=float(o.score),
        pose=PoseWithCovariance(pose=pose_message(o), covariance=_covariance(o)),
        size=_vector(o.size),
        track_id=ObjectPoseMessage.UNTRACKED if o.track_id is None else o.track_id,
        age=o.age,
        symmetric=o.category_info.symmetric,
    )


def transform_messages(
    header: Header, objects: Iterable[ObjectPose], child_frames: Mapping[int, str]
) -> list[TransformStamped]:
    """One transform per confirmed track that has a name.

    :param child_frames: child frame by track id, see :mod:`seqpose_ros.frame_names`.
    """
    return [
        TransformStamped(
            header=header,
            child_frame_id=child_frames[o.track_id],
            transform=Transform(translation=_vector(o.translation), rotation=_quaternion(o.rotation)),
        )
        for o in objects
        if o.track_id is not None and o.track_id in child_frames
    ]


def _quaternion(rotation: np.ndarray) -> Quaternion:
    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    sign = -1.0 if w < 0 else 1.0  # q and -q are the same rotation; w >= 0 makes the sign unique
    return Quaternion(x=float(sign * x), y=float(sign * y), z=float(sign * z), w=float(sign * w))


def _vector(values: np.ndarray) -> Vector3:
    x, y, z = (float(v) for v in values)
    return Vector3(x=x, y=y, z=z)


def _covariance(pose: ObjectPose) -> np.ndarray:
    return np.asarray(pose.covariance, dtype=np.float64).reshape(36)
