# SPDX-License-Identifier: Apache-2.0
"""The node in its own process, and a client that publishes a camera and records the outputs of the node."""

from __future__ import annotations

import array
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from seqpose_core import Camera
from seqpose_ros.diagnostics import is_status_of
from seqpose_ros.images import image_fields
from seqpose_ros.stamps import stamp_nanoseconds

NODE = "/seqpose_node"
FRAME, WORLD = "camera", "world"
START_TIMEOUT, STOP_TIMEOUT = 180.0, 60.0  # seconds
_DEEP = QoSProfile(depth=1000)
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class StressError(RuntimeError):
    """The node did not start or ended; the message has the end of its log."""


class NodeProcess:
    """``seqpose_node`` in its own process.

    :param log: file for its output. :param parameters: values by name.
    """

    def __init__(self, log: Path, parameters: dict[str, Any]) -> None:
        self._log_file = log
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "seqpose_ros.node", "--ros-args", *given], stdout=output, stderr=output
            )

    @property
    def log(self) -> str:
        """Everything that the node has logged."""
        return self._log_file.read_text(errors="replace")

    def check_running(self) -> None:
        """:raises StressError: the process has ended."""
        if self._process.poll() is not None:
            raise StressError(f"the node ended with exit status {self._process.returncode}: {self.log[-2000:]}")

    def resident_megabytes(self) -> float:
        """Resident memory."""
        self.check_running()
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> int:
        """End the process as Ctrl-C does; returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Client:
    """Publishes images, camera_info and tf, and records detections, tf child frames and diagnostics."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = Node("stress_client")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._image = self.node.create_publisher(Image, "image", _RELIABLE)
        self._info = self.node.create_publisher(CameraInfo, "camera_info", _RELIABLE)
        self._tf = self.node.create_publisher(TFMessage, "/tf", _DEEP)
        self.sent: set[int] = set()  # stamps of all published images, nanoseconds
        self.received: list[int] = []  # stamps of all detections
        self.tf_frames: set[str] = set()
        self.diagnostics: dict[str, str] = {}
        self.node.create_subscription(Detection3DArray, f"{NODE}/detections", self._on_detections, _DEEP)
        self.node.create_subscription(TFMessage, "/tf", self._on_tf, _DEEP)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, _DEEP)

    def _on_detections(self, message: Detection3DArray) -> None:
        self.received.append(stamp_nanoseconds(message.header.stamp))

    def _on_tf(self, message: TFMessage) -> None:
        self.tf_frames |= {t.child_frame_id for t in message.transforms if t.child_frame_id != FRAME}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if is_status_of(status, NODE):
                self.diagnostics = {v.key: v.value for v in status.values} | {"message": status.message}

    def spin(self, seconds: float) -> None:
        """Receive messages for a time."""
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=remaining)

    def until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Receive messages until ``done`` returns true; returns False after ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while not done():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.01)
        return True

    def connect(self, process: NodeProcess) -> None:
        """Wait until the node is active and both sides have discovered each other.

        :raises StressError: it takes too long.
        """

        def is_ready() -> bool:
            process.check_running()
            found = self._image.get_subscription_count() and self._info.get_subscription_count()
            return bool(found) and self.diagnostics.get("listeners_detections", "0") != "0"

        if not self.until(is_ready, START_TIMEOUT):
            raise StressError(f"the node was not active within {START_TIMEOUT:.0f} s: {process.log[-2000:]}")

    def publish_image(self, image: Image) -> int:
        """Publish an image; returns its stamp in nanoseconds."""
        stamp = stamp_nanoseconds(image.header.stamp)
        self.sent.add(stamp)
        self._image.publish(image)
        return stamp

    def publish_info(self, message: CameraInfo) -> None:
        self._info.publish(message)

    def publish_camera_pose(self) -> None:
        """Publish the camera at the origin of the world, now."""
        transform = TransformStamped(header=self.header(WORLD), child_frame_id=FRAME)
        transform.transform.rotation.w = 1.0
        self._tf.publish(TFMessage(transforms=[transform]))

    def header(self, frame: str = FRAME) -> Header:
        """A header with the current time."""
        return Header(stamp=self.node.get_clock().now().to_msg(), frame_id=frame)

    def answered(self, stamp: int, timeout: float) -> bool:
        """Whether detections with this stamp arrive in time."""
        return self.until(lambda: bool(self.received) and stamp in self.received[-20:], timeout)

    def call(self, kind: type, service: str, request: Any, timeout: float = 30.0) -> Any:
        """Call a service of the node; None if there is no answer."""
        client = self.node.create_client(kind, f"{NODE}/{service}")
        try:
            if not client.wait_for_service(timeout):
                return None
            future = client.call_async(request)
            self.until(future.done, timeout)
            return future.result() if future.done() else None
        finally:
            self.node.destroy_client(client)

    def final_diagnostics(self) -> dict[str, str]:
        """Diagnostics after all images were processed."""
        self.spin(2.5)
        return self.diagnostics

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()


def image_message(header: Header, pixels: np.ndarray) -> Image:
    """sensor_msgs/Image of RGB pixels (H, W, 3)."""
    fields = image_fields(pixels)
    fields["data"] = array.array("B", fields["data"])  # rclpy converts bytes element by element
    return Image(header=header, **fields)


def info_message(header: Header, camera: Camera) -> CameraInfo:
    """sensor_msgs/CameraInfo of a pinhole camera."""
    matrix = camera.matrix
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=matrix.ravel(),
        p=np.hstack([matrix, np.zeros((3, 1))]).ravel(),
    )


def time_message(nanoseconds: int) -> Time:
    """builtin_interfaces/Time."""
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def slope_with_interval(times: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Slope of a line through (times, values), and half of its 95 % interval.

    The values are averaged in 10 consecutive blocks first, because neighbouring samples are correlated.
    """
    from scipy.stats import linregress, t

    blocks = [np.array_split(np.asarray(data, np.float64), 10) for data in (times, values)]
    x, y = (np.array([block.mean() for block in data]) for data in blocks)
    fit = linregress(x, y)
    return float(fit.slope), float(t.ppf(0.975, len(x) - 2) * fit.stderr)
