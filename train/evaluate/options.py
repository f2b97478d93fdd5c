# SPDX-License-Identifier: Apache-2.0
"""The options of ``python -m train.evaluate``."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from seqpose_core.estimator_options import Precision, Runtime
from seqpose_core.evaluation import ScoringOptions
from seqpose_core.metrics.iou import IOU_KINDS
from train.data.nocs_sets import Labels
from train.evaluate.paper_results import ROWS
from train.evaluate.support import EXACT, PlaneNoise


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate and how. Either ``checkpoint`` and ``data``, or ``results``.

    :param results: folders of result pickles, one per method. :param data: root of a data set; with ``results``, for
        pictures only.
    :param frames: modes, see train.evaluate.predict.PredictionJob. :param limit: only the first clips.
    :param support_plane, plane_noise, depth: see train.evaluate.predict.PredictionJob.
    :param shard: (i, n): predict every n-th clip from the i-th on. :param dataset: name of the data of ``results``.
    """

    out: Path
    checkpoint: str | None = None
    results: tuple[Path, ...] = ()
    data: Path | None = None
    split: str = "test"
    labels: Labels = "gts"
    frames: tuple[str, ...] = ("multi",)
    limit: int | None = None
    report: bool = False
    ego_motion: bool = False
    support_plane: bool = False
    plane_noise: PlaneNoise = EXACT
    depth: bool = False
    min_score: float = 0.01
    max_objects: int = 20
    device: str = "cpu"
    runtime: Runtime = "eager"
    precision: Precision = "fp32"
    workers: int = 1
    shard: tuple[int, int] = (0, 1)
    dataset: str | None = None
    scoring: ScoringOptions = field(default_factory=ScoringOptions)


def parse(arguments: Sequence[str] | None, parser: argparse.ArgumentParser) -> EvaluateOptions:
    """Read the command line; an invalid argument ends the process with its reason."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", help="bundled name, folder, file or hub id")
    source.add_argument(
        "--results",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="score the results_*.pkl in a folder, without a model; several folders, one per method, are compared",
    )
    parser.add_argument(
        "--data", type=Path, help="root of a data set in the NOCS layout; with --results, for the report's pictures"
    )
    parser.add_argument(
        "--split",
        default="test",
        help="folder in --data, or real_test, camera_val (NOCS), housecat6d_test, wild6d_test (default: %(default)s)",
    )
    parser.add_argument(
        "--labels",
        choices=get_args(Labels),
        default="gts",
        help="kind of labels of the splits of NOCS, see docs/training.md (default: %(default)s)",
    )
    parser.add_argument(
        "--frames",
        nargs="+",
        choices=("single", "multi"),
        default=["multi"],
        help="single: reset the memory before each frame; multi: only before each clip (default: multi)",
    )
    parser.add_argument(
        "--iou", nargs="+", choices=IOU_KINDS, default=list(IOU_KINDS), help="see docs/metrics.md (default: all)"
    )
    parser.add_argument("--limit", type=int, help="only the first LIMIT clips")
    parser.add_argument("--out", type=Path, help="output folder (default: out/evaluate/<checkpoint>-<split>)")
    parser.add_argument(
        "--report", action="store_true", help="write OUT/report/report.html with curves, frames and worst cases"
    )
    parser.add_argument("--ego-motion", action="store_true", help="use the recorded camera poses")
    parser.add_argument(
        "--support-plane", action="store_true", help="use the plane that objects stand on; rendered sets only"
    )
    parser.add_argument(
        "--plane-noise",
        nargs=2,
        type=float,
        metavar=("CM", "DEG"),
        default=(0.0, 0.0),
        help="standard deviations of simulated errors of the plane's height and tilt (default: 0 0)",
    )
    parser.add_argument("--depth", action="store_true", help="use the depth images of the data set")
    parser.add_argument(
        "--min-score", type=float, default=0.01, help="lowest score for average precision (default: %(default)s)"
    )
    parser.add_argument(
        "--max-objects", type=int, default=20, help="maximum number of predictions per frame (default: %(default)s)"
    )
    parser.add_argument(
        "--recall-score",
        type=float,
        help="lowest score for recalls, medians, stability and the report's pictures (default: the checkpoint's "
        "threshold of each category)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<number> (default: %(default)s)")
    parser.add_argument(
        "--runtime",
        choices=get_args(Runtime),
        default="eager",
        help="engine that runs the network (default: %(default)s)",
    )
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32", help="default: %(default)s")
    parser.add_argument("--workers", type=int, help="processes that predict (default: one per core; one on a GPU)")
    parser.add_argument(
        "--shard", default="0/1", metavar="I/N", help="predict only every N-th clip, starting with clip I (from 0)"
    )
    parser.add_argument(
        "--dataset", choices=sorted(ROWS), help="data set of --results, for comparison with published figures"
    )
    values = vars(parser.parse_args(arguments))
    if values["checkpoint"] is not None and values["data"] is None:
        parser.error("--checkpoint needs --data, the root of a data set in the NOCS layout")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", values["device"]):
        parser.error(f"--device is {values['device']!r}; it must be cpu, cuda or cuda:<number>")
    if values["limit"] is not None and values["limit"] < 1:
        parser.error(f"--limit is {values['limit']}; it must be at least 1")
    if not all(0 <= value < float("inf") for value in values["plane_noise"]):
        parser.error(f"--plane-noise is {values['plane_noise']}; both values must be 0 or more")
    if any(values["plane_noise"]) and not values["support_plane"]:
        parser.error("--plane-noise needs --support-plane")
    values["plane_noise"] = PlaneNoise(*values["plane_noise"])
    try:
        values["scoring"] = ScoringOptions(tuple(values.pop("iou")), values.pop("recall_score"))
    except ValueError as error:
        parser.error(str(error))
    values["shard"] = _shard(parser, values["shard"])
    values["frames"] = tuple(values["frames"])
    if values["workers"] is None:
        values["workers"] = len(os.sched_getaffinity(0)) if values["device"] == "cpu" else 1
    values["results"] = tuple(values["results"])
    values["out"] = values["out"] or _default_out(values)
    return EvaluateOptions(**values)


def _default_out(values: dict[str, Any]) -> Path:
    """The folder of the results if there is one, else a folder named after what is evaluated."""
    if len(values["results"]) == 1:
        return Path(values["results"][0])
    if values["results"]:
        return Path("out/evaluate") / "-".join(folder.name for folder in values["results"])
    return Path("out/evaluate") / f"{Path(values['checkpoint']).name}-{values['split']}"


def _shard(parser: argparse.ArgumentParser, text: str) -> tuple[int, int]:
    part, _, count = text.partition("/")
    if not (part.isdigit() and count.isdigit() and int(part) < int(count)):
        parser.error(f"--shard is {text!r}, expected I/N with I from 0 to N-1, such as 0/4")
    return int(part), int(count)
