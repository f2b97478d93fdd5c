# SPDX-License-Identifier: Apache-2.0
"""The soak and fuzz commands, short, and what they report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ros_rig import restore_ros_environment
from std_msgs.msg import Header

from seqpose_ros import fuzz, soak
from seqpose_ros.load import EstimatorLoader
from seqpose_ros.parameters import Settings
from seqpose_ros.stress.rig import slope_with_interval


def test_the_slope_of_a_line_has_no_interval_and_the_slope_of_noise_includes_zero() -> None:
    times = np.arange(100.0)
    assert slope_with_interval(times, 3.0 + 0.5 * times) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-9))
    slope, half = slope_with_interval(times, np.random.default_rng(0).normal(size=100))
    assert abs(slope) < half


@pytest.mark.parametrize(
    ("grows", "reported"),
    [
        (lambda t: 0.0, False),
        (lambda t: 0.9 * (t > 700), False),  # one more image is held at once
        (
            lambda t: 0.7 * (t > 650) + 0.35 * (t > 950),
            False,
        ),  # as in a soak of 30 minutes
        (lambda t: 0.2 * (t - 600) / 60, True),  # 0.2 MB per minute
        (lambda t: 0.9 * ((t - 600) // 240), True),  # an image every 4 minutes
    ],
)
def test_a_leak_is_reported_and_memory_that_settles_is_not(grows: Callable[[float], float], reported: bool) -> None:
    """The last 20 of 30 minutes, sampled every second."""
    noise = np.random.default_rng(0).normal(0, 0.01, 1200)
    samples = [(t, 370.0 + grows(t) + error) for t, error in zip(np.arange(600.0, 1800.0), noise, strict=True)]
    growth = soak.memory_growth(samples)
    assert growth is not None
    assert (growth.total > soak.MAX_GROWTH) == reported


def test_the_memory_of_a_short_run_is_not_evaluated() -> None:
    assert soak.memory_growth([(float(t), 300.0 + t) for t in range(19)]) is None


def test_the_growth_is_reported_in_megabytes_per_minute() -> None:
    growth = soak.memory_growth([(float(t), 300.0 + 0.01 * t) for t in range(600)])
    assert growth is not None
    report = growth.report()
    assert report.pop("interval_mb_per_minute") == pytest.approx([0.6, 0.6])
    assert report == pytest.approx({"slope_mb_per_minute": 0.6, "at_least_mb": 5.99})


def test_the_memory_is_reported_by_minute() -> None:
    assert soak.means_by_minute([(0.0, 1.0), (59.0, 2.0), (60.0, 4.0), (185.0, 8.0)]) == [1.5, 4.0, 8.0]


def test_random_messages_are_converted_or_refused_and_reproducible() -> None:
    outcomes, failures = fuzz.fuzz_conversions(300, np.random.default_rng(3))
    assert failures == []
    assert sum(outcomes.values()) == 300
    assert {"converted", "refused_encoding", "refused_bad_image", "refused_camera_info"} <= set(outcomes)
    assert fuzz.fuzz_conversions(300, np.random.default_rng(3))[0] == outcomes


def test_estimators_of_one_loader_share_the_engine_and_not_the_memory(weights: Path) -> None:
    load, settings = EstimatorLoader(), Settings(checkpoint=str(weights))
    first, second = load(settings), load(settings)
    assert first.engine is second.engine
    assert first is not second
    other = load(Settings(checkpoint=str(weights), memory_frames=0))
    assert other.engine is not first.engine


@pytest.mark.parametrize(
    ("changed", "failure"),
    [
        ({}, []),
        ({"images_refused_encoding": "1"}, ["1 images were refused as encoding, expected 2"]),
        (
            {"images_received": "4", "images_refused_encoding": "1"},  # the subscription kept a newer one only
            ["1 images did not arrive or were replaced by newer ones, so that counts differ"],
        ),
        (
            {"images_dropped": "2", "images_processed": "1"},
            ["2 images did not arrive or were replaced by newer ones, so that counts differ"],
        ),
    ],
)
def test_fuzz_distinguishes_wrong_outcomes_from_images_that_did_not_arrive(
    changed: dict[str, str], failure: list[str]
) -> None:
    client: Any = SimpleNamespace(header=Header)
    run = fuzz.NodeFuzz(client, client, np.random.default_rng(0))
    run.expected.update({"processed": 3, "encoding": 2})
    counts = {"images_received": "5", "images_dropped": "0", "images_processed": "3", "images_refused_encoding": "2"}
    run.check_counts(counts | changed)
    assert run.failures == failure


@pytest.mark.slow
def test_fuzz_sends_every_message_and_the_node_counts_each_outcome(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_ros_environment(monkeypatch)
    out = tmp_path / "fuzz.json"
    arguments = ["--conversions", "30", "--images", "20", "--camera-infos", "10", "--checkpoint", str(weights)]
    assert fuzz.main([*arguments, "--out", str(out)]) == 0
    node = json.loads(out.read_text())["node"]
    # 20 random images, the valid one at the start, and one after each camera_info.
    assert sum(node["outcomes"].values()) == 20 + 1 + 10


@pytest.mark.slow
def test_soak_causes_faults_and_the_node_recovers(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_ros_environment(monkeypatch)
    monkeypatch.setattr(soak, "MAX_RECOVERY", 1000)  # beside other programs the node takes longer
    out = tmp_path / "soak.json"
    arguments = ["--minutes", "0.1", "--rate", "10", "--fault-period", "0.5", "--checkpoint", str(weights)]
    assert soak.main([*arguments, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["failures"] == []
    assert report["faults"] >= 1
    assert report["detections"] >= report["faults"]
    assert report["memory_growth"] is report["memory_growth_last_20_minutes"] is None  # 6 seconds are too short
