# SPDX-License-Identifier: Apache-2.0
"""Told to stop, the node ends well, whatever it was doing; a real fault is not taken for a stop."""

from __future__ import annotations

import pytest
import rclpy

from seqpose_ros import node
from seqpose_ros.bags import replay

IDLE = ["--ros-args", "-p", "autostart:=false"]


def test_a_signal_between_two_waits_is_an_orderly_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(_: object) -> None:
        rclpy.shutdown()
        raise RuntimeError("failed to create wait set: the given context is not valid")

    monkeypatch.setattr(rclpy, "spin", spin)
    assert node.main(IDLE) == 0


def test_a_fault_while_running_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(_: object) -> None:
        raise RuntimeError("a real fault")

    monkeypatch.setattr(rclpy, "spin", spin)
    with pytest.raises(RuntimeError, match="a real fault"):
        node.main(IDLE)
    assert not rclpy.ok()


def test_both_generations_of_fast_dds_get_the_profile() -> None:
    given = replay.private_ros_environment()
    old, new = (given[f"{name}_DEFAULT_PROFILES_FILE"] for name in ("FASTRTPS", "FASTDDS"))
    assert old == new
    assert old.endswith("config/fastdds.xml")
