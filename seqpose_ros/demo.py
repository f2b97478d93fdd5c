# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.demo``: a bag through the real node, and pictures and numbers of what came out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seqpose_core import ObjectPose, checkpoint
from seqpose_ros import replay
from seqpose_ros.bag import Bag
from seqpose_ros.player import Timeline
from seqpose_ros.replay import Recording, ReplayError
from seqpose_ros.scoring import EXPLANATION, score
from seqpose_ros.video import write_sheet, write_video

BUNDLED_BAG = Path(__file__).parent / "data" / "demo_bag"
RECALLS = ("recall_10deg10cm", "recall_10cm")


def predictions_by_index(
    recording: Recording, timeline: Timeline, stamps: Mapping[int, int]
) -> tuple[dict[int, list[ObjectPose]], list[float]]:
    """Sort what was recorded by frame.

    :param stamps: recorded image stamp by frame index, nanoseconds.
    :return: objects by index of the processed frames, and their latencies in seconds.
    """
    index_of = {timeline.replayed(stamp): index for index, stamp in stamps.items()}
    known = [stamp for stamp in recording.objects if stamp in index_of]
    predictions = {index_of[stamp]: recording.objects[stamp] for stamp in known}
    return predictions, [recording.latency[stamp] for stamp in known]


def stated_recalls(name: str) -> dict[str, float]:
    """What the model card states for the bundled bag: ``demo_bag`` in its metrics.yaml, or nothing."""
    path = checkpoint.resolve(name) / "metrics.yaml"
    if not path.is_file():
        return {}
    return dict((yaml.safe_load(path.read_text()) or {}).get("demo_bag", {}))


def shortfalls(report: Mapping[str, Any], stated: Mapping[str, float]) -> list[str]:
    """Sentences on each recall that is below half of what is stated."""
    return [
        f"{name} is {report[name]} %, below half of the {stated[name]} % that the model card states"
        for name in RECALLS
        if name in stated and report[name] < stated[name] / 2
    ]


def measure(
    bag: Bag, recording: Recording, played: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[int, Any]]:
    """The numbers of report.json, and the predictions by frame index."""
    truth, stamps = {}, {}
    for frame in bag.frames():
        truth[frame.index], stamps[frame.index] = frame.truth or [], frame.stamp
    predictions, latencies = predictions_by_index(recording, Timeline(**played["timeline"]), stamps)
    sent = int(played["sent"][bag.image.topic])
    numbers = score((truth[index], predicted) for index, predicted in sorted(predictions.items()))
    latency = {
        f"p{q}": round(1e3 * float(np.percentile(latencies, q)), 2) if latencies else None for q in (50, 95)
    }
    report = {
        "frames_sent": sent,
        "frames_processed": len(predictions),
        "frames_dropped": sent - len(predictions),
        **numbers,
        "latency_ms": latency,
        "tf_frames": sorted(recording.tf_frames),
        "truth_objects_in_bag": sum(map(len, truth.values())),
        "player_late_ms": played["late_ms"],
    }
    return report, predictions


def run_demo(
    bag_path: Path, name: str, out: Path, rate: float, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Replay, measure, draw; returns the report, also written to ``out``.

    :raises ReplayError: the node or the player failed, or the node published nothing.
    """
    out.mkdir(parents=True, exist_ok=True)
    with Bag(bag_path) as bag:
        recording = replay.run(
            bag_path,
            bag.image.topic,
            bag.camera_info.topic,
            bag.compressed,
            {"checkpoint": name, **parameters},
            rate,
            out / "player.json",
        )
        report, predictions = measure(bag, recording, json.loads((out / "player.json").read_text()))
        if not predictions:
            raise ReplayError(f"seqpose_node published nothing; it says: {recording.diagnostics['message']}")
        print("drawing")
        video = write_video(out / "demo.mp4", bag.frames(), predictions, bag.rate)
        shown = write_sheet(out / "demo.png", bag.frames(), predictions)
    report.update(
        bag=bag_path.name,
        checkpoint=name,
        rate=rate,
        node={k: recording.diagnostics[k] for k in ("device", "runtime", "precision", "inference_p50_ms")},
        measured_on=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        explanation=EXPLANATION,
        video=video.name,
        picture={"file": "demo.png", "frames": shown},
    )
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def table(report: Mapping[str, Any]) -> str:
    """The numbers as aligned lines."""
    rows: dict[str, Any] = {k: v for k, v in report.items() if isinstance(v, (int, float)) or v is None}
    rows["latency_ms"] = "  ".join(f"{name} {value}" for name, value in report["latency_ms"].items())
    rows["tf_frames"] = f"{len(report['tf_frames'])}: {', '.join(report['tf_frames'])}"
    width = max(map(len, rows))
    return "\n".join(f"  {key:<{width}}  {value}" for key, value in rows.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Exit status 1 if the replay failed or finds too little."""
    parser = argparse.ArgumentParser(prog="python -m seqpose_ros.demo", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    parser.add_argument("--bag", type=Path, default=BUNDLED_BAG, help="default: the bundled one")
    parser.add_argument("--checkpoint", default="seqpose-nano", help="bundled name, folder or file")
    parser.add_argument("--rate", type=float, default=1.0, help="times the recorded speed (default 1)")
    parser.add_argument("--fixed-frame", default="", help="the node's fixed_frame, for ego-motion from tf")
    options = parser.parse_args(arguments)
    os.environ.update(replay.private_ros_environment())
    parameters = {"fixed_frame": options.fixed_frame} if options.fixed_frame else {}
    try:
        report = run_demo(options.bag, options.checkpoint, options.out, options.rate, parameters)
    except (ReplayError, OSError, ValueError) as error:
        print(f"demo failed: {error}", file=sys.stderr)
        return 1
    print(table(report))
    print(f"written to {options.out}: {report['video']}, demo.png, report.json")
    stated = stated_recalls(options.checkpoint) if options.bag == BUNDLED_BAG else {}
    problems = shortfalls(report, stated)
    for problem in problems:
        print(f"demo failed: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
