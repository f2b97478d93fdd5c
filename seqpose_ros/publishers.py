# SPDX-License-Identifier: Apache-2.0
"""The publishers of the node. An output message is built only if its topic has subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray, LabelInfo, VisionClass
from visualization_msgs.msg import MarkerArray

from seqpose_core import Camera, Category, ObjectPose
from seqpose_core.visualize import draw_objects
from seqpose_ros.frame_names import FrameNamePool
from seqpose_ros.images import image_fields
from seqpose_ros.lifecycle import ResponsiveLifecycleNode
from seqpose_ros.markers import MarkerArrayBuilder
from seqpose_ros.message_builders import DetectionsBuilder, ObjectFields, ObjectsBuilder, TransformsBuilder
from seqpose_ros.msg import ObjectPoseArray
from seqpose_ros.parameters import Settings
from seqpose_ros.selection.outputs import SelectionOutputs
from seqpose_ros.stamps import stamp_seconds
from seqpose_ros.to_messages import convert_axes, transform_objects

_DEPTH = 10  # reliable, volatile: matches best-effort and reliable subscribers
_TF_DEPTH = 100  # as tf2's TransformBroadcaster
# Late subscribers get the last message.
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Publishers:
    """The publishers of one node. All are lifecycle publishers except those of /tf and /diagnostics.

    :param tf_prefix: of the tf child frames while the parameter of this name is empty.
    """

    def __init__(self, node: ResponsiveLifecycleNode, tf_prefix: str = "") -> None:
        self._tf_prefix = tf_prefix
        self._detections = node.create_lifecycle_publisher(Detection3DArray, "~/detections", _DEPTH)
        self._objects = node.create_lifecycle_publisher(ObjectPoseArray, "~/objects", _DEPTH)
        self._markers = node.create_lifecycle_publisher(MarkerArray, "~/markers", _DEPTH)
        self._debug_image = node.create_lifecycle_publisher(Image, "~/debug_image", _DEPTH)
        self.selection = SelectionOutputs(node)
        self._label_info = node.create_lifecycle_publisher(LabelInfo, "~/label_info", _LATCHED)
        self._tf = node.create_publisher(TFMessage, "/tf", _TF_DEPTH)
        self.diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", _DEPTH)
        self._build_detections, self._build_objects = DetectionsBuilder(), ObjectsBuilder()
        self._build_markers, self._build_transforms = MarkerArrayBuilder(), TransformsBuilder()
        self._frame_names = FrameNamePool()
        #: Confirmed tracks of the last image that were not broadcast because all tf names are in use.
        self.unnamed_tracks = 0
        #: Returns False after ROS was shut down, when publishing is no longer possible.
        self.alive = node.context.ok

    def publish(
        self,
        header: Header,
        objects: Sequence[ObjectPose],
        settings: Settings,
        target_from_camera: np.ndarray | None,
        broadcast: bool = True,
    ) -> None:
        """Publish the objects of one image, also if there are none.

        :param header: of the image.
        :param objects: in the camera frame, NOCS axes.
        :param target_from_camera: (4, 4) to ``settings.target_frame``; None to keep the camera frame.
        :param broadcast: False for a repeated stamp, which tf2 ignores with a warning in every listener.
        """
        outputs = (self._detections, self._objects, self._markers)
        detections, objects_array, markers = (_has_subscribers(publisher) for publisher in outputs)
        broadcast = broadcast and settings.publish_tf and bool(header.frame_id) and _has_subscribers(self._tf)
        self.unnamed_tracks = 0
        if target_from_camera is not None:
            header = Header(stamp=header.stamp, frame_id=settings.target_frame)
            objects = transform_objects(objects, target_from_camera)
        objects = convert_axes(objects, settings.object_axes)
        # First, so that ~/select refers to this image as soon as its detections are received.
        self.selection.publish(header, objects, settings.max_age)
        if not (detections or objects_array or markers or broadcast):
            return
        fields = ObjectFields.of(objects)
        if detections:
            self._detections.publish(self._build_detections.message(header, fields))
        if objects_array:
            self._objects.publish(self._build_objects.message(header, fields))
        if markers:
            up_axis = 2 if settings.object_axes == "rep103" else 1
            self._markers.publish(self._build_markers.message(header, fields, up_axis))
        if broadcast:
            self._broadcast(header, fields, settings.tf_prefix or self._tf_prefix)

    def _broadcast(self, header: Header, fields: ObjectFields, prefix: str) -> None:
        names = self._frame_names.assign(fields.objects, stamp_seconds(header.stamp))
        self.unnamed_tracks = sum(o.track_id is not None for o in fields.objects) - len(names)
        child_frames = {track_id: f"{prefix}{name}" for track_id, name in names.items()}
        transforms = self._build_transforms.messages(header, fields, child_frames)
        if transforms:
            self._tf.publish(TFMessage(transforms=transforms))

    def publish_label_info(self, stamp: Time, categories: Sequence[Category], threshold: float | None) -> None:
        """Publish the categories of the model, by NOCS class number, to present and later subscribers.

        :param threshold: objects below this score are not reported; None = the lowest threshold of the categories.
        """
        lowest = min(category.score_threshold for category in categories) if threshold is None else threshold
        classes = [VisionClass(class_id=category.id, class_name=category.name) for category in categories]
        header = Header(stamp=stamp)
        self._label_info.publish(LabelInfo(header=header, class_map=classes, threshold=float(lowest)))

    def publish_debug_image(
        self, header: Header, image: np.ndarray, camera: Camera, objects: Sequence[ObjectPose]
    ) -> None:
        """Publish the image (H, W, 3) with the objects drawn on it, if the topic has subscribers."""
        if _has_subscribers(self._debug_image):
            drawn = draw_objects(image, camera, objects)
            self._debug_image.publish(Image(header=header, **image_fields(drawn)))

    def clear_markers(self) -> None:
        """Delete all markers in RViz."""
        if _has_subscribers(self._markers):
            self._markers.publish(self._build_markers.clear())

    def forget_tracks(self) -> None:
        """The next estimator starts with track id 1 again: its tracks get other tf names than those of the last one."""
        self._frame_names.forget_tracks()

    def subscription_counts(self) -> dict[str, int]:
        """Number of subscriptions per output, and of tf child frame names used so far."""
        publishers = {
            "detections": self._detections,
            "objects": self._objects,
            "markers": self._markers,
            "debug_image": self._debug_image,
            "tf": self._tf,
        }
        counts = {f"listeners_{name}": publisher.get_subscription_count() for name, publisher in publishers.items()}
        return {**counts, "tf_names_used": self._frame_names.used}


def _has_subscribers(publisher: Any) -> bool:
    return publisher.get_subscription_count() > 0
