# SPDX-License-Identifier: Apache-2.0
"""--realtime with topics and clocks of other recordings."""

from __future__ import annotations

from seqpose_ros.bags import realtime
from seqpose_ros.bags.replay import Recording
from seqpose_ros.bags.scoring import FrameGroundTruth


def test_the_latency_is_that_of_the_images_with_stamps_of_the_recordings_clock() -> None:
    frames = [FrameGroundTruth(i, 100 * i, []) for i in range(3)]
    played = {"timeline": {"origin": 0, "start": 1000, "rate": 1.0}, "sent": {"/image": 3}, "late_ms": 0.0}
    objects = {1000: [], 1100: [], 1200: []}
    recording = Recording(objects=objects, latency={1000: 1e9, 1100: 0.02, 1200: 0.03})
    statistics = realtime.summarize_replay("/image", frames, recording, played, other_clock={0}).statistics
    assert statistics["latency_ms"] == {"p50": 25.0, "p95": 29.5, "max": 30.0}
    assert statistics["latency_not_known"].startswith("1 of 3 processed images")
