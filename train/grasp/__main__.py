# SPDX-License-Identifier: Apache-2.0
"""``python -m train.grasp``: measure how often objects are lifted, from rendered picture to simulated gripper.

    python -m train.grasp --scenes 60 --out out/grasp
    python -m train.grasp --scenes 60 --poses true_pose --out out/grasp-true-pose

Needs the extra ``sim`` (MuJoCo). Finished scenes are kept in the output folder, so a run can be interrupted and
resumed, and extended by a larger --scenes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seqpose_core.command_line import command_parser
from train.grasp.report import summarise, table, write_report
from train.grasp.run import GraspJob, run_scenes
from train.grasp.show import write_pictures
from train.grasp.trial import POSE_SOURCES


def _pose_sources(text: str) -> tuple[str, ...]:
    sources = tuple(text.split(","))
    for source in sources:
        if source not in POSE_SOURCES:
            raise argparse.ArgumentTypeError(f"{source!r} is no source of poses; they are {', '.join(POSE_SOURCES)}")
    return sources


def main(arguments: list[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--poses",
        dest="sources",
        type=_pose_sources,
        default=POSE_SOURCES,
        help="where the poses come from, comma-separated: " + ", ".join(POSE_SOURCES),
    )
    parser.add_argument("--arms", dest="sources", type=_pose_sources, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name or folder")
    parser.add_argument("--opening", type=float, default=0.085, help="of the gripper, metres")
    parser.add_argument("--score-threshold", type=float, default=GraspJob.score_threshold, help="of the detections")
    parser.add_argument("--smoothing", type=float, default=GraspJob.smoothing, help="of the poses over frames, 0..1")
    parser.add_argument("--node", action="store_true", help="poses from seqpose_node over DDS; needs the extra ros")
    parser.add_argument("--show", type=int, default=6, help="attempts in picture.png and video.mp4; 0 = none")
    parser.add_argument("--workers", type=int, default=1, help="worker processes, each on one core")
    parser.add_argument("--out", type=Path, default=Path("out/grasp"))
    options = parser.parse_args(arguments)
    if options.scenes < 1 or options.workers < 1:
        parser.error("--scenes and --workers must be at least 1")
    job = GraspJob(
        options.out,
        options.scenes,
        options.seed,
        options.sources,
        options.checkpoint,
        options.opening,
        options.node,
        options.score_threshold,
        options.smoothing,
    )
    records = run_scenes(job, options.workers)
    report = summarise(records, job.sources)
    write_report(job.out, report)
    print(table(report))
    if options.show > 0:
        write_pictures(job, options.show)


if __name__ == "__main__":
    main()
