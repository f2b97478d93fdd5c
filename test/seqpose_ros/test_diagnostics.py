# SPDX-License-Identifier: Apache-2.0
"""Levels, problems, counts and stage times of the diagnostics, with a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from seqpose_ros.diagnostics import NodeDiagnostics, is_status_of
from seqpose_ros.problems import ERROR, OK, PROBLEM_LIFETIME, STALE, WARN


class Rig:
    """Diagnostics with a clock at ``time`` seconds and a recorded log."""

    def __init__(self) -> None:
        self.time = 100.0
        self.log: list[str] = []
        self.node = NodeDiagnostics(self.log.append, self.log.append, lambda: self.time)

    def status(self) -> Any:
        return self.node.message("node: stream", Time(), True, {"state": "active"}).status[0]

    def values(self) -> dict[str, str]:
        return {v.key: v.value for v in self.status().values}

    def image(self, **times: float) -> None:
        self.node.image_received()
        self.node.image_started()
        self.node.image_processed(times)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_the_level_is_that_of_the_worst_problem_and_a_fault_is_worse_than_stale(rig: Rig) -> None:
    assert (rig.status().level, rig.status().message) == (OK, "running")
    rig.node.report_problem("stamp", "stamp 0", WARN)
    assert (rig.status().level, rig.status().message) == (WARN, "stamp 0")
    rig.node.report_problem("no_images", "no images", STALE)
    assert (rig.status().level, rig.status().message) == (STALE, "no images; stamp 0")
    rig.node.report_problem("fault", "out of memory", ERROR)
    assert (rig.status().level, rig.status().message) == (ERROR, "out of memory; no images; stamp 0")


def test_a_problem_of_the_last_image_remains_until_an_image_without_it(rig: Rig) -> None:
    rig.node.image_started()
    rig.node.image_refused("size", "wrong size")
    rig.time += 60.0  # no image for a minute: the last one was refused, and this remains the state
    assert rig.status().message == "wrong size"
    rig.image()
    assert rig.status().message == "running"


def test_a_problem_is_shown_for_its_lifetime_although_the_next_image_is_valid(rig: Rig) -> None:
    rig.node.image_started()
    rig.node.image_refused("size", "wrong size")
    rig.image()
    rig.time += PROBLEM_LIFETIME - 0.1
    assert rig.status().message == "wrong size"
    rig.time += 0.2
    assert rig.status().message == "running"


def test_a_lasting_problem_ends_when_it_is_resolved(rig: Rig) -> None:
    rig.node.report_problem("camera_info", "not calibrated", lasting=True)
    rig.time += 60.0
    rig.image()
    assert rig.status().message == "not calibrated"
    rig.node.resolve("camera_info")
    assert rig.status().message == "running"


def test_refused_images_are_counted_by_reason(rig: Rig) -> None:
    for kind in ("size", "encoding", "size"):
        rig.node.image_received()
        rig.node.image_refused(kind, "reason")
    rig.node.image_dropped()
    values = rig.values()
    assert (values["images_received"], values["images_refused"], values["images_dropped"]) == ("3", "3", "1")
    assert (values["images_refused_size"], values["images_refused_encoding"]) == ("2", "1")


def test_stage_times_are_percentiles_and_unknown_ones_are_reported_as_unknown(rig: Rig) -> None:
    for milliseconds in (10.0, 20.0, 30.0):
        rig.image(inference=1e-3 * milliseconds)
    values = rig.values()
    assert values["inference_p50_ms"] == "20"
    assert values["inference_p95_ms"] == "29"  # linear interpolation between 20 and 30
    assert values["transport_p50_ms"] == "none yet"


def test_the_age_of_the_newest_image_and_the_rates_are_reported(rig: Rig) -> None:
    assert rig.values()["newest_image_age_s"] == "none yet"
    for _ in range(4):
        rig.image()
    rig.time += 2.0
    values = rig.values()
    assert (values["newest_image_age_s"], values["input_rate_hz"], values["output_rate_hz"]) == ("2", "2", "2")


def test_one_kind_of_problem_is_logged_every_5_seconds(rig: Rig) -> None:
    for _ in range(11):
        rig.node.report_problem("size", "wrong size")
        rig.time += 1.0
    assert rig.log == ["wrong size"] * 3  # at 0, 5 and 10 s


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("seqpose: stream", True),
        ("/seqpose: stream", True),
        ("seqpose2: stream", False),
        ("seqpose/left: stream", False),
        ("robot/seqpose: stream", False),
        ("seq", False),
    ],
)
def test_a_status_is_of_the_node_whose_full_name_precedes_the_colon(name: str, same: bool) -> None:
    assert is_status_of(DiagnosticStatus(name=name), "/seqpose") == same
