# SPDX-License-Identifier: Apache-2.0
"""The registered depth images of a camera: subscription, decoding, and the one at the stamp of an image."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from seqpose_core import Camera
from seqpose_ros.errors import InputError, quote
from seqpose_ros.stamps import stamp_nanoseconds
from seqpose_ros.subscriptions import subscribe

#: Nanoseconds between the stamps of a colour image and of its depth image.
TOLERANCE = 20_000_000
#: Nanoseconds. A depth image that is later than the colour image by less than this shows that none with its stamp will
#: come; one that is later by more was received before the stamps jumped back.
_JUMP = 1_000_000_000
_KEPT = 8
_QOS = QoSProfile(depth=_KEPT, reliability=ReliabilityPolicy.BEST_EFFORT)
#: encoding: samples, and metres per unit.
_ENCODINGS = {"16UC1": ("u2", 1e-3), "mono16": ("u2", 1e-3), "32FC1": ("f4", 1.0)}


class DepthInput:
    """Keeps the newest depth images of the topic ``depth``. The executor of the node must spin."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._condition = threading.Condition()
        self._messages: deque[Image] = deque(maxlen=_KEPT)
        self._subscription = subscribe(node, Image, "depth", self._on_depth, _QOS)

    def at(self, stamp: Time, camera: Camera, timeout: float) -> np.ndarray:
        """The depth image at the stamp of a colour image.

        :param camera: of the colour image. :param timeout: seconds of wall time to wait for the depth image; it is not
            waited for if a later one has arrived.
        :return: (H, W) float32, metres, 0 or NaN where unknown.
        :raises InputError: none arrived in time, or it cannot be used.
        """
        expected, deadline = stamp_nanoseconds(stamp), time.monotonic() + timeout
        with self._condition:
            while (message := self._nearest(expected)) is None:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self._is_missed(expected):
                    topic = self._subscription.topic_name
                    text = f"no depth image on {topic} within {TOLERANCE / 1e6:g} ms of the image's stamp"
                    raise InputError("depth", text)
                self._condition.wait(remaining)
        depth = decode_depth(message)
        if depth.shape != (camera.height, camera.width):
            size = f"{depth.shape[1]}x{depth.shape[0]}"
            text = f"the depth image is {size} but the image is {camera.width}x{camera.height}"
            raise InputError("depth", f"{text}; publish depth that is registered to the image")
        return depth

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _is_missed(self, stamp: int) -> bool:
        """Whether a later depth image has arrived: the one at ``stamp`` was dropped, or depth has a lower rate."""
        return any(TOLERANCE < stamp_nanoseconds(m.header.stamp) - stamp < _JUMP for m in self._messages)

    def _on_depth(self, message: Image) -> None:
        with self._condition:
            self._messages.append(message)
            self._condition.notify_all()

    def _nearest(self, stamp: int) -> Image | None:
        def difference(message: Image) -> int:
            return abs(stamp_nanoseconds(message.header.stamp) - stamp)

        nearest = min(self._messages, key=difference, default=None)
        return nearest if nearest is not None and difference(nearest) <= TOLERANCE else None


def decode_depth(message: Any) -> np.ndarray:
    """Depth (H, W) float32 in metres of a sensor_msgs/Image: 16UC1 in millimetres or 32FC1 in metres (REP 118).

    :raises InputError: another encoding, or too few bytes.
    """
    if message.encoding not in _ENCODINGS:
        known = "16UC1 (millimetres) or 32FC1 (metres)"
        raise InputError("depth", f"the depth image has encoding {quote(message.encoding)}; it must be {known}")
    kind, unit = _ENCODINGS[message.encoding]
    row = message.width * np.dtype(kind).itemsize
    if message.step < row or len(message.data) < message.height * message.step or row == 0:
        size = f"{message.width}x{message.height}"
        raise InputError("depth", f"the depth image of {size} with step {message.step} has {len(message.data)} bytes")
    rows = np.frombuffer(message.data, np.uint8, message.height * message.step).reshape(message.height, message.step)
    samples = np.ascontiguousarray(rows[:, :row]).view((">" if message.is_bigendian else "<") + kind)
    return samples.astype(np.float32) * np.float32(unit)
