# SPDX-License-Identifier: Apache-2.0
"""Where frames are at the time of an image, asked of tf."""

from __future__ import annotations

import time

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from tf2_ros import Buffer, TransformException, TransformListener

from seqpose_ros.errors import InputError
from seqpose_ros.inputs import transform_from_message

# An image and the transform of its stamp come from different processes: the image may win by a little.
PATIENCE = 0.05  # seconds
_POLL = 0.002  # seconds


class Frames:
    """Listens to /tf and /tf_static for a node, whose executor must be spinning in another thread."""

    def __init__(self, node: Node) -> None:
        self._buffer = Buffer(node=node)
        self._listener = TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str, stamp: Time) -> np.ndarray:
        """Transform of points in ``source`` to ``target`` at a time.

        :return: (4, 4).
        :raises InputError: if tf does not know it within :data:`PATIENCE` of wall time. (tf's own
            time-out counts the node's clock, which stands still while a replay is paused.)
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return transform_from_message(self._buffer.lookup_transform(target, source, stamp).transform)
            except TransformException as error:
                if time.monotonic() > deadline:
                    raise InputError(
                        "transform",
                        f"no transform from {source!r} to {target!r} at the image's time: {error}",
                    ) from error
                time.sleep(_POLL)

    def close(self) -> None:
        """Stop listening."""
        self._listener.unregister()
