# SPDX-License-Identifier: Apache-2.0
"""The node exits cleanly on shutdown; other errors are not mistaken for a shutdown."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections import Counter

import pytest
import rclpy
from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor
from rclpy.waitable import NumberOfEntities, Waitable

from seqpose_ros import node
from seqpose_ros.bags import replay
from seqpose_ros.lifecycle import ResponsiveLifecycleNode, spin_until_finished

IDLE = ["--ros-args", "-p", "autostart:=false"]


def test_a_signal_between_two_waits_is_a_clean_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(*_: object) -> None:
        rclpy.shutdown()
        raise RuntimeError("failed to create wait set: the given context is not valid")

    monkeypatch.setattr(MultiThreadedExecutor, "spin_once", spin)
    assert node.main(IDLE) == 0


def test_other_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(*_: object) -> None:
        raise RuntimeError("another error")

    monkeypatch.setattr(MultiThreadedExecutor, "spin_once", spin)
    with pytest.raises(RuntimeError, match="another error"):
        node.main(IDLE)
    assert not rclpy.ok()


class DestroyedEvent(Waitable):
    """A QoS event that another thread destroys while the executor collects what to wait for."""

    def __init__(self, group: CallbackGroup) -> None:
        super().__init__(group)
        self.collected = 0

    def get_num_entities(self) -> NumberOfEntities:
        return NumberOfEntities()

    def add_to_wait_set(self, wait_set: object) -> None:
        self.collected += 1
        if self.collected in (3, 5):
            raise InvalidHandle("cannot use Destroyable because destruction was requested")

    def is_ready(self, wait_set: object) -> bool:
        return False


def test_the_node_continues_if_a_subscription_is_destroyed_while_it_is_collected(private_domain: None) -> None:
    rclpy.init()
    spinning = ResponsiveLifecycleNode("spinning")
    event = DestroyedEvent(spinning.default_callback_group)
    spinning.add_waitable(event)
    spinning.create_timer(0.01, lambda: event.collected > 10 and spinning.finished.set_result(0))
    assert spin_until_finished([spinning], [], exit_timeout=1.0) == 0
    assert event.collected > 10


def test_spinning_creates_no_objects_that_stay(private_domain: None) -> None:
    """The numbers of live objects by type are equal after 100 and after 400 calls of a timer."""
    rclpy.init()
    spinning, calls, counts = ResponsiveLifecycleNode("spinning"), 0, []

    def call() -> None:
        nonlocal calls
        calls += 1
        if calls in (100, 400):
            counts.append(Counter(type(item).__name__ for item in gc.get_objects()))
        if calls == 400:
            spinning.finished.set_result(3)

    spinning.create_timer(0.001, call)
    assert spin_until_finished([spinning], [], exit_timeout=1.0) == 3
    growth = counts[1] - counts[0]
    assert max(growth.values(), default=0) < 100, growth.most_common(5)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--help"], 0, "--ros-args -p checkpoint:="),
        (["--checkpoint", "x"], 2, "unrecognized arguments: --checkpoint x"),
        (["--ros-args", "-p", "checkpoint"], 2, "checkpoint"),
        (["--ros-args", "--unknown"], 2, "--unknown"),
    ],
)
def test_help_and_bad_arguments_start_no_node(
    arguments: list[str], status: int, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        node.main(arguments)
    assert end.value.code == status
    output, error = capfd.readouterr()
    assert text in " ".join((output + error).split())
    assert not rclpy.ok()


def test_fast_dds_2_and_3_use_the_profile() -> None:
    environment = replay.private_ros_environment()
    old, new = (environment[f"{name}_DEFAULT_PROFILES_FILE"] for name in ("FASTRTPS", "FASTDDS"))
    assert old == new
    assert old.endswith("config/fastdds.xml")


_SIGNAL_DURING_CREATION = """
import os, signal, sys, time
from {module} import {node}, main

create = {node}.__init__

def interrupted(self, *args, **options):
    os.kill(os.getpid(), signal.{signal})
    time.sleep(0.3)  # Python's handler runs, and rclpy's, which is in a thread, too
    create(self, *args, **options)

{node}.__init__ = interrupted
sys.exit(main([]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("module", "node"),
    [
        ("seqpose_ros.grasps.node", "GraspNode"),
        ("seqpose_ros.node", "SeqPoseNode"),
        ("seqpose_ros.view.__main__", "ViewNode"),
    ],
)
def test_a_signal_while_the_node_is_created_ends_the_process_with_status_0(module: str, node: str, name: str) -> None:
    code = _SIGNAL_DURING_CREATION.format(module=module, node=node, signal=name)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
