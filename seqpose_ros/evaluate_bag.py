# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.evaluate_bag BAG``: evaluate the node's estimator on every frame of a bag, without DDS.

A replayed bag loses frames depending on the load of the machine; reading it gives the same figures every time, and the
same as ``train.evaluate`` on the same frames. ``--realtime`` adds the replay: the real node at the recorded rate.
``--support-plane`` adds a second pass with the support plane; its figures are apart from those of RGB only.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from seqpose_core import PoseEstimator
from seqpose_core.command_line import command_parser
from seqpose_core.estimator_options import Runtime
from seqpose_core.evaluation import Evaluation, ScoredRun, ScoringOptions
from seqpose_core.evaluation.figures import EXPLANATION, write_json
from seqpose_core.evaluation.support import support_figures
from seqpose_core.evaluation.terminal import align_values, print_evaluation
from seqpose_core.report import write_report
from seqpose_ros.bags import realtime, replay
from seqpose_ros.bags.bag import GROUND_TRUTH_TOPIC, Bag
from seqpose_ros.bags.estimate import BagPredictions, SupportFrame, predict_bag
from seqpose_ros.bags.replay import ReplayError
from seqpose_ros.bags.scoring import bag_figures, score_frames, views_of_bag
from seqpose_ros.bags.video import write_sheet, write_video
from seqpose_ros.parameter_checks import check_device

#: Names of the runs in tables and reports.
_EVERY_FRAME, _WITH_PLANE = "every frame", "every frame, support plane"


@dataclass(frozen=True)
class BagEvaluationOptions:
    """What to evaluate and how; the help of the command line describes each option."""

    bag: Path
    out: Path
    checkpoint: str = "seqpose-lite2"
    device: str = "cpu"
    runtime: Runtime = "default"
    image_topic: str | None = None
    camera_info_topic: str | None = None
    ground_truth_topic: str = GROUND_TRUTH_TOPIC
    rectified: bool = False
    fixed_frame: str = ""
    support: SupportFrame | None = None
    min_score: float = 0.01
    realtime: bool = False
    rate: float = 1.0
    same_domain: bool = False
    video: bool = False
    report: bool = False
    scoring: ScoringOptions = field(default_factory=ScoringOptions)

    def evaluation(self, runs: Mapping[str, ScoredRun], bag: Bag) -> Evaluation:
        """The evaluation of one or several runs, by name."""
        checkpoint, dataset = Path(self.checkpoint).name, f"bag {self.bag.name}"
        facts = {
            "checkpoint": checkpoint,
            "ego-motion": f"tf of {self.fixed_frame}" if self.fixed_frame else "not given",
            "ranked": f"predictions with a score of at least {self.min_score:g}",
        }
        if self.support and _WITH_PLANE in runs:
            facts["support plane"] = f"z = {self.support.height:g} m of {self.support.name}, by tf"
        skipped = {**bag.skipped_frames, **bag.skipped_ground_truths}
        views = views_of_bag(bag)
        return Evaluation(checkpoint, dataset, runs, facts, skipped=skipped, load_views=views)


