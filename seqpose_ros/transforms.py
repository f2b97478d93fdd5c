# SPDX-License-Identifier: Apache-2.0
"""Look up tf transforms at the stamp of an image."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from tf2_ros import Buffer, InvalidArgumentException, TransformException, TransformListener

from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import matrix_from_transform


class TransformLookup:
    """A tf buffer and listener. The executor of the node must spin.

    A jump back of the node's clock (a bag is replayed with simulated time) clears the buffer.
    """

    def __init__(self, node: Node) -> None:
        # Not Buffer(node=node), which would leave its service and its jump callback in the node after close().
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)
        # The clock has a pointer to the handle, not a reference: it must be unregistered before it is freed.
        self._jump_handle = node.get_clock().create_jump_callback(threshold, post_callback=lambda jump: self.clear())

    def lookup(self, target: str, source: str, stamp: Time) -> np.ndarray:
        """Transform from frame ``source`` to frame ``target`` at a time, without waiting.

        :return: (4, 4).
        :raises InputError: the transform is not available.
        """
        try:
            return matrix_from_transform(self._buffer.lookup_transform(target, source, stamp).transform)
        except TransformException as error:
            text = f"no transform from {source!r} to {target!r} at the image's time: {error}"
            raise InputError("transform", text) from error

    def may_arrive(self, target: str, source: str, stamp: Time) -> bool:
        """Whether the transform is not available now but may become available."""
        try:
            self._buffer.lookup_transform(target, source, stamp)
        except InvalidArgumentException:
            return False
        except TransformException:
            return True
        return False

    def clear(self) -> None:
        """Remove all transforms that are not static."""
        self._buffer.clear()

    def close(self) -> None:
        """Unsubscribe from tf and from jumps of the clock."""
        self._listener.unregister()
        self._jump_handle.unregister()
