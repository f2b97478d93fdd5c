# SPDX-License-Identifier: Apache-2.0
"""A bag is played to the real node, and its output is assigned to the frames."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import FRAMES, upright_object
from rclpy.serialization import deserialize_message, serialize_message
from ros_rig import header, restore_ros_environment
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from seqpose_ros import demo
from seqpose_ros.bags.player import Timeline, restamp
from seqpose_ros.bags.realtime import predictions_by_index
from seqpose_ros.bags.replay import Recording, ReplayError, _spin_until, _wait_until_ready
from seqpose_ros.images import image_fields
from seqpose_ros.message_builders import DetectionsBuilder, ObjectFields, TransformsBuilder


def test_all_nested_stamps_are_shifted_together() -> None:
    timeline = Timeline(origin=10 * 10**9, start=1000 * 10**9, rate=2.0)
    message = DetectionsBuilder().message(header(14.0), ObjectFields.of([upright_object("mug", (0, 0, 1))]))
    moved = restamp(deserialize_message(serialize_message(message), Detection3DArray), timeline)
    assert moved.header.stamp == moved.detections[0].header.stamp == header(1002.0).stamp  # 4 s at double speed
    assert moved.detections[0].bbox == message.detections[0].bbox
    tf = TFMessage(
        transforms=TransformsBuilder().messages(
            header(10.0), ObjectFields.of([upright_object("mug", (0, 0, 1))]), {1: "mug_1"}
        )
    )
    assert restamp(tf, timeline).transforms[0].header.stamp == header(1000.0).stamp
    image = Image(header=header(12.0), **image_fields(np.zeros((4, 4, 3), np.uint8)))
    assert restamp(image, timeline).header.stamp == header(1001.0).stamp


def test_predictions_are_assigned_to_frames_and_dropped_frames_have_none() -> None:
    timeline = Timeline(origin=0, start=10**18, rate=1.0)
    mug = upright_object("mug", (0, 0, 1))
    recording = Recording(
        objects={timeline.replayed(200): [mug], 5: []}, latency={timeline.replayed(200): 0.03, 5: 9.0}
    )
    predictions, latencies = predictions_by_index(recording, timeline, {0: 100, 1: 200, 2: 300})
    assert (predictions, latencies) == ({1: [mug]}, {1: 0.03})


def test_a_node_that_dies_during_the_replay_is_reported_with_its_exit_status() -> None:
    node = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])
    with pytest.raises(ReplayError, match="seqpose_node died with exit status 3 before it could be played to"):
        _spin_until(lambda: time.sleep(0.01), lambda: False, None, "be played to", node)


class Loading:
    """A node that is loading: a clock, and diagnostics every second of it until ``silent_after`` seconds."""

    def __init__(self, active_after: float, silent_after: float = float("inf")) -> None:
        self.now, self.recording = 0.0, Recording()
        self.active_after, self.silent_after = active_after, silent_after

    def wait(self) -> None:
        with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as node:
            _wait_until_ready(self.spin_once, self.recording, node, lambda: self.now)

    def spin_once(self) -> None:
        self.now += 1.0
        if self.now <= self.silent_after:
            state = "active" if self.now >= self.active_after else "configuring"
            self.recording.diagnostics = {"state": state, "listeners_detections": "1"}


def test_the_replay_waits_for_a_node_that_is_still_loading() -> None:
    node = Loading(active_after=600)
    node.wait()
    assert node.now == 600


def test_a_node_that_does_not_get_ready_is_reported_with_its_last_state() -> None:
    with pytest.raises(ReplayError, match=r"not get ready within 900 s; its last state is configuring$"):
        Loading(active_after=5000).wait()
    with pytest.raises(ReplayError, match=r"no diagnostics for 120 s; its last state is configuring$"):
        Loading(active_after=5000, silent_after=10).wait()
    with pytest.raises(ReplayError, match=r"no diagnostics for 120 s; it has not published any diagnostics$"):
        Loading(active_after=5000, silent_after=0).wait()


def test_a_recall_below_half_of_the_stated_one_is_reported() -> None:
    stated = {"recall_10deg10cm": 30.0, "recall_10cm": 60.0}
    assert demo.low_recalls({"recall_10deg10cm": 15.0, "recall_10cm": 31.0}, stated) == []
    (problem,) = demo.low_recalls({"recall_10deg10cm": 14.9, "recall_10cm": 31.0}, stated)
    assert problem == "recall_10deg10cm is 14.9 %, below half of the 30.0 % that the model card states"


# End to end, with random weights.


def test_the_demo_runs_the_bag_through_the_real_node(
    bag_path: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    restore_ros_environment(monkeypatch)
    arguments = ["--bag", str(bag_path), "--checkpoint", str(weights), "--out", str(tmp_path), "--rate", "0.5"]
    assert demo.main(arguments) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["frames_sent"] == FRAMES
    assert report["frames_processed"] + report["frames_dropped"] == FRAMES
    assert report["objects_true"] == report["frames_processed"] >= 1
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p95"] <= report["latency_ms"]["max"]
    assert (tmp_path / "demo.png").is_file()
    assert "data:image/jpeg;base64," in (tmp_path / report["page"]).read_text()
    assert (tmp_path / report["video"]).is_file()
    assert "recall_10deg10cm" in capsys.readouterr().out


def test_a_demo_whose_node_dies_fails_with_a_message(
    bag_path: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    restore_ros_environment(monkeypatch)
    damaged = tmp_path / "damaged"
    shutil.copytree(weights, damaged)
    (damaged / "model.safetensors").write_bytes(b"no weights")
    assert demo.main(["--bag", str(bag_path), "--checkpoint", str(damaged), "--out", str(tmp_path)]) == 1
    assert "seqpose_node died with exit status 1" in capsys.readouterr().err


def test_a_demo_without_its_checkpoint_fails_with_a_message(bag_path: Path, tmp_path: Path, capsys: Any) -> None:
    assert demo.main(["--bag", str(bag_path), "--checkpoint", "none-such", "--out", str(tmp_path)]) == 1
    assert "demo failed: checkpoint 'none-such'" in capsys.readouterr().err
