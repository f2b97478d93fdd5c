# SPDX-License-Identifier: Apache-2.0
"""Fill a buffer from the topics /tf and /tf_static."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from tf2_ros.buffer import Buffer
from tf2_ros.exceptions import InvalidArgumentException


class TransformListener:
    """Subscribes with a node and stores all received transforms.

    :param spin_thread: process messages in a separate thread instead of the executor of the node.
    """

    def __init__(
        self,
        buffer: Buffer,
        node: Node,
        *,
        spin_thread: bool = False,
        qos: QoSProfile | None = None,
        static_qos: QoSProfile | None = None,
    ) -> None:
        self.buffer = buffer
        self.node = node
        if qos is None:
            qos = QoSProfile(depth=100, history=HistoryPolicy.KEEP_LAST)
        if static_qos is None:
            static_qos = QoSProfile(
                depth=100, history=HistoryPolicy.KEEP_LAST, durability=DurabilityPolicy.TRANSIENT_LOCAL
            )
        # Reentrant: a callback that waits for a transform must not block its arrival.
        group = ReentrantCallbackGroup()
        self.tf_sub = node.create_subscription(TFMessage, "/tf", self.callback, qos, callback_group=group)
        self.tf_static_sub = node.create_subscription(
            TFMessage, "/tf_static", self.static_callback, static_qos, callback_group=group
        )
        if spin_thread:
            self.executor = SingleThreadedExecutor()
            self.executor.add_node(node)
            self.dedicated_listener_thread = Thread(target=self.executor.spin, daemon=True)
            self.dedicated_listener_thread.start()

    def unregister(self) -> None:
        """Unsubscribe."""
        if hasattr(self, "executor"):
            self.executor.shutdown()
            self.dedicated_listener_thread.join()
        self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)

    def callback(self, data: TFMessage) -> None:
        """Store moving transforms."""
        self._store(data, self.buffer.set_transform)

    def static_callback(self, data: TFMessage) -> None:
        """Store static transforms."""
        self._store(data, self.buffer.set_transform_static)

    def _store(self, data: TFMessage, store: Callable[[TransformStamped, str], None]) -> None:
        for transform in data.transforms:
            try:
                store(transform, "default_authority")
            except InvalidArgumentException as error:
                self.node.get_logger().warning(f"ignored a {error}", throttle_duration_sec=5.0)
