# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.benchmark``: speed of the node with 640x480 raw images over DDS, beside other programs.

The computer of a robot also runs other programs. The table has the images that the node processed per second, the time
of a step, and the CPU time of the node per image, while 0, 1 and 2 processes use one core each. Images of the bundled
video are published faster than the node can process them. ``OMP_WAIT_POLICY=ACTIVE`` in the environment shows the
effect of spinning OpenMP threads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray

from seqpose_core import threads
from seqpose_core.command_line import command_parser
from seqpose_core.samples import SAMPLE_CAMERA, sample_frames
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.images import image_fields
from seqpose_ros.stamps import stamp_nanoseconds

_START_TIMEOUT = 300.0  # seconds until the node is active; its first start exports the network
_WARM_UP = 3.0  # seconds before each measurement


class BenchmarkError(RuntimeError):
    """The node could not be measured."""


@dataclass(frozen=True)
class Row:
    """One measurement.

    :param threads: of the node. :param busy: number of busy processes. :param sent, processed: images per second.
    :param step_p50_ms, step_p95_ms: time of a step in the last 200 images, by the node's diagnostics.
    :param latency_p50_ms, latency_p95_ms: from the stamp of an image to the publication of its detections.
    :param cpu_ms: CPU time of the node's process per processed image; it also receives images that it drops.
    :param load: load average at the end.
    """

    threads: int
    busy: int
    sent: float
    processed: float
    step_p50_ms: float
    step_p95_ms: float
    latency_p50_ms: float
    latency_p95_ms: float
    cpu_ms: float
    load: float


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run ``count`` processes that use one core each."""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class ImageSource(Node):
    """Publishes images at a fixed rate, and records the detections and diagnostics of the node."""

    def __init__(self, rate: float) -> None:
        super().__init__("benchmark")
        self.sent = 0
        self.latencies: list[float] = []
        self.values: dict[str, str] = {}
        self._messages = [Image(**image_fields(image)) for image, _, _ in sample_frames()]
        self._image = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self._info = self.create_publisher(CameraInfo, "camera_info", 10)
        k = [float(value) for value in SAMPLE_CAMERA.matrix.ravel()]
        self._camera_info = CameraInfo(width=SAMPLE_CAMERA.width, height=SAMPLE_CAMERA.height, k=k)
        self.create_subscription(Detection3DArray, "/seqpose_node/detections", self._on_detections, 100)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.create_timer(1 / rate, self._publish)

    def _publish(self) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id="camera")
        message = self._messages[self.sent % len(self._messages)]
        message.header = self._camera_info.header = header
        self._info.publish(self._camera_info)
        self._image.publish(message)
        self.sent += 1

    def _on_detections(self, message: Detection3DArray) -> None:
        now = self.get_clock().now().nanoseconds
        self.latencies.append((now - stamp_nanoseconds(message.header.stamp)) * 1e-6)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.values = {value.key: value.value for value in message.status[0].values}

    def spin_for(self, seconds: float) -> float:
        """Publish and receive for a time; returns the seconds that it took."""
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            rclpy.spin_once(self, timeout_sec=0.01)
        return time.monotonic() - begin


def measure(source: ImageSource, node: subprocess.Popen[bytes], busy: int, seconds: float) -> Row:
    """Measure the running node for some seconds beside ``busy`` other processes."""
    with busy_processes(busy):
        source.spin_for(_WARM_UP)
        source.sent, source.latencies, cpu = 0, [], cpu_seconds(node.pid)
        elapsed = source.spin_for(seconds)
        cpu, processed = cpu_seconds(node.pid) - cpu, len(source.latencies)
        source.spin_for(1.1)  # the next diagnostics
    p50, p95 = np.percentile(source.latencies[:processed] or [np.nan], (50, 95))
    return Row(
        int(source.values["threads"]),
        busy,
        round(source.sent / (elapsed + 1.1), 1),
        round(processed / elapsed, 1),
        float(source.values["inference_p50_ms"]),
        float(source.values["inference_p95_ms"]),
        round(float(p50), 1),
        round(float(p95), 1),
        round(1e3 * cpu / max(processed, 1), 1),
        round(os.getloadavg()[0], 1),
    )


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints one row per number of busy processes."""
    parser = command_parser(__doc__)
    parser.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name, folder or file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runtime", default="default", help="as the node's parameter (%(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="CPU threads of the node; default: 1")
    parser.add_argument(
        "--busy",
        "--neighbours",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        help="numbers of busy processes; default: 0 1 2",
    )
    parser.add_argument("--rate", type=float, default=60.0, help="images published per second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a measurement (%(default)s)")
    parser.add_argument("--out", type=Path, help="also write the rows to this JSON file")
    options = parser.parse_args(arguments)
    for name in ("threads", "rate", "seconds"):
        if not np.min(getattr(options, name)) > 0:
            parser.error(f"--{name} is {getattr(options, name)}; it must be more than 0")
    os.environ.update(private_ros_environment())
    rclpy.init()
    rows: list[Row] = []
    try:
        for count in options.threads:
            rows += run(options, count)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.shutdown()
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        report = {"checkpoint": options.checkpoint, "device": options.device, "rows": [asdict(row) for row in rows]}
        options.out.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return 0


def run(options: argparse.Namespace, count: int) -> list[Row]:
    """Start a node with ``count`` threads, measure it beside busy processes, and print the rows.

    :raises BenchmarkError: if the node does not start.
    """
    parameters = {name: getattr(options, name) for name in ("checkpoint", "device", "runtime")} | {"threads": count}
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    node = subprocess.Popen([sys.executable, "-m", "seqpose_ros.node", "--ros-args", "--log-level", "warn", *given])
    source = ImageSource(options.rate)
    rows = []
    try:
        deadline = time.monotonic() + _START_TIMEOUT
        while not source.latencies:
            if node.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"seqpose_node did not become active within {_START_TIMEOUT:.0f} s")
            source.spin_for(0.5)
        source.spin_for(1.1)
        print(f"{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}, {options.checkpoint} in ", end="")
        print(f"{source.values['runtime']}, {count} threads, OpenMP wait policy {threads.wait_policy()}")
        print("busy  sent/s  processed/s  step p50 ms  p95 ms  latency p50 ms  p95 ms  CPU ms/image  load")
        for busy in options.busy:
            rows.append(row := measure(source, node, busy, options.seconds))
            print(
                f"{busy:4d}  {row.sent:6.1f}  {row.processed:11.1f}  {row.step_p50_ms:11.1f}  {row.step_p95_ms:6.1f}  "
                f"{row.latency_p50_ms:14.1f}  {row.latency_p95_ms:6.1f}  {row.cpu_ms:12.1f}  {row.load:4.1f}",
                flush=True,
            )
    finally:
        source.destroy_node()
        if node.poll() is None:
            node.send_signal(signal.SIGINT)
            node.wait()
    return rows


if __name__ == "__main__":
    sys.exit(main())
