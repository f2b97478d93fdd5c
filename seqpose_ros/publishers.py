# SPDX-License-Identifier: Apache-2.0
"""The publishers of the node. An output message is built only if its topic has subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tf2_ros import TransformBroadcaster
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from seqpose_core import Camera, ObjectPose
from seqpose_core.visualize import draw_objects
from seqpose_ros.frame_names import FrameNamePool
from seqpose_ros.images import image_fields
from seqpose_ros.lifecycle import ResponsiveLifecycleNode
from seqpose_ros.markers import MarkerArrayBuilder
from seqpose_ros.msg import ObjectPoseArray
from seqpose_ros.parameters import Settings
from seqpose_ros.selection.outputs import SelectionOutputs
from seqpose_ros.stamps import stamp_seconds
from seqpose_ros.to_messages import (
    convert_axes,
    detections_message,
    objects_message,
    transform_messages,
    transform_objects,
)

_DEPTH = 10  # reliable, volatile: matches best-effort and reliable subscribers


class Publishers:
    """The publishers of one node. Only /tf and /diagnostics are not lifecycle publishers."""

    def __init__(self, node: ResponsiveLifecycleNode) -> None:
        self._detections = node.create_lifecycle_publisher(Detection3DArray, "~/detections", _DEPTH)
        self._objects = node.create_lifecycle_publisher(ObjectPoseArray, "~/objects", _DEPTH)
        self._markers = node.create_lifecycle_publisher(MarkerArray, "~/markers", _DEPTH)
        self._debug_image = node.create_lifecycle_publisher(Image, "~/debug_image", _DEPTH)
        self.selection = SelectionOutputs(node)
        self._broadcaster = TransformBroadcaster(node)
        self.diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", _DEPTH)
        self._marker_builder = MarkerArrayBuilder()
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
        to_target: np.ndarray | None,
        broadcast: bool = True,
    ) -> None:
        """Publish the objects of one image, also if there are none.

        :param header: of the image.
        :param objects: in the camera frame, NOCS axes.
        :param to_target: (4, 4) from the camera frame to ``settings.target_frame``; None to keep the camera frame.
        :param broadcast: False for a repeated stamp, which tf2 ignores with a warning in every listener.
        """
        if to_target is not None:
            header = Header(stamp=header.stamp, frame_id=settings.target_frame)
            objects = transform_objects(objects, to_target)
        objects = convert_axes(objects, settings.object_axes)
        # First, so that ~/select refers to this image as soon as its detections are received.
        self.selection.publish(header, objects, settings.max_age)
        if _has_subscribers(self._detections):
            self._detections.publish(detections_message(header, objects))
        if _has_subscribers(self._objects):
            self._objects.publish(objects_message(header, objects))
        if _has_subscribers(self._markers):
            up_axis = 2 if settings.object_axes == "rep103" else 1
            self._markers.publish(self._marker_builder.message(header, objects, up_axis))
        if broadcast and settings.publish_tf and header.frame_id:
            names = self._frame_names.assign(objects, stamp_seconds(header.stamp))
            self.unnamed_tracks = sum(o.track_id is not None for o in objects) - len(names)
            child_frames = {track_id: f"{settings.tf_prefix}{name}" for track_id, name in names.items()}
            transforms = transform_messages(header, objects, child_frames)
            if transforms:
                self._broadcaster.sendTransform(transforms)

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
            self._markers.publish(self._marker_builder.clear())

    def listeners(self) -> dict[str, int]:
        """Number of subscriptions per output, and of tf child frame names used so far."""
        publishers = {
            "detections": self._detections,
            "objects": self._objects,
            "markers": self._markers,
            "debug_image": self._debug_image,
        }
        listeners = {f"listeners_{name}": publisher.get_subscription_count() for name, publisher in publishers.items()}
        return {**listeners, "tf_names_used": self._frame_names.used}


def _has_subscribers(publisher: Any) -> bool:
    return publisher.get_subscription_count() > 0
