# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.evaluate_bag BAG``: the node's estimator over every frame of a bag, without DDS.

Replaying a bag drops frames as the machine's load has it; reading it gives the same numbers every time, and the
same that ``train.evaluate`` gives for the same frames. ``--realtime`` adds the replay: the real node, fed at the
recorded rate.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformException
from tqdm import tqdm

from seqpose_core import EstimatorOptions, ObjectPose, PoseEstimator
from seqpose_core.metrics.summary import plain_figures, without_nan
from seqpose_core.report import Frames, Run, View, write_report
from seqpose_core.report.tables import stability_line
from seqpose_core.report.text import ap_table, error_table
from seqpose_ros.bags import realtime, replay
from seqpose_ros.bags.bag import GROUND_TRUTH_TOPIC, Bag, BagFrame
from seqpose_ros.bags.reader import BagError
from seqpose_ros.bags.replay import ReplayError
from seqpose_ros.bags.scoring import EXPLANATION, FrameTruth, measure, numbers
from seqpose_ros.bags.video import write_sheet, write_video
from seqpose_ros.from_messages import transform_from_message
from seqpose_ros.stamps import seconds


@dataclass(frozen=True)
class BagRun:
    """One pass over a bag: the usable frames, the objects by frame index, and each step's time in seconds."""

    frames: list[FrameTruth]
    predictions: dict[int, list[ObjectPose]]
    step_seconds: list[float]


def evaluate(estimator: PoseEstimator, bag: Bag, fixed_frame: str = "") -> BagRun:
    """Run over every usable frame in order, as the node would if it dropped none.

    :param fixed_frame: as the node's parameter; the bag's own /tf answers.
    :raises BagError: no frame can be used; names the first and the reason.
    """
    camera_pose = camera_poses(bag, fixed_frame) if fixed_frame else lambda frame: None
    run = BagRun([], {}, [])
    estimator.reset()
    for frame in tqdm(bag.frames(), total=len(bag), unit="frame", disable=not sys.stderr.isatty()):
        pose = camera_pose(frame)
        begin = time.perf_counter()
        objects = estimator.step(frame.image, frame.camera, seconds(frame.stamp), pose)
        run.step_seconds.append(time.perf_counter() - begin)
        run.predictions[frame.index] = objects
        run.frames.append(FrameTruth(frame.index, frame.stamp, frame.ground_truth))
    if not run.frames:
        why = [f"{name}: {reason}" for name, reason in bag.skipped_frames.items()] + bag.damage
        raise BagError(f"no image of {bag.path} can be used; {why[0] if why else 'it holds none'}")
    return run


def camera_poses(bag: Bag, fixed_frame: str) -> Callable[[BagFrame], np.ndarray | None]:
    """A frame's (4, 4) transform from camera to ``fixed_frame``, None where tf does not know it."""
    buffer = Buffer(cache_time=Duration(nanoseconds=bag.duration + 10**10))
    for raw, static in bag.transforms():
        store = buffer.set_transform_static if static else buffer.set_transform
        for transform in deserialize_message(raw, TFMessage).transforms:
            store(transform, "bag")

    def pose(frame: BagFrame) -> np.ndarray | None:
        try:
            found = buffer.lookup_transform(fixed_frame, frame.frame_id, Time(nanoseconds=frame.stamp))
        except TransformException:
            return None
        return transform_from_message(found.transform)

    return pose


def figures(
    bag: Bag, frames: Sequence[FrameTruth], predictions: Mapping[int, Sequence[ObjectPose]], min_score: float
) -> tuple[dict[str, Any], Run | None]:
    """What is measured against the bag's truth, for report.json; nothing but a count where it has none."""
    judged = [f for f in frames if f.objects is not None and f.index in predictions]
    without = {"frames_without_truth": len(predictions) - len(judged)}
    if not judged:
        return without, None
    measured, reason = measure(judged, predictions, bag.path.name, min_score)
    values = {**numbers(measured.detections), **without, **plain_figures(measured)}
    return {**values, **({"no_stability": reason} if reason else {})}, measured


def views_of(bag: Bag) -> Frames:
    """The images of the frames that a report shows, by the image_path of results; the bag is read through once."""

    def views(keys: Iterable[str]) -> dict[str, View]:
        wanted = {int(key.rpartition("/")[2]): key for key in keys}
        return {wanted[f.index]: View(f.image, f.camera) for f in bag.frames() if f.index in wanted}

    return views


def _print(title: str, report: Mapping[str, Any], measured: Run | None) -> None:
    print(f"\n{title}")
    plain = {k: v for k, v in report.items() if isinstance(v, (int, float, str)) and k != "explanation"}
    plain |= {k: "  ".join(f"{n} {v}" for n, v in report[k].items()) for k in ("step_ms", "latency_ms") if k in report}
    width = max(map(len, plain))
    print("\n".join(f"  {key:<{width}}  {value}" for key, value in plain.items()))
    if measured is None:
        print("  the bag tells no truth of these frames: nothing to compare with")
        return
    print(ap_table(measured.reports))
    print(error_table(measured.detections))
    if measured.steadiness is not None:
        print(stability_line(measured.steadiness))