def parse(arguments: Sequence[str] | None) -> BagEvaluationOptions:
    """Read the command line; an invalid argument ends the process with its reason."""
    parser = command_parser(__doc__)
    parser.add_argument("bag", type=Path, help="bag folder or file (MCAP or sqlite3)")
    parser.add_argument(
        "--checkpoint", default="seqpose-lite2", help="bundled name, folder or file (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder: report.json, pictures")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<number> (default: %(default)s)")
    parser.add_argument(
        "--runtime", choices=get_args(Runtime), default="default", help="as the node's parameter of that name"
    )
    parser.add_argument("--image-topic", help="required if the bag has several image topics")
    parser.add_argument("--camera-info-topic", help="default: that of the image topic's namespace")
    parser.add_argument(
        "--ground-truth-topic", default=GROUND_TRUTH_TOPIC, help="vision_msgs/Detection3DArray (default: %(default)s)"
    )
    parser.add_argument("--truth-topic", dest="ground_truth_topic", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--rectified", action="store_true", help="the images are rectified: use P of camera_info")
    parser.add_argument("--fixed-frame", default="", help="world frame for ego-motion, from the bag's tf")
    parser.add_argument(
        "--support-plane",
        metavar="FRAME",
        help="also evaluate with the support plane z = --support-height of this frame, z up, from the bag's tf",
    )
    parser.add_argument("--support-height", type=float, default=0.0, help="metres (default: 0)")
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.01,
        help="lowest score for average precision (default: %(default)s)",
    )
    parser.add_argument(
        "--recall-score",
        type=float,
        help="lowest score for recalls, medians and stability (default: the checkpoint's threshold of each category)",
    )
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="also play the bag to the node over DDS: latency, dropped frames, and the same figures",
    )
    parser.add_argument(
        "--rate", type=float, default=1.0, help="speed of --realtime relative to the recording (default: 1)"
    )
    parser.add_argument(
        "--same-domain", action="store_true", help="run --realtime in the ROS domain of the environment, for RViz"
    )
    parser.add_argument("--video", action="store_true", help="also write video.mp4 and frames.png")
    parser.add_argument(
        "--report", action="store_true", help="also write report/report.html: tables, curves, frames, worst cases"
    )
    values = vars(parser.parse_args(arguments))
    if problem := check_device(values["device"]):
        parser.error(f"--device {problem}")
    if not 0 < values["rate"] < math.inf:
        parser.error(f"--rate is {values['rate']}; it must be more than 0 and finite")
    frame, height = values.pop("support_plane"), values.pop("support_height")
    if not math.isfinite(height) or (height and not frame):
        parser.error(f"--support-height is {height:g}; it must be finite, and --support-plane must name its frame")
    values["support"] = SupportFrame(frame, height) if frame else None
    try:
        scoring = ScoringOptions(recall_score=values.pop("recall_score"))
    except ValueError as error:
        parser.error(str(error))
    if values["out"].exists() and not values["out"].is_dir():
        parser.error(f"--out is {values['out']}, which is a file; name a folder")
    return BagEvaluationOptions(scoring=scoring, **values)


def evaluate(options: BagEvaluationOptions) -> int:
    """Evaluate a bag and write the report; returns 1 if the real-time run fails, else 0.

    :raises ValueError: a bag or checkpoint that cannot be used. :raises OSError: a missing file.
    """
    estimator = PoseEstimator.from_pretrained(
        options.checkpoint, device=options.device, runtime=options.runtime, score_threshold=options.min_score
    )
    options = replace(options, scoring=replace(options.scoring, categories=estimator.categories))
    status = 0
    with Bag(
        options.bag,
        options.image_topic,
        options.camera_info_topic,
        options.rectified,
        options.ground_truth_topic,
        estimator.categories,
    ) as bag:
        options.out.mkdir(parents=True, exist_ok=True)
        predictions = predict_bag(estimator, bag, options.fixed_frame)
        run = score_frames(predictions.frames, predictions.objects, bag.path.name, options.scoring)
        report = {
            "frames_processed": len(predictions.objects),
            "frames_skipped": len(bag.skipped_frames),
            "ground_truths_skipped": len(bag.skipped_ground_truths),
            "skipped": {**bag.skipped_frames, **bag.skipped_ground_truths},
            "damage": bag.damage,
            "warnings": bag.warnings,
            **bag_figures(run, len(predictions.objects)),
            "step_ms": _percentiles_ms(predictions.step_seconds),
            "bag": options.bag.name,
            "checkpoint": options.checkpoint,
            "runtime": estimator.runtime,
            "min_score": options.min_score,
            "recall_score": options.scoring.recall_score,
            "measured_on": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, {options.device}",
            "explanation": EXPLANATION,
        }
        print(f"\n{options.checkpoint} on every frame of {options.bag}")
        runs = {_EVERY_FRAME: run}
        _print_run(_EVERY_FRAME, report, run, bag, options)
        if options.support:
            report["support_plane"], runs[_WITH_PLANE] = _with_support_plane(estimator, bag, options.support, options)
            print(f"\n{options.checkpoint} with the support plane of {options.support.name}")
            _print_run(_WITH_PLANE, report["support_plane"], runs[_WITH_PLANE], bag, options)
        for sentence in [*bag.damage, *bag.warnings]:
            print(sentence)
        if options.realtime:
            try:
                report["realtime"], live = _realtime(bag, predictions, options)
                print(f"\nthe node at {options.rate:g} times the recorded rate")
                _print_run("real time", report["realtime"], live, bag, options)
            except ReplayError as error:
                report["realtime"] = {"error": str(error)}
                print(f"evaluate_bag: --realtime failed: {error}", file=sys.stderr)
                status = 1
        # Figures first: pictures may fail, for example without space on the disk.
        path = options.out / "report.json"
        write_json(path, report)
        print(f"\nwritten to {path}")
        if options.report and run is None:
            print("no report is written: the bag has no ground truth", file=sys.stderr)
        elif options.report:
            scored = {name: run for name, run in runs.items() if run is not None}
            page = write_report(options.out / "report", options.evaluation(scored, bag))
            print(f"report written to {page}")
        if options.video:
            _write_video(bag, predictions, options)
    return status


