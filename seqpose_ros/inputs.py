# SPDX-License-Identifier: Apache-2.0
"""The subscriptions of one camera: images and camera_info, and the explanation if they do not arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from seqpose_ros import missing_images
from seqpose_ros.diagnostics import NodeDiagnostics
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import camera_from_info, camera_warnings
from seqpose_ros.parameters import Settings
from seqpose_ros.pipeline import ImageWithInfo
from seqpose_ros.subscriptions import SubscriptionError, subscribe

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

# A camera_info that was published once before the node started.
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def sensor_data() -> QoSProfile:
    """Sensor data QoS of REP 2003 (best effort matches every publisher) with depth 1: only the newest message.

    A new profile for each subscription: rclpy writes overrides by parameters into the profile that it is given.
    """
    return QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)


class CameraInputs:
    """Subscriptions from activation to deactivation; each image is passed on with the newest valid camera_info.

    :param on_image: called for every image in the executor; it must not block.
    :raises SubscriptionError: a topic cannot be subscribed to.
    """

    def __init__(
        self,
        node: Node,
        settings: Settings,
        diagnostics: NodeDiagnostics,
        on_image: Callable[[ImageWithInfo], None],
    ) -> None:
        self._node, self._settings, self._diagnostics, self._forward = node, settings, diagnostics, on_image
        self._compressed = settings.image_transport == "compressed"
        self._camera_info: CameraInfo | None = None
        self._base = node.resolve_topic_name("image")
        # As in image_transport: the base topic is remapped, then the name of the transport is appended.
        image = self._base + ("/compressed" if self._compressed else "")
        kind = CompressedImage if self._compressed else Image
        on_incompatible = SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos)
        # Without reports of incompatible QoS: most publishers are volatile and matched by the first subscription.
        no_events = SubscriptionEventCallbacks(use_default_callbacks=False)
        overriding = QoSOverridingOptions.with_default_policies()
        self._info_topic, self._image_topic = map(node.resolve_topic_name, ("camera_info", image))
        self._subscriptions: list[Subscription] = []
        try:
            for message, topic, callback in (
                (CameraInfo, "camera_info", self._on_camera_info),
                (kind, image, self._on_image),
            ):
                options = {"event_callbacks": on_incompatible, "qos_overriding_options": overriding}
                self._subscriptions.append(subscribe(node, message, topic, callback, sensor_data(), **options))
            self._subscriptions.append(
                subscribe(node, CameraInfo, "camera_info", self._on_camera_info, LATCHED, event_callbacks=no_events)
            )
        except SubscriptionError:
            self.close()
            raise
        # Parameters may override the QoS. Kept, because the subscriptions may end while a report is made.
        self._info_qos, self._image_qos = (subscription.qos_profile for subscription in self._subscriptions[:2])

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def explain_missing_messages(self) -> str:
        """What the node waits for, and why it may not arrive."""
        publishers = self._node.get_publishers_info_by_topic
        kind = missing_images.COMPRESSED if self._compressed else missing_images.IMAGE
        missing = [missing_images.explain_topic(self._image_topic, kind, publishers, self._image_qos)]
        if self._camera_info is None:
            kind = missing_images.CAMERA_INFO
            missing.append(missing_images.explain_topic(self._info_topic, kind, publishers, self._info_qos))
        text = f"waiting for {' and '.join(missing)}"
        hint = missing_images.suggest_transport(self._base, self._compressed, publishers)
        unexplained = missing[0].endswith("publishers)") and publishers(self._image_topic)
        if not hint and not self._compressed and unexplained:
            hint = missing_images.explain_size(self._camera_info)
        return f"{text}; {hint}" if hint else text

    def explain_shared_topics(self) -> str:
        """Which of the camera's topics have several publishers, or ""."""
        names = (self._image_topic, self._info_topic)
        counts = {name: len(self._node.get_publishers_info_by_topic(name)) for name in names}
        shared = [f"{topic} has {count} publishers" for topic, count in counts.items() if count > 1]
        return f"{' and '.join(shared)}, whose messages are mixed; remap all but one" if shared else ""

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            camera = camera_from_info(message, self._settings.rectified)
        except InputError as error:  # the last valid camera_info is kept
            self._diagnostics.report_problem(error.kind, str(error), lasting=True)
            return
        self._diagnostics.resolve("camera_info")
        if self._camera_info is None:
            for text in camera_warnings(self._base, message, camera, self._settings.rectified):
                self._node.get_logger().warning(text)
        self._camera_info = message

    def _on_image(self, message: Image | CompressedImage) -> None:
        now = self._node.get_clock().now().nanoseconds * 1e-9
        self._diagnostics.image_received()
        self._forward(ImageWithInfo(message, self._camera_info, now, time.monotonic()))

    def _on_incompatible_qos(self, event: Any) -> None:
        topics, policy = f"{self._info_topic} or {self._image_topic}", event.last_policy_kind
        text = f"no messages from a publisher of {topics}: it offers an incompatible QoS ({policy})"
        self._diagnostics.report_problem("qos", text)
