# SPDX-License-Identifier: Apache-2.0
"""``python -m train.evaluate``: measure a checkpoint, or anyone's result pickles, by the NOCS protocol.

    python -m train.evaluate --checkpoint seqpose-nano --data out/data --split test --frames single multi
    python -m train.evaluate --results FOLDER --iou original fixed oriented

Predictions lie in OUT/single and OUT/multi, one pickle per frame; run it again with the same ``--out`` to go
on where it stopped. With ``--shard I/N`` a process does every N-th clip only; run it once more without, to
score all.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.metrics.errors import Detections, detect
from seqpose_core.metrics.iou import IOU_KINDS
from seqpose_core.metrics.nocs import evaluate
from seqpose_core.metrics.report import Report
from seqpose_core.metrics.results import ResultError
from seqpose_core.metrics.stability import StabilityReport, stability
from train.evaluation_sets import open_set
from train.predict import PredictionJob, predict
from train.published import ROWS
from train.result_files import read_results, stored_results
from train.sequences import sequences
from train.tables import ap_table, error_table, stability_line


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a refused input ends it with its message."""
    options = _parse(arguments)
    metrics: dict[str, Any] | None
    try:
        if options.results is not None:
            paths = stored_results(options.results)
            metrics = _score(
                {"results": paths}, options, options.dataset or f"results of {options.results.name}", {}
            )
        else:
            metrics = _predict_and_score(options)
    except (ValueError, OSError) as error:
        sys.exit(f"evaluate: {error}")
    if metrics is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "metrics.json"
        path.write_text(
            json.dumps(_without_nan(metrics), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        print(f"\nwritten to {path}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.evaluate", description=(__doc__ or "").split("\n\n")[0]
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", help="bundled name, folder, file or hub id")
    source.add_argument("--results", type=Path, help="score the results_*.pkl of a folder, no model needed")
    parser.add_argument("--data", type=Path, help="root of a set in the NOCS layout")
    parser.add_argument(
        "--split", default="test", help='split; "real_test" and "camera_val" in NOCS\'s own folders'
    )
    parser.add_argument(
        "--frames", nargs="+", choices=("single", "multi"), default=["multi"],
        help="forget everything before each frame, or only before each clip (default: multi)",
    )  # fmt: skip
    parser.add_argument(
        "--iou", nargs="+", choices=IOU_KINDS, default=list(IOU_KINDS), help="default: all three"
    )
    parser.add_argument("--limit", type=int, help="only the first so many clips")
    parser.add_argument("--out", type=Path, help="default: out/evaluate/<checkpoint>-<split>")
    parser.add_argument(
        "--ego-motion", action="store_true", help="give recorded camera poses to the estimator"
    )
    parser.add_argument(
        "--min-score", type=float, default=0.01, help="least score ranked (default: %(default)s)"
    )
    parser.add_argument("--max-objects", type=int, default=20, help="most per frame (default: %(default)s)")
    parser.add_argument(
        "--recall-score", type=float, default=0.3,
        help="least score for recalls, medians and stability (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, help="processes (default: one for each core, 1 off the CPU)")
    parser.add_argument(
        "--shard", default="0/1", metavar="I/N", help="predict every N-th clip from the I-th on"
    )
    parser.add_argument(
        "--dataset", choices=sorted(ROWS), help="say that --results were measured on this set"
    )
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


def _predict_and_score(options: argparse.Namespace) -> dict[str, Any] | None:
    # One thread a process: the last bits of a sum must not depend on how many cores there are.
    torch.set_num_threads(1)
    name = open_set(options.data, options.split).name
    if options.limit is not None:
        name = f"first {options.limit} clips of {name}"
    paths, broken = {}, {}
    for mode in dict.fromkeys(options.frames):
        job = PredictionJob(
            checkpoint=options.checkpoint, data=options.data, split=options.split, out=options.out / mode,
            frames=mode, ego_motion=options.ego_motion, limit=options.limit, min_score=options.min_score,
            max_objects=options.max_objects, device=options.device,
        )  # fmt: skip
        paths[mode], faults = predict(job, options.workers, options.shard)
        broken.update(faults)
    if options.shard[1] > 1:
        print(f"shard {options.shard[0]}/{options.shard[1]} is predicted; run without --shard to score all")
        return None
    return _score(paths, options, name, broken)


def _score(
    paths: dict[str, list[Path]], options: argparse.Namespace, data: str, broken: dict[str, str]
) -> dict[str, Any]:
    """Score, print and return everything of the runs given by name."""
    metrics: dict[str, Any] = {
        "data": data,
        "checkpoint": options.checkpoint,
        "ego_motion": options.ego_motion if options.checkpoint else None,
        "min_score": options.min_score if options.checkpoint else None,
        "recall_score": options.recall_score,
    }
    reports: dict[str, Report] = {}
    found: dict[str, Detections] = {}
    steady: dict[str, StabilityReport] = {}
    for run, files in paths.items():
        results, faults = read_results(files)
        broken = {**broken, **faults}
        if not results:
            raise ResultError(
                f"none of the {len(files)} result files of {run!r} can be used: {_some(broken)}"
            )
        for kind in options.iou:
            reports[f"{run} {kind}"] = evaluate(results, kind)
        found[run] = detect(results, options.recall_score)
        clips = sequences(results, options.recall_score)
        if clips:
            steady[run] = stability(*clips)
    published = ROWS.get(data, ())  # never beside figures on other data
    frames = next(iter(reports.values())).frames
    print(f"\n{options.checkpoint or options.results}, measured on {data}, {frames} frames")
    print(ap_table(reports, published))
    for run, detections in found.items():
        print(f"\n{run}: predictions of score {options.recall_score} and more; measured on {data}")
        print(error_table(detections))
        if run in steady:
            print(stability_line(steady[run]))
    for name, report in reports.items():
        for reason, count in report.dropped.items():
            print(f"{name}: {count} × {reason}")
    if broken:
        print(f"{len(broken)} frames or files skipped: {_some(broken)}")
    metrics["ap"] = {
        name: {**report.to_dict(), "curves": _curves(report)} for name, report in reports.items()
    }
    metrics["detections"] = {
        run: {name or "all": d.summary(name) for name in (None, *CATEGORY_NAMES)} for run, d in found.items()
    }
    metrics["stability"] = {run: report.summary() for run, report in steady.items()}
    metrics["skipped"] = broken
    return metrics


def _curves(report: Report) -> dict[str, dict[str, list[float]]]:
    """Mean average precision against each threshold; thresholds and values of equal length."""
    curves = {"iou": report.iou_curve(), "degrees": report.rotation_curve(), "cm": report.translation_curve()}
    return {name: {"threshold": at.tolist(), "ap": ap.tolist()} for name, (at, ap) in curves.items()}


def _some(broken: dict[str, str]) -> str:
    first = [f"{name} ({reason})" for name, reason in list(broken.items())[:5]]
    return "; ".join(first) + ("; …" if len(broken) > 5 else "")


def _without_nan(value: Any) -> Any:
    """The same with None for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    main()
