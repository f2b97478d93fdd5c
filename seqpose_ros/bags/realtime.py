# SPDX-License-Identifier: Apache-2.0
"""Play a bag to the real node at its recorded rate, and collect predictions, latency and dropped frames."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqpose_core import ObjectPose
from seqpose_ros.bags import replay
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.player import Timeline
from seqpose_ros.bags.replay import Recording, ReplayError
from seqpose_ros.bags.scoring import FrameGroundTruth
from seqpose_ros.pipeline import MAX_AHEAD, MAX_BEHIND

_ENGINE_KEYS = ("device", "runtime", "precision", "inference_p50_ms")


@dataclass(frozen=True)
class RealtimeRun:
    """Outcome of a replay.

    :param predictions: objects by frame index, of the frames that the node processed.
    :param statistics: frames sent, processed, dropped and refused, latency, tf frames, engine.
    """

    predictions: dict[int, list[ObjectPose]]
    statistics: dict[str, Any]


def run(
    bag: Bag, frames: Sequence[FrameGroundTruth], parameters: Mapping[str, Any], rate: float, out: Path
) -> RealtimeRun:
    """Play ``bag`` to a ``seqpose_node`` in its own process and record what it publishes.

    :param frames: every usable frame of the bag. :param parameters: of the node.
    :param rate: factor on the recorded speed. :param out: folder for the player's report, player.json.
    :raises ReplayError: the node or the player failed, or the node published nothing.
    """
    other_clock = {
        index
        for index, time in enumerate(bag.image_times)
        if not -MAX_AHEAD <= (time.recorded - time.stamp) * 1e-9 <= MAX_BEHIND
    }
    player_report = out / "player.json"
    recording = replay.run(
        bag.path,
        bag.image.topic,
        bag.camera_info.topic,
        bag.compressed,
        dict(parameters),
        rate,
        player_report,
        bag.categories,
        [topic.topic for topic in bag.transform_topics],
    )
    return summarize_replay(bag.image.topic, frames, recording, json.loads(player_report.read_text()), other_clock)


def summarize_replay(
    image_topic: str,
    frames: Sequence[FrameGroundTruth],
    recording: Recording,
    player_report: Mapping[str, Any],
    other_clock: Collection[int] = (),
) -> RealtimeRun:
    """Assign the recorded objects to the frames, and count frames and latencies.

    :param player_report: written by ``seqpose_ros.bags.player``.
    :param other_clock: indices of images whose stamps are not of the clock of the recording: a simulation, or a camera
        that is not synchronised. Their latency is not known, because it is measured from the stamp.
    :raises ReplayError: nothing was published for any image.
    """
    stamps = {frame.index: frame.stamp for frame in frames}
    predictions, latency_of = predictions_by_index(recording, Timeline(**player_report["timeline"]), stamps)
    sent, state = int(player_report["sent"][image_topic]), recording.diagnostics
    repeated = sum(count for count in Counter(stamps.values()).values() if count > 1)
    if not predictions and repeated:
        raise ReplayError(f"{repeated} of {len(stamps)} images share a stamp, so the node's output has no image")
    if not predictions:
        raise ReplayError(
            f"seqpose_node published nothing for the {sent} images sent: it received "
            f"{state.get('images_received', 0)} and refused {state.get('images_refused', 0)} of them "
            f"({state.get('message', 'no diagnostics came')})"
        )
    latencies = [seconds for index, seconds in latency_of.items() if index not in other_clock]
    statistics = {
        "frames_sent": sent,
        "frames_processed": len(predictions),
        "frames_dropped": sent - len(predictions) - repeated,
        "frames_with_repeated_stamp": repeated,
        "frames_refused": int(state.get("images_refused", 0)),
        "latency_ms": _summarize_latency(latencies),
        "tf_frames": sorted(recording.tf_frames),
        "player_late_ms": player_report["late_ms"],
        "node": {name: state.get(name) for name in _ENGINE_KEYS},
    }
    unknown = len(latency_of) - len(latencies)
    if unknown:
        reason = "their stamps are not of the clock of the recording"
        statistics["latency_not_known"] = f"{unknown} of {len(latency_of)} processed images: {reason}"
    return RealtimeRun(predictions, statistics)


def _summarize_latency(latencies: Sequence[float]) -> dict[str, float] | None:
    """Percentiles and maximum in milliseconds; None if no latency is known."""
    if not latencies:
        return None
    percentiles = {f"p{q}": round(1e3 * float(np.percentile(latencies, q)), 2) for q in (50, 95)}
    return {**percentiles, "max": round(1e3 * max(latencies), 2)}


def predictions_by_index(
    recording: Recording, timeline: Timeline, stamps: Mapping[int, int]
) -> tuple[dict[int, list[ObjectPose]], dict[int, float]]:
    """Assign the recorded objects to the frames.

    :param stamps: recorded image stamp by frame index, nanoseconds.
    :return: objects and latencies, in seconds, by index of the processed frames. Frames that share a stamp have none:
        the output of the node cannot be assigned to one of them.
    """
    shared = {stamp for stamp, count in Counter(stamps.values()).items() if count > 1}
    index_of = {timeline.replayed(stamp): index for index, stamp in stamps.items() if stamp not in shared}
    known = [stamp for stamp in recording.objects if stamp in index_of]
    predictions = {index_of[stamp]: recording.objects[stamp] for stamp in known}
    return predictions, {index_of[stamp]: recording.latency[stamp] for stamp in known}