def _skips(bag: Bag) -> dict[str, Any]:
    """What of the bag could not be used, counted and named."""
    return {
        "frames_skipped": len(bag.skipped_frames),
        "truths_skipped": len(bag.skipped_ground_truths),
        "skipped": {**bag.skipped_frames, **bag.skipped_ground_truths},
        "damage": bag.damage,
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    least = EstimatorOptions().score_threshold
    parser = argparse.ArgumentParser(
        prog="python -m seqpose_ros.evaluate_bag",
        description="run the node's estimator over every frame of a bag and score it against the bag's truth",
    )
    parser.add_argument("bag", type=Path, help="bag folder or file (MCAP or sqlite3)")
    parser.add_argument("--checkpoint", default="seqpose-nano", help="bundled name, folder or file")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json and pictures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--image-topic", help="if the bag has several")
    parser.add_argument("--camera-info-topic", help="if the bag has several")
    parser.add_argument("--truth-topic", default=GROUND_TRUTH_TOPIC, help="vision_msgs/Detection3DArray (%(default)s)")
    parser.add_argument("--rectified", action="store_true", help="the images are rectified: use P of camera_info")
    parser.add_argument("--fixed-frame", default="", help="the node's fixed_frame, for ego-motion from the bag's tf")
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.01,
        help="the node's score_threshold; ranked AP wants low scores too (default: %(default)s)",
    )
    parser.add_argument(
        "--recall-score",
        type=float,
        default=least,
        help="least score for recalls, medians and stability (default: %(default)s, the node's own threshold)",
    )
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="also play the bag to the node over DDS: latency, dropped frames, and the same figures",
    )
    parser.add_argument("--rate", type=float, default=1.0, help="of --realtime: times the recorded speed (default 1)")
    parser.add_argument("--video", action="store_true", help="also write video.mp4 and frames.png")
    parser.add_argument(
        "--report", action="store_true", help="also write report/report.html: tables, curves, frames, faults"
    )
    options = parser.parse_args(arguments)
    if not options.rate > 0:
        parser.error(f"--rate is {options.rate}; it must be more than 0")
    return options


def _realtime(bag: Bag, run: BagRun, options: argparse.Namespace) -> tuple[dict[str, Any], Run | None]:
    os.environ.update(replay.private_ros_environment())
    parameters = {
        "checkpoint": options.checkpoint,
        "device": options.device,
        "score_threshold": options.min_score,
        "rectified": options.rectified,
        **({"fixed_frame": options.fixed_frame} if options.fixed_frame else {}),
    }
    live = realtime.run(bag, run.frames, parameters, options.rate, options.out)
    values, measured = figures(bag, run.frames, live.predictions, options.recall_score)
    return {"rate": options.rate, **live.statistics, **values}, measured


def _write_report(bag: Bag, measured: Run | None, options: argparse.Namespace) -> None:
    if measured is None:
        print("no report is written: the bag tells no truth", file=sys.stderr)
        return
    name = Path(options.checkpoint).name
    facts = {
        "checkpoint": name,
        "ego-motion": f"tf of {options.fixed_frame}" if options.fixed_frame else "not given",
        "ranked": f"predictions of score {options.min_score:g} and more",
    }
    subject = f"bag {options.bag.name}"
    path = write_report(
        options.out / "report",
        f"SeqPose evaluation: {name}, {subject}",
        subject,
        {"every frame": measured},
        views_of(bag),
        facts=facts,
    )
    print(f"report written to {path}")


def _evaluate(options: argparse.Namespace) -> int:
    estimator = PoseEstimator.from_pretrained(
        options.checkpoint, device=options.device, score_threshold=options.min_score
    )
    status = 0
    with Bag(
        options.bag, options.image_topic, options.camera_info_topic, options.rectified, options.truth_topic
    ) as bag:
        options.out.mkdir(parents=True, exist_ok=True)
        run = evaluate(estimator, bag, options.fixed_frame)
        values, measured = figures(bag, run.frames, run.predictions, options.recall_score)
        report = {
            "frames_processed": len(run.predictions),
            **_skips(bag),
            **values,
            "step_ms": {f"p{q}": round(1e3 * float(np.percentile(run.step_seconds, q)), 2) for q in (50, 95)},
            "bag": options.bag.name,
            "checkpoint": options.checkpoint,
            "min_score": options.min_score,
            "recall_score": options.recall_score,
            "measured_on": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, {options.device}",
            "explanation": EXPLANATION,
        }
        _print(f"{options.checkpoint} on every frame of {options.bag}", report, measured)
        for name, reason in [*report["skipped"].items()][:5]:
            print(f"skipped: {name}: {reason}")
        for sentence in bag.damage:
            print(sentence)
        if options.realtime:
            try:
                report["realtime"], live = _realtime(bag, run, options)
                _print(f"the node at {options.rate:g} times the recorded rate", report["realtime"], live)
            except ReplayError as error:
                report["realtime"] = {"error": str(error)}
                print(f"evaluate_bag: --realtime failed: {error}", file=sys.stderr)
                status = 1
        if options.video:
            drawn = {
                index: [o for o in objects if o.score >= options.recall_score]
                for index, objects in run.predictions.items()
            }
            write_video(options.out / "video.mp4", bag.frames(), drawn, bag.rate)
            write_sheet(options.out / "frames.png", bag.frames(), drawn)
        if options.report:
            _write_report(bag, measured, options)
    path = options.out / "report.json"
    path.write_text(json.dumps(without_nan(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Exit status 1 if the bag or the checkpoint cannot be used, or the real-time run fails."""
    options = _parse(arguments)
    try:
        return _evaluate(options)
    except (OSError, ValueError) as error:
        print(f"evaluate_bag: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
