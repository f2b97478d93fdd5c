# SPDX-License-Identifier: Apache-2.0
"""Look up tf transforms at the stamp of an image."""

from __future__ import annotations

import time

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from tf2_ros import Buffer, TransformException, TransformListener

from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import transform_from_message

_POLL_PERIOD = 0.002  # seconds


class TransformLookup:
    """A tf buffer and listener. The executor of the node must spin in another thread than :meth:`lookup`."""

    def __init__(self, node: Node) -> None:
        self._buffer = Buffer(node=node)
        self._listener = TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str, stamp: Time, timeout: float) -> np.ndarray:
        """Transform from frame ``source`` to frame ``target`` at a time.

        :param timeout: seconds of wall time to wait for the transform: the image may arrive before it. (The timeout of
            tf2 uses the node's clock, which stops while a replay is paused.)
        :return: (4, 4).
        :raises InputError: the transform is not available in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return transform_from_message(self._buffer.lookup_transform(target, source, stamp).transform)
            except TransformException as error:
                if time.monotonic() > deadline:
                    raise InputError(
                        "transform",
                        f"no transform from {source!r} to {target!r} at the image's time: {error}",
                    ) from error
                time.sleep(_POLL_PERIOD)

    def close(self) -> None:
        """Unsubscribe."""
        self._listener.unregister()
