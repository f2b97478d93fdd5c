# SPDX-License-Identifier: Apache-2.0
"""Publish transforms that are valid at all times on /tf_static."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage


class StaticTransformBroadcaster:
    """Publishes latched transforms with a node: later subscribers receive all transforms sent so far."""

    def __init__(self, node: Node, qos: QoSProfile | None = None) -> None:
        if qos is None:
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.pub_tf = node.create_publisher(TFMessage, "/tf_static", qos)
        self._sent: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped | Sequence[TransformStamped]) -> None:  # noqa: N802 (tf2's name)
        """Publish one transform or several; a child frame sent again replaces its earlier transform."""
        transforms = [transform] if isinstance(transform, TransformStamped) else list(transform)
        self._sent.update({one.child_frame_id: one for one in transforms})
        # Only the last message is latched, so it contains all transforms.
        self.pub_tf.publish(TFMessage(transforms=list(self._sent.values())))
