# SPDX-License-Identifier: Apache-2.0
"""The node exits cleanly on shutdown; other errors are not mistaken for a shutdown."""

from __future__ import annotations

import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor

from seqpose_ros import node
from seqpose_ros.bags import replay

IDLE = ["--ros-args", "-p", "autostart:=false"]


def test_a_signal_between_two_waits_is_a_clean_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(*_: object) -> None:
        rclpy.shutdown()
        raise RuntimeError("failed to create wait set: the given context is not valid")

    monkeypatch.setattr(MultiThreadedExecutor, "spin_until_future_complete", spin)
    assert node.main(IDLE) == 0


def test_other_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(*_: object) -> None:
        raise RuntimeError("another error")

    monkeypatch.setattr(MultiThreadedExecutor, "spin_until_future_complete", spin)
    with pytest.raises(RuntimeError, match="another error"):
        node.main(IDLE)
    assert not rclpy.ok()


def test_fast_dds_2_and_3_use_the_profile() -> None:
    environment = replay.private_ros_environment()
    old, new = (environment[f"{name}_DEFAULT_PROFILES_FILE"] for name in ("FASTRTPS", "FASTDDS"))
    assert old == new
    assert old.endswith("config/fastdds.xml")
