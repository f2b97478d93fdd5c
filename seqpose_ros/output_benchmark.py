# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.output_benchmark``: time to build and publish all outputs of one image.

A second process subscribes to ``detections``, ``objects``, ``markers`` and ``/tf``. The debug image is not included.
Elapsed time depends on other programs; CPU time is that of the publishing thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from seqpose_core import CATEGORIES, ObjectPose
from seqpose_core.command_line import command_parser
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.lifecycle import ResponsiveLifecycleNode
from seqpose_ros.msg import ObjectPoseArray
from seqpose_ros.parameters import Settings
from seqpose_ros.publishers import Publishers

_NODE = "output_benchmark"
_OUTPUTS = {"detections": Detection3DArray, "objects": ObjectPoseArray, "markers": MarkerArray}
_START_TIMEOUT = 120.0  # seconds


def random_objects(count: int) -> list[ObjectPose]:
    """Confirmed tracks with random poses, of all categories in turn."""
    random = np.random.default_rng(0)
    return [
        ObjectPose(
            CATEGORIES[index % len(CATEGORIES)].name,
            0.9,
            Rotation.random(random_state=random).as_matrix(),
            random.uniform(-1, 1, 3),
            random.uniform(0.05, 0.3, 3),
            1e-4 * np.eye(6),
            track_id=index,
        )
        for index in range(count)
    ]


def publish_times(node: ResponsiveLifecycleNode, publishers: Publishers, count: int, images: int) -> np.ndarray:
    """Elapsed and CPU time in milliseconds of each image with ``count`` objects, (images, 2)."""
    objects, settings, times = random_objects(count), Settings(), []
    for index in range(images):
        header = Header(stamp=Time(sec=1000 + index), frame_id="camera")
        begin = time.perf_counter(), time.thread_time()
        publishers.publish(header, objects, settings, target_from_camera=None)
        times.append((time.perf_counter() - begin[0], time.thread_time() - begin[1]))
        time.sleep(0.005)
    return 1e3 * np.array(times)


def listen() -> None:
    """Subscribe to all outputs until the process is terminated."""
    rclpy.init()
    node = Node("listener")
    for name, kind in _OUTPUTS.items():
        node.create_subscription(kind, f"/{_NODE}/{name}", lambda message: None, 10)
    node.create_subscription(TFMessage, "/tf", lambda message: None, 10)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints one row per number of objects."""
    parser = command_parser(__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[6, 20], help="objects per image; default: 6 20")
    parser.add_argument("--images", type=int, default=300, help="measured images per row (default 300)")
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.listen:
        listen()
        return 0
    os.environ.update(private_ros_environment())
    listener = subprocess.Popen([sys.executable, "-m", "seqpose_ros.output_benchmark", "--listen"])
    rclpy.init()
    node = ResponsiveLifecycleNode(_NODE)
    publishers = Publishers(node)
    try:
        node.trigger_configure()
        node.trigger_activate()
        deadline = time.monotonic() + _START_TIMEOUT
        while min(publishers.subscription_counts()[f"listeners_{name}"] for name in (*_OUTPUTS, "tf")) == 0:
            if time.monotonic() > deadline:
                print(f"the subscriber was not discovered within {_START_TIMEOUT:.0f} s", file=sys.stderr)
                return 1
            time.sleep(0.1)
        print(f"{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}")
        print("objects  elapsed p50 ms  p95 ms  CPU p50 ms  p95 ms")
        for count in options.objects:
            p50, p95 = np.percentile(publish_times(node, publishers, count, options.images), (50, 95), axis=0)
            print(f"{count:7d}  {p50[0]:14.2f}  {p95[0]:6.2f}  {p50[1]:10.2f}  {p95[1]:6.2f}", flush=True)
    finally:
        listener.terminate()
        listener.wait()
        node.destroy_node()
        rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
