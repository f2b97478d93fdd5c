# SPDX-License-Identifier: Apache-2.0
"""Replay a bag through the node: node and player run as separate processes, and the node's output is recorded."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from seqpose_core import CATEGORIES, Category, ObjectPose
from seqpose_ros.diagnostics import is_status_of
from seqpose_ros.from_messages import objects_from_detections
from seqpose_ros.stamps import stamp_nanoseconds

START_TIMEOUT = 120.0  # seconds without diagnostics of the node until its start has failed
LOAD_TIMEOUT = 900.0  # seconds for the node to load its model, which compiles it on the first use, and to be discovered
DRAIN_TIMEOUT = 60.0  # seconds for the node to process the last message
STOP_TIMEOUT = 30.0  # seconds for a process to exit after SIGINT


class ReplayError(RuntimeError):
    """The replay failed. The message names the failed part and the reason."""


@dataclass
class Recording:
    """Output of the node: objects and latency (seconds) by image stamp (nanoseconds), tf child frames, diagnostics."""

    objects: dict[int, list[ObjectPose]] = field(default_factory=dict)
    latency: dict[int, float] = field(default_factory=dict)
    tf_frames: set[str] = field(default_factory=set)
    diagnostics: dict[str, str] = field(default_factory=dict)


class Recorder(Node):
    """Records the outputs of one ``seqpose_node``.

    :param categories: of the node's checkpoint. :param tf: the topic that its /tf is remapped to.
    """

    def __init__(
        self, node_name: str, context: Context, categories: Sequence[Category] = CATEGORIES, tf: str = "/tf"
    ) -> None:
        super().__init__("seqpose_recorder", context=context)
        self.recording = Recording()
        self._node_name, self._categories = node_name, categories
        self._frame_id: str | None = None
        # A deep queue, so that no message is lost while this process is slow.
        deep = QoSProfile(depth=1000)
        on_detections: Any = self._on_detections  # rclpy passes the message info to a callback with two arguments
        self.create_subscription(Detection3DArray, f"{node_name}/detections", on_detections, deep)
        self.create_subscription(TFMessage, tf, self._on_transforms, deep)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, deep)

    def _on_detections(self, message: Detection3DArray, info: dict[str, int]) -> None:
        stamp = stamp_nanoseconds(message.header.stamp)
        self._frame_id = message.header.frame_id
        self.recording.objects[stamp] = objects_from_detections(message.detections, self._categories)
        self.recording.latency[stamp] = (info["source_timestamp"] - stamp) * 1e-9

    def _on_transforms(self, message: TFMessage) -> None:
        for transform in message.transforms:
            if transform.header.frame_id == self._frame_id:
                self.recording.tf_frames.add(transform.child_frame_id)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if is_status_of(status, self._node_name):
                self.recording.diagnostics = {v.key: v.value for v in status.values} | {"message": status.message}


def run(
    bag: Path,
    image: str,
    camera_info: str,
    compressed: bool,
    parameters: dict[str, Any],
    rate: float,
    report: Path,
    categories: Sequence[Category] = CATEGORIES,
    transforms: Sequence[str] = (),
    log: Callable[[str], None] = print,
) -> Recording:
    """Replay ``bag`` into a ``seqpose_node`` and record what it publishes.

    :param image: the recorded image topic. :param compressed: whether its type is CompressedImage.
    :param parameters: of the node.
    :param report: file for the player's report.
    :param categories: of the node's checkpoint.
    :param transforms: recorded topics named tf and tf_static, if they are in a namespace.
    :raises ReplayError: a process died or was not ready in time, or the node exited with an error.
    """
    arguments = _remappings(image, camera_info, compressed, transforms)
    for name, value in {**parameters, "image_transport": "compressed" if compressed else "raw"}.items():
        arguments += ["-p", f"{name}:={value}"]
    tf = next((topic for topic in transforms if topic.endswith("/tf")), "/tf")
    with _recorder(categories, tf) as (recorder, spin_once):
        node = _start("seqpose_ros.node", ["--ros-args", *arguments])
        try:
            log("waiting for the node to load its model")
            _wait_until_ready(spin_once, recorder.recording, node)
            log(f"replaying {bag} at {rate:g} times its recorded rate")
            player = _start(
                "seqpose_ros.bags.player",
                [str(bag), "--rate", str(rate), "--restamp", "--report", str(report)]
                # Outputs of a node that ran while the bag was recorded would be recorded as those of this one.
                + ["--wait-for", image, camera_info, "--exclude", "/seqpose_node/", "/diagnostics", "/clock"],
            )
            try:
                _spin_until(spin_once, lambda: player.poll() is not None, None, "run during the replay", node)
            finally:
                _stop(player)
            if player.returncode != 0:
                raise ReplayError(f"the player ended with exit status {player.returncode}")
            recorder.recording.diagnostics = {}  # wait for a report that is newer than the last message
            _spin_until(spin_once, lambda: _idle(recorder.recording), DRAIN_TIMEOUT, "process all images", node)
        finally:
            _stop(node)
    if node.returncode != 0:
        raise ReplayError(f"seqpose_node ended with exit status {node.returncode}")
    return recorder.recording


def _remappings(image: str, camera_info: str, compressed: bool, transforms: Sequence[str]) -> list[str]:
    """Arguments that give the node the recorded topics; see :func:`run`.

    As in image_transport, the node appends /compressed to the topic of compressed images, but not all drivers do.
    """
    base = image.removesuffix("/compressed") if compressed else image
    names = {"image": base, "camera_info": camera_info}
    if compressed and base == image:
        names[f"{image}/compressed"] = image
    names |= {f"/{topic.rpartition('/')[2]}": topic for topic in transforms}
    return [part for name, topic in names.items() for part in ("-r", f"{name}:={topic}")]


def private_ros_environment() -> dict[str, str]:
    """Environment for a replay: localhost only, an unused ROS domain, and a shared-memory segment for images."""
    profile = _profile()
    # Fast DDS reads FASTRTPS_... up to Jazzy and FASTDDS_... from Kilted on.
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    return {
        "ROS_DOMAIN_ID": str(_free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        **({name: str(profile) for name in names} if profile is not None else {}),
    }


def _profile() -> Path | None:
    """config/fastdds.xml of the checkout or the installed package."""
    checkout = Path(__file__).resolve().parents[2] / "config" / "fastdds.xml"
    if checkout.is_file():
        return checkout
    with contextlib.suppress(LookupError):
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory("seqpose_ros")) / "config" / "fastdds.xml"
    return None


def _free_domain() -> int:
    """A ROS domain without participants on this machine.

    Participant n of domain d binds UDP port 7410 + 250 d + 2 n (DDSI-RTPS 9.6.1.1).
    """
    for domain in random.sample(range(1, 100), 99):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7410 + 250 * domain))
            except OSError:
                continue
            return domain
    raise ReplayError("all ROS domains from 1 to 99 are in use on this machine")


@contextlib.contextmanager
def _recorder(categories: Sequence[Category], tf: str) -> Iterator[tuple[Recorder, Callable[[], None]]]:
    context = Context()
    rclpy.init(context=context)
    recorder = Recorder("/seqpose_node", context, categories, tf)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(recorder)
    try:
        yield recorder, lambda: executor.spin_once(timeout_sec=0.05)
    finally:
        executor.shutdown()
        recorder.destroy_node()
        context.try_shutdown()


def _start(module: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", module, *arguments], env=os.environ)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _spin_until(
    spin_once: Callable[[], None],
    done: Callable[[], bool],
    timeout: float | None,
    what: str,
    node: subprocess.Popen[bytes],
) -> None:
    deadline = None if timeout is None else time.monotonic() + timeout
    while not done():
        if node.poll() is not None:
            raise ReplayError(f"seqpose_node died with exit status {node.returncode} before it could {what}")
        if deadline is not None and time.monotonic() > deadline:
            raise ReplayError(f"seqpose_node did not {what} within {timeout:.0f} s")
        spin_once()


def _wait_until_ready(
    spin_once: Callable[[], None],
    recording: Recording,
    node: subprocess.Popen[bytes],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Wait until the node is active, as long as its diagnostics, one per second, show that it is still loading.

    :param clock: monotonic seconds.
    """
    last, heard, start = recording.diagnostics, clock(), clock()
    while not _ready(recording):
        now = clock()
        if recording.diagnostics is not last:
            last, heard = recording.diagnostics, now
        if node.poll() is not None:
            raise ReplayError(f"seqpose_node died with exit status {node.returncode} before it could get ready")
        state = f"its last state is {last['state']}" if "state" in last else "it has not published any diagnostics"
        if now - heard > START_TIMEOUT:
            raise ReplayError(f"seqpose_node published no diagnostics for {START_TIMEOUT:.0f} s; {state}")
        if now - start > LOAD_TIMEOUT:
            raise ReplayError(f"seqpose_node did not get ready within {LOAD_TIMEOUT:.0f} s; {state}")
        spin_once()


def _ready(recording: Recording) -> bool:
    """The node is active and has discovered the recorder's subscription."""
    state = recording.diagnostics
    return state.get("state") == "active" and state.get("listeners_detections", "0") != "0"


def _idle(recording: Recording) -> bool:
    """Every received image was processed, dropped or refused, and all results have arrived."""
    if "images_received" not in recording.diagnostics:
        return False
    names = ("images_received", "images_processed", "images_dropped", "images_refused")
    received, *handled = (int(recording.diagnostics[name]) for name in names)
    return received == sum(handled) and len(recording.objects) >= handled[0]
