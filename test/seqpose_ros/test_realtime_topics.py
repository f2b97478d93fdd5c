# SPDX-License-Identifier: Apache-2.0
"""--realtime with topics and clocks of other recordings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bag_rig import FRAMES
from foreign_bag_rig import content
from mcap_rig import McapFile
from ros_rig import restore_ros_environment

from seqpose_ros.bags import realtime
from seqpose_ros.bags.replay import Recording, _remappings
from seqpose_ros.bags.scoring import FrameGroundTruth
from seqpose_ros.evaluate_bag import main
from train.bag_messages import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, INFO_TOPIC, typestore

#: Where a simulation publishes what the bag has.
TOPICS = {
    IMAGE_TOPIC: "/robot1/camera/jpeg",
    INFO_TOPIC: "/robot1/camera/camera_info",
    "/tf": "/robot1/tf",
    GROUND_TRUTH_TOPIC: GROUND_TRUTH_TOPIC,
}


def in_simulation(bag: Path, out: Path) -> Path:
    """The bag on the topics of a simulated robot; its stamps begin at 10 s."""
    file, rows, store = McapFile(), [], typestore()
    for topic, (msgtype, definition, messages) in content(bag).items():
        channel = file.channel(TOPICS[topic], file.schema(msgtype, definition))
        for time, raw in messages:
            message = store.deserialize_cdr(raw, msgtype)
            stamped = message.transforms[0] if topic == "/tf" else message
            stamped.header.stamp.sec = 10
            rows.append((time, channel, bytes(store.serialize_cdr(message, msgtype))))
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write(out)


def test_a_simulated_robot_is_replayed_without_a_latency(
    bag_path: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_ros_environment(monkeypatch)
    bag = in_simulation(bag_path, tmp_path / "bag.mcap")
    options = ["--min-score", "0", "--recall-score", "0", "--realtime", "--rate", "0.5", "--fixed-frame", "world"]
    assert main([str(bag), "--checkpoint", str(weights), "--out", str(tmp_path), *options]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    live = report["realtime"]
    assert (report["frames_processed"], live["frames_sent"], report["warnings"]) == (FRAMES, FRAMES, [])
    assert live["frames_processed"] >= 1 and live["latency_ms"] is None
    assert live["latency_not_known"].endswith("their stamps are not of the clock of the recording")


def test_the_latency_is_that_of_the_images_with_stamps_of_the_recordings_clock() -> None:
    frames = [FrameGroundTruth(i, 100 * i, []) for i in range(3)]
    played = {"timeline": {"origin": 0, "start": 1000, "rate": 1.0}, "sent": {"/image": 3}, "late_ms": 0.0}
    objects = {1000: [], 1100: [], 1200: []}
    recording = Recording(objects=objects, latency={1000: 1e9, 1100: 0.02, 1200: 0.03})
    statistics = realtime.summarize_replay("/image", frames, recording, played, other_clock={0}).statistics
    assert statistics["latency_ms"] == {"p50": 25.0, "p95": 29.5, "max": 30.0}
    assert statistics["latency_not_known"].startswith("1 of 3 processed images")


@pytest.mark.parametrize(
    ("image", "compressed", "expected"),
    [
        ("/a/image/compressed", True, ["image:=/a/image"]),
        ("/a/jpeg", True, ["image:=/a/jpeg", "/a/jpeg/compressed:=/a/jpeg"]),
        ("/a/image", False, ["image:=/a/image"]),
        ("/a/compressed", False, ["image:=/a/compressed"]),
    ],
)
def test_the_node_gets_the_recorded_image_topic(image: str, compressed: bool, expected: list[str]) -> None:
    rules = _remappings(image, "/a/camera_info", compressed, ["/a/tf", "/tf_static"])[1::2]
    assert sorted(rules) == sorted([*expected, "camera_info:=/a/camera_info", "/tf:=/a/tf", "/tf_static:=/tf_static"])