def _percentiles_ms(values: Sequence[float]) -> dict[str, float]:
    return {f"p{q}": round(1e3 * float(np.percentile(values, q)), 2) for q in (50, 95)}


def _print_run(
    name: str, report: Mapping[str, Any], run: ScoredRun | None, bag: Bag, options: BagEvaluationOptions
) -> None:
    shown = {k: v for k, v in report.items() if isinstance(v, (int, float, str)) and k != "explanation"}
    print(align_values({**shown, **{k: report[k] for k in ("step_ms", "latency_ms") if report.get(k)}}))
    if run is None:
        print("  the bag has no ground truth for these frames: they are not scored")
        for frame, reason in list(bag.skipped_frames.items())[:5]:
            print(f"skipped: {frame}: {reason}")
    else:
        print_evaluation(options.evaluation({name: run}, bag))


def _with_support_plane(
    estimator: PoseEstimator, bag: Bag, support: SupportFrame, options: BagEvaluationOptions
) -> tuple[dict[str, Any], ScoredRun | None]:
    predictions = predict_bag(estimator, bag, options.fixed_frame, support)
    run = score_frames(predictions.frames, predictions.objects, bag.path.name, options.scoring)
    objects = [item for items in predictions.objects.values() for item in items]
    figures = {
        "frame": support.name,
        "height": support.height,
        "frames_processed": len(predictions.objects),
        "frames_with_plane": sum(f.support_plane is not None for f in predictions.frames),
        "objects_on_support": sum(bool(item.on_support) for item in objects),
        **bag_figures(run, len(predictions.objects)),
        "support": support_figures(run) if run else None,
    }
    return figures, run


def _realtime(
    bag: Bag, predictions: BagPredictions, options: BagEvaluationOptions
) -> tuple[dict[str, Any], ScoredRun | None]:
    if not options.same_domain:
        os.environ.update(replay.private_ros_environment())
    parameters = {
        "checkpoint": options.checkpoint,
        "device": options.device,
        "runtime": options.runtime,
        "score_threshold": options.min_score,
        "rectified": options.rectified,
        **({"fixed_frame": options.fixed_frame} if options.fixed_frame else {}),
    }
    live = realtime.run(bag, predictions.frames, parameters, options.rate, options.out)
    run = score_frames(predictions.frames, live.predictions, bag.path.name, options.scoring)
    return {"rate": options.rate, **live.statistics, **bag_figures(run, len(live.predictions))}, run


def _write_video(bag: Bag, predictions: BagPredictions, options: BagEvaluationOptions) -> None:
    least = options.scoring.recall_score
    drawn = {index: [o for o in objects if o.reaches(least)] for index, objects in predictions.objects.items()}
    write_video(options.out / "video.mp4", bag.frames(), drawn, bag.rate)
    write_sheet(options.out / "frames.png", bag.frames(), drawn, bag.categories)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Exit status 1 if the bag or the checkpoint cannot be used, or the real-time run fails."""
    options = parse(arguments)
    try:
        return evaluate(options)
    except (OSError, ValueError) as error:
        print(f"evaluate_bag: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
