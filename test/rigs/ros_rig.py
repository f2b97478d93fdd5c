# SPDX-License-Identifier: Apache-2.0
"""A ROS client for tests, and the node in the process of the test or in its own process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from seqpose_core import CATEGORIES, Camera, EstimatorOptions, ObjectPose
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.images import image_fields
from seqpose_ros.lifecycle import EXECUTOR_THREADS
from seqpose_ros.stamps import stamp_seconds

TIMEOUT = 240.0  # seconds until a wait fails
SETTLED = 0.6  # seconds within which a published message arrives
DEEP = QoSProfile(depth=2000)
CAMERA = Camera(90.0, 92.0, 31.0, 23.0, 64, 48)


STAMP = 1234.567890123  # seconds


class FakeEstimator:
    """Records its inputs and returns `objects`."""

    def __init__(self, objects: Sequence[ObjectPose] = ()) -> None:
        self.objects = list(objects)
        self.steps: list[dict[str, Any]] = []
        self.resets = 0
        self.memory_queries = 0
        self.runtime = "eager"
        self.categories = CATEGORIES
        self.options = EstimatorOptions()
        self.fault: Exception | None = None
        self.free = threading.Event()
        self.free.set()

    def step(
        self,
        image: np.ndarray,
        camera: Camera,
        stamp: float | None = None,
        camera_pose: np.ndarray | None = None,
        **given: Any,
    ) -> list[ObjectPose]:
        step = {"image": image.copy(), "camera": camera, "stamp": stamp, "camera_pose": camera_pose, **given}
        self.steps.append(step)
        self.free.wait(TIMEOUT)
        if self.fault is not None:
            raise self.fault
        return self.objects

    def reset(self) -> None:
        self.resets += 1

    def configure(self, options: EstimatorOptions) -> None:
        self.options = options


class Client:
    """Publishes a camera and subscribes to the outputs of the node. Spins only while it waits."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node("client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.image = self.node.create_publisher(Image, "image", 10)
        self.info = self.node.create_publisher(CameraInfo, "camera_info", 10)
        self.detections = self.listen(Detection3DArray, "/seqpose_node/detections")
        self.diagnostics = self.listen(DiagnosticArray, "/diagnostics")

    def listen(self, kind: type, topic: str, qos: QoSProfile = DEEP) -> list[Any]:
        """Subscribe; returns a list to which received messages are appended."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def until(self, done: Callable[[], Any], what: str) -> None:
        """Spin until `done` returns true.

        :raises AssertionError: after TIMEOUT.
        """
        deadline = time.monotonic() + TIMEOUT
        while not done():
            assert time.monotonic() < deadline, f"waited {TIMEOUT} s for {what}"
            self.executor.spin_once(timeout_sec=0.02)

    def connect(self) -> None:
        """Wait until node and client have discovered each other's subscriptions."""
        self.until(lambda: self.image.get_subscription_count() and self.info.get_subscription_count(), "the node")
        self.until(lambda: self.values().get("listeners_detections", "0") != "0", "the node's detections")

    def tf_publisher(self) -> Any:
        """A publisher on /tf, once the node listens to it."""
        publisher = self.node.create_publisher(TFMessage, "/tf", 100)
        self.until(publisher.get_subscription_count, "the tf listener of the node")
        return publisher

    def values(self) -> dict[str, str]:
        """The latest diagnostics of the node."""
        return {v.key: v.value for v in self.diagnostics[-1].status[0].values} if self.diagnostics else {}

    def call(self, kind: type, name: str, request: Any) -> Any:
        """Call a service and wait for the response."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"the service {name}")
        future = client.call_async(request)
        self.until(future.done, f"the response of {name}")
        self.node.destroy_client(client)
        return future.result()

    def send_info(self, camera: Camera = CAMERA, stamp: float = 0.0) -> None:
        self.info.publish(info_message(camera, stamp))

    def send_image(self, picture: np.ndarray, stamp: float) -> None:
        self.image.publish(Image(header=header(stamp), **image_fields(picture)))

    def send(self, picture: np.ndarray, stamp: float) -> Any:
        """Publish one image and wait for the detections with its stamp."""
        self.send_image(picture, stamp)
        expected = header(stamp)
        self.until(lambda: self.detections and self.detections[-1].header == expected, "detections")
        return self.detections[-1]

    def send_first(self, picture: np.ndarray, stamp: float) -> Any:
        """Publish camera_info and an image until the node has received both and published detections."""
        self.until(lambda: self.info.get_subscription_count(), "the node's subscription to camera_info")
        while not self.detections:
            self.send_info()
            self.send_image(picture, stamp)
            self.executor.spin_once(timeout_sec=0.2)
        return self.detections[-1]

    def counts(self) -> dict[str, int]:
        """The image counts of the node, once they have not changed for SETTLED, so that no image is in transit."""

        def report(message: DiagnosticArray) -> dict[str, int]:
            return {v.key: int(v.value) for v in message.status[0].values if v.key.startswith("images_")}

        def is_settled() -> bool:
            last = report(self.diagnostics[-1]) if self.diagnostics else None
            times = [stamp_seconds(m.header.stamp) for m in self.diagnostics if report(m) == last]
            return bool(times) and times[-1] - times[0] >= SETTLED

        self.diagnostics.clear()
        self.until(is_settled, f"equal image counts for {SETTLED} s")
        return report(self.diagnostics[-1])

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


class InProcess:
    """A node in this process, spinning in a thread.

    :param create: returns the node for ``context`` and ``parameter_overrides``. :param threads: of the executor.
    """

    def __init__(self, create: Callable[..., Any], threads: int = EXECUTOR_THREADS, **parameters: Any) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = create(context=self.context, parameter_overrides=overrides)
        self.executor = MultiThreadedExecutor(threads, context=self.context)
        self.executor.add_node(self.node)
        self.fault: BaseException | None = None  # that ended the executor before close()
        self.closing = False
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()

    def _spin(self) -> None:
        while True:
            try:
                self.executor.spin()
            except InvalidHandle:  # a subscription was destroyed, see spin_until_finished
                continue
            except ExternalShutdownException:
                pass
            except BaseException as fault:  # during close(): a callback cannot be submitted any more
                self.fault = None if self.closing else fault
            return

    def close(self) -> None:
        self.closing = True
        self.executor.shutdown()
        self.thread.join()
        self.node.destroy_node()
        self.context.try_shutdown()
        # rclpy destroys the services of a lifecycle node with their objects, which the traceback of a failed test keeps
        # alive through the node: a later client must not discover them.
        vars(self.node).clear()
        del self.node, self.executor
        gc.collect()
        if self.fault is not None:
            raise AssertionError("a fault ended the executor of the node") from self.fault


class Process:
    """``python -m seqpose_ros.node`` in its own process, with its log."""

    def __init__(self, log: Path, *parameters: str) -> None:
        self.log_file = log
        given = [item for parameter in parameters for item in ("-p", parameter)]
        command = [sys.executable, "-m", "seqpose_ros.node", "--ros-args", *given]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def resident_bytes(self) -> int:
        """Resident memory of the process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """Send SIGINT (Ctrl-C); returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def restore_ros_environment(patch: pytest.MonkeyPatch) -> None:
    """Restore the environment variables of a replay after the test."""
    patch.setenv("OMP_NUM_THREADS", "1")
    for name in private_ros_environment():
        patch.setenv(name, "1")


def mug(track_id: int | None = 7) -> ObjectPose:
    rotation = Rotation.from_euler("xyz", [0.3, -0.2, 1.0]).as_matrix()
    covariance = np.diag([1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4])
    translation, size = np.array([0.1, -0.2, 0.9]), np.array([0.12, 0.1, 0.08])
    return ObjectPose("mug", 0.75, rotation, translation, size, covariance, track_id, 4)


def header(stamp: float, frame_id: str = "camera") -> Header:
    nanoseconds = round(stamp * 1e9)
    return Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9), frame_id=frame_id)


def info_message(camera: Camera, stamp: float = 0.0) -> CameraInfo:
    message = CameraInfo(header=header(stamp), width=camera.width, height=camera.height)
    message.distortion_model, message.d = "plumb_bob", list(camera.distortion or ())
    message.k = camera.matrix.ravel()
    message.p = np.hstack([camera.matrix, np.zeros((3, 1))]).ravel()
    return message


def picture(seed: int = 0, camera: Camera = CAMERA) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (camera.height, camera.width, 3), dtype=np.uint8)
