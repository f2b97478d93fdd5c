# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.demo``: play a bag to the real node, and write a video and figures of its output."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from seqpose_core import checkpoint
from seqpose_core.command_line import command_parser
from seqpose_core.evaluation import ScoringOptions
from seqpose_core.evaluation.figures import EXPLANATION, headline_figures, write_json
from seqpose_core.evaluation.terminal import align_values
from seqpose_ros.bags import realtime, replay
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.replay import ReplayError
from seqpose_ros.bags.scoring import FrameGroundTruth, score_frames
from seqpose_ros.bags.video import write_sheet, write_video
from seqpose_ros.view.scene_page import write_scene_page

BUNDLED_BAG = Path(__file__).parent / "data" / "demo_bag"
RECALLS = ("recall_10deg10cm", "recall_10cm")


def stated_recalls(name: str) -> dict[str, float]:
    """Recalls of the model card on the bundled bag: ``demo_bag`` in its metrics.yaml, empty without the file."""
    path = checkpoint.resolve(name) / "metrics.yaml"
    if not path.is_file():
        return {}
    return dict((yaml.safe_load(path.read_text()) or {}).get("demo_bag", {}))


def low_recalls(report: Mapping[str, Any], stated: Mapping[str, float]) -> list[str]:
    """One sentence for each recall below half of the stated one."""
    return [
        f"{name} is {report[name]} %, below half of the {stated[name]} % that the model card states"
        for name in RECALLS
        if name in stated and report[name] < stated[name] / 2
    ]


def run_demo(bag_path: Path, name: str, out: Path, rate: float, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Replay, score and draw; returns the report, also written to ``out``.

    :raises ReplayError: the node or the player failed, or the node published nothing.
    :raises seqpose_core.weights.CheckpointError: there is no checkpoint ``name``.
    """
    out.mkdir(parents=True, exist_ok=True)
    categories = checkpoint.read_config(name).categories
    with Bag(bag_path, categories=categories) as bag:
        frames = [FrameGroundTruth(f.index, f.stamp, f.ground_truth, None, f.sequence) for f in bag.frames()]
        run = realtime.run(bag, frames, {"checkpoint": name, **parameters}, rate, out)
        options = ScoringOptions(iou_kinds=(), categories=categories)
        scored = score_frames(frames, run.predictions, bag_path.name, options)
        print("drawing")
        video = write_video(out / "demo.mp4", bag.frames(), run.predictions, bag.rate)
        shown = write_sheet(out / "demo.png", bag.frames(), run.predictions, categories)
        page = write_scene_page(out / "scene.html", bag_path.name, bag.frames(), run.predictions)
    report = {
        **run.statistics,
        **(headline_figures(scored.errors) if scored else {}),
        "ground_truth_objects_in_bag": sum(len(f.objects or []) for f in frames),
        "bag": bag_path.name,
        "checkpoint": name,
        "rate": rate,
        "measured_on": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "explanation": EXPLANATION,
        "video": video.name,
        "page": page.name,
        "picture": {"file": "demo.png", "frames": shown},
    }
    write_json(out / "report.json", report)
    return report


def table(report: Mapping[str, Any]) -> str:
    """The figures as aligned lines."""
    rows: dict[str, Any] = {k: v for k, v in report.items() if isinstance(v, (int, float)) or v is None}
    rows["latency_ms"] = report["latency_ms"] or report["latency_not_known"]
    rows["tf_frames"] = f"{len(report['tf_frames'])}: {', '.join(report['tf_frames'])}"
    return align_values(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Exit status 1 if the replay failed or a recall is too low."""
    parser = command_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    parser.add_argument("--bag", type=Path, default=BUNDLED_BAG, help="default: the bundled one")
    parser.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name, folder or file")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the recorded speed (default: 1)")
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
    print(f"written to {options.out}: {report['video']}, demo.png, {report['page']}, report.json")
    stated = stated_recalls(options.checkpoint) if options.bag == BUNDLED_BAG else {}
    problems = low_recalls(report, stated)
    for problem in problems:
        print(f"demo failed: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
