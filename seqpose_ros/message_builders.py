# SPDX-License-Identifier: Apache-2.0
"""Build detections, objects and transforms of consecutive images. The numbers of all objects are converted once, and
the message objects are reused, because creating them takes most of the time in Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from geometry_msgs.msg import Pose, TransformStamped
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from seqpose_core import ObjectPose
from seqpose_ros.msg import ObjectPose as ObjectPoseMessage
from seqpose_ros.msg import ObjectPoseArray

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectFields:
    """The numbers of N objects as Python floats, which messages consist of.

    :param positions: N times x, y, z. :param quaternions: N times x, y, z, w with w >= 0.
    :param sizes: N times x, y, z. :param covariances: N arrays (36,).
    """

    objects: Sequence[ObjectPose]
    positions: list[list[float]]
    quaternions: list[tuple[float, float, float, float]]
    sizes: list[list[float]]
    covariances: list[np.ndarray]

    @classmethod
    def of(cls, objects: Sequence[ObjectPose]) -> ObjectFields:
        """Convert the objects."""
        return cls(
            objects,
            [np.asarray(o.translation, np.float64).tolist() for o in objects],
            [quaternion_from_matrix(o.rotation) for o in objects],
            [np.asarray(o.size, np.float64).tolist() for o in objects],
            [np.asarray(o.covariance, np.float64).reshape(36) for o in objects],
        )


def quaternion_from_matrix(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Quaternion x, y, z, w with w >= 0 of a rotation matrix (3, 3).

    Shepperd's method (Journal of Guidance and Control 1, 1978), which divides by the largest component. For a few
    matrices it is much faster in Python than scipy's conversion.
    """
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(rotation, np.float64).tolist()
    squares = (1 + a - e - i, 1 - a + e - i, 1 - a - e + i, 1 + a + e + i)  # 4 x^2, 4 y^2, 4 z^2, 4 w^2
    largest = max(squares)
    # Four times the product of the largest component with x, y, z and w.
    if largest == squares[3]:
        products = (h - f, c - g, d - b, largest)
    elif largest == squares[0]:
        products = (largest, b + d, c + g, h - f)
    elif largest == squares[1]:
        products = (b + d, largest, f + h, c - g)
    else:
        products = (c + g, f + h, largest, d - b)
    # Normalized, as a matrix in float32 is not exactly orthonormal. q and -q are the same rotation; w >= 0 is unique.
    scale = math.copysign(1.0 / math.hypot(*products), products[3])
    x, y, z, w = products
    return scale * x, scale * y, scale * z, scale * w


class MessagePool(Generic[T]):
    """Messages that are used again for the next image. :param create: makes one."""

    def __init__(self, create: Callable[[], T]) -> None:
        self._create, self._messages = create, [create()]

    def take(self, count: int) -> list[T]:
        """The first ``count`` messages."""
        while len(self._messages) < count:
            self._messages.append(self._create())
        return self._messages[:count]


class DetectionsBuilder:
    """Builds vision_msgs/Detection3DArray with one hypothesis per detection.

    The size is the full extent along the object axes. The id is the track id, or empty before the track is confirmed.
    """

    def __init__(self) -> None:
        self._message = Detection3DArray()
        self._pool = MessagePool(_new_detection)

    def message(self, header: Header, fields: ObjectFields) -> Detection3DArray:
        """The message of one image; it is valid until the next call."""
        detections = self._pool.take(len(fields.objects))
        for index, (detection, o) in enumerate(zip(detections, fields.objects, strict=True)):
            detection.header = header
            detection.id = "" if o.track_id is None else str(o.track_id)
            result = detection.results[0]
            result.hypothesis.class_id, result.hypothesis.score = o.category, float(o.score)
            result.pose.covariance = fields.covariances[index]
            set_pose(detection.bbox.center, fields.positions[index], fields.quaternions[index])
            set_xyz(detection.bbox.size, fields.sizes[index])
        self._message.header, self._message.detections = header, detections
        return self._message


class ObjectsBuilder:
    """Builds seqpose_ros/ObjectPoseArray with all fields of each object."""

    def __init__(self) -> None:
        self._message = ObjectPoseArray()
        self._pool = MessagePool(ObjectPoseMessage)

    def message(self, header: Header, fields: ObjectFields) -> ObjectPoseArray:
        """The message of one image; it is valid until the next call."""
        messages = self._pool.take(len(fields.objects))
        for index, (message, o) in enumerate(zip(messages, fields.objects, strict=True)):
            message.category, message.category_id = o.category, o.category_info.id
            message.symmetric, message.score, message.age = o.category_info.symmetric, float(o.score), o.age
            message.track_id = ObjectPoseMessage.UNTRACKED if o.track_id is None else o.track_id
            message.on_support = o.on_support is True
            message.pose.covariance = fields.covariances[index]
            set_pose(message.pose.pose, fields.positions[index], fields.quaternions[index])
            set_xyz(message.size, fields.sizes[index])
        self._message.header, self._message.objects = header, messages
        return self._message


class TransformsBuilder:
    """Builds one transform per confirmed track that has a name."""

    def __init__(self) -> None:
        self._pool = MessagePool(TransformStamped)

    def messages(self, header: Header, fields: ObjectFields, child_frames: Mapping[int, str]) -> list[TransformStamped]:
        """The transforms of one image; they are valid until the next call.

        :param child_frames: child frame by track id, see :mod:`seqpose_ros.frame_names`.
        """
        named = [(i, o.track_id) for i, o in enumerate(fields.objects) if o.track_id in child_frames]
        messages = self._pool.take(len(named))
        for message, (index, track_id) in zip(messages, named, strict=True):
            assert track_id is not None
            message.header, message.child_frame_id = header, child_frames[track_id]
            set_xyz(message.transform.translation, fields.positions[index])
            set_quaternion(message.transform.rotation, fields.quaternions[index])
        return messages


def set_xyz(message: Any, xyz: Sequence[float]) -> None:
    """Set the fields of a Point or a Vector3."""
    message.x, message.y, message.z = xyz


def set_quaternion(message: Any, xyzw: Sequence[float]) -> None:
    """Set the fields of a Quaternion."""
    message.x, message.y, message.z, message.w = xyzw


def set_pose(message: Pose, xyz: Sequence[float], xyzw: Sequence[float]) -> None:
    """Set the fields of a Pose."""
    set_xyz(message.position, xyz)
    set_quaternion(message.orientation, xyzw)


def _new_detection() -> Detection3D:
    """A detection whose hypothesis and box share one Pose object."""
    detection = Detection3D(results=[ObjectHypothesisWithPose()])
    detection.results[0].pose.pose = detection.bbox.center
    return detection
