# SPDX-License-Identifier: Apache-2.0
"""Publish moving transforms on /tf."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage


class TransformBroadcaster:
    """Publishes transforms with a node."""

    def __init__(self, node: Node, qos: QoSProfile | None = None) -> None:
        self.pub_tf = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100) if qos is None else qos)

    def sendTransform(self, transform: TransformStamped | Sequence[TransformStamped]) -> None:  # noqa: N802 (tf2's name)
        """Publish one transform or several in one message."""
        transforms = [transform] if isinstance(transform, TransformStamped) else list(transform)
        self.pub_tf.publish(TFMessage(transforms=transforms))
