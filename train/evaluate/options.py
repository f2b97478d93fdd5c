# SPDX-License-Identifier: Apache-2.0
"""The command line of ``python -m train.evaluate``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from seqpose_core.metrics.iou import IOU_KINDS
from train.data.nocs_sets import Labels
from train.evaluate.published_results import ROWS


def parse(arguments: Sequence[str] | None, description: str) -> argparse.Namespace:
    """Read the arguments and fill in what depends on others; a refused one ends the process with its reason."""
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=description)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", help="bundled name, folder, file or hub id")
    source.add_argument("--results", type=Path, help="score the results_*.pkl of a folder, no model needed")
    parser.add_argument(
        "--data", type=Path, help="root of a set in the NOCS layout; with --results, for the report's pictures"
    )
    parser.add_argument("--split", default="test", help='split; "real_test" and "camera_val" in NOCS\'s own folders')
    parser.add_argument(
        "--labels", choices=get_args(Labels), default="gts", help="of NOCS's own splits (default: %(default)s)"
    )
    parser.add_argument(
        "--frames",
        nargs="+",
        choices=("single", "multi"),
        default=["multi"],
        help="forget everything before each frame, or only before each clip (default: multi)",
    )
    parser.add_argument("--iou", nargs="+", choices=IOU_KINDS, default=list(IOU_KINDS), help="default: all three")
    parser.add_argument("--limit", type=int, help="only the first so many clips")
    parser.add_argument("--out", type=Path, help="default: out/evaluate/<checkpoint>-<split>")
    parser.add_argument(
        "--report", action="store_true", help="write OUT/report/report.html: curves, frames, worst cases"
    )
    parser.add_argument("--ego-motion", action="store_true", help="give recorded camera poses to the estimator")
    parser.add_argument("--min-score", type=float, default=0.01, help="least score ranked (default: %(default)s)")
    parser.add_argument("--max-objects", type=int, default=20, help="most per frame (default: %(default)s)")
    parser.add_argument(
        "--recall-score",
        type=float,
        default=0.3,
        help="least score for recalls, medians, stability and the report's pictures (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, help="processes (default: one for each core, 1 off the CPU)")
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="predict every N-th clip from the I-th on")
    parser.add_argument("--dataset", choices=sorted(ROWS), help="say that --results were measured on this set")
    options = parser.parse_args(arguments)
    if options.checkpoint is not None and options.data is None:
        parser.error("--checkpoint needs --data, the root of a set in the NOCS layout")
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit is {options.limit}; it must be at least 1")
    options.shard = _shard(parser, options.shard)
    if options.workers is None:
        options.workers = len(os.sched_getaffinity(0)) if options.device == "cpu" else 1
    if options.out is None:
        options.out = (
            options.results
            if options.results is not None
            else Path("out/evaluate") / f"{Path(options.checkpoint).name}-{options.split}"
        )
    return options


def _shard(parser: argparse.ArgumentParser, text: str) -> tuple[int, int]:
    part, _, whole = text.partition("/")
    if not (part.isdigit() and whole.isdigit() and int(part) < int(whole)):
        parser.error(f"--shard is {text!r}, expected I/N with I from 0 to N-1, such as 0/4")
    return int(part), int(whole)
