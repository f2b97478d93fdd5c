# SPDX-License-Identifier: Apache-2.0
"""Score predictions and print, write and report the figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.metrics.ap_report import Report
from seqpose_core.metrics.results import ResultError
from seqpose_core.metrics.summary import measure
from seqpose_core.report import Run, no_images, write_report
from seqpose_core.report.tables import stability_line
from seqpose_core.report.text import ap_table, error_table
from train.evaluate.predict import PredictionJob, predict, weights_digest
from train.evaluate.published_results import ROWS, published_cells
from train.evaluate.result_files import read_results
from train.evaluate.sequences import sequences
from train.evaluate.sets import open_set, views_of_set

_MODES = {
    "single": "single: everything is forgotten before each frame",
    "multi": "multi: everything is forgotten before each clip",
}


def predict_and_score(options: argparse.Namespace) -> dict[str, Any] | None:
    # One thread a process: the last bits of a sum must not depend on how many cores there are.
    torch.set_num_threads(1)
    name = open_set(options.data, options.split, options.labels).name
    if options.limit is not None:
        name = f"first {options.limit} clips of {name}"
    paths, broken = {}, {}
    for mode in dict.fromkeys(options.frames):
        job = PredictionJob(
            checkpoint=options.checkpoint,
            data=options.data,
            split=options.split,
            out=options.out / mode,
            frames=mode,
            ego_motion=options.ego_motion,
            limit=options.limit,
            min_score=options.min_score,
            max_objects=options.max_objects,
            device=options.device,
            labels=options.labels,
        )
        paths[mode], faults = predict(job, options.workers, options.shard)
        broken.update(faults)
    if options.shard[1] > 1:
        print(f"shard {options.shard[0]}/{options.shard[1]} is predicted; run without --shard to score all")
        return None
    return score_results(paths, options, name, broken)


def score_results(
    paths: dict[str, list[Path]], options: argparse.Namespace, data: str, broken: dict[str, str]
) -> dict[str, Any]:
    """Score, print and return everything of the runs given by name; write the report if it is asked for."""
    runs: dict[str, Run] = {}
    for name, files in paths.items():
        results, faults = read_results(files)
        broken = {**broken, **faults}
        if not results:
            raise ResultError(f"none of the {len(files)} result files of {name!r} can be used: {_some(broken)}")
        runs[name] = measure(results, sequences(results, options.recall_score), options.recall_score, options.iou)
    reports = {f"{name} {kind}": report for name, run in runs.items() for kind, report in run.reports.items()}
    _print(runs, reports, options, data, broken)
    if options.report:
        print(f"\nreport written to {_write_report(runs, options, data, broken)}")
    return {
        "data": data,
        "checkpoint": options.checkpoint,
        "ego_motion": options.ego_motion if options.checkpoint else None,
        "min_score": options.min_score if options.checkpoint else None,
        "recall_score": options.recall_score,
        "ap": {name: {**report.to_dict(), "curves": _curves(report)} for name, report in reports.items()},
        "detections": {
            name: {c or "all": run.detections.summary(c) for c in (None, *CATEGORY_NAMES)} for name, run in runs.items()
        },
        "stability": {name: run.steadiness.summary() for name, run in runs.items() if run.steadiness},
        "skipped": broken,
    }


def _print(
    runs: dict[str, Run],
    reports: dict[str, Report],
    options: argparse.Namespace,
    data: str,
    broken: dict[str, str],
) -> None:
    frames = next(iter(reports.values())).frames
    print(f"\n{options.checkpoint or options.results}, measured on {data}, {frames} frames")
    print(ap_table(reports, published_cells(ROWS.get(data, ()))))  # papers never beside figures on other data
    for name, run in runs.items():
        print(f"\n{name}: predictions of score {options.recall_score} and more; measured on {data}")
        print(error_table(run.detections))
        if run.steadiness:
            print(stability_line(run.steadiness))
    for name, report in reports.items():
        for reason, count in report.dropped.items():
            print(f"{name}: {count} × {reason}")
    if broken:
        print(f"{len(broken)} frames or files skipped: {_some(broken)}")


def _write_report(runs: dict[str, Run], options: argparse.Namespace, data: str, broken: dict[str, str]) -> Path:
    """Write OUT/report/report.html, with pictures where ``--data`` tells where they are."""
    subject = options.results.name if options.checkpoint is None else Path(options.checkpoint).name
    facts = {"results" if options.checkpoint is None else "checkpoint": subject}
    if options.checkpoint is not None:
        facts["weights"] = f"SHA-256 {weights_digest(options.checkpoint)}"
        facts["runs"] = "; ".join(_MODES[name] for name in runs)
        facts["ego-motion"] = "recorded camera poses given" if options.ego_motion else "not given"
        facts["ranked"] = f"up to {options.max_objects} predictions a frame of score {options.min_score:g} and more"
    if broken:
        facts["skipped"] = f"{len(broken)} frames or files that cannot be read"
    views = no_images if options.data is None else views_of_set(options.data, options.split)
    published = published_cells(ROWS.get(data, ()))
    return write_report(
        options.out / "report", f"SeqPose evaluation: {subject}", data, runs, views, facts=facts, published=published
    )


def _curves(report: Report) -> dict[str, dict[str, list[float]]]:
    """Mean average precision against each threshold; thresholds and values of equal length."""
    curves = {"iou": report.iou_curve(), "degrees": report.rotation_curve(), "cm": report.translation_curve()}
    return {name: {"threshold": at.tolist(), "ap": ap.tolist()} for name, (at, ap) in curves.items()}


def _some(broken: dict[str, str]) -> str:
    first = [f"{name} ({reason})" for name, reason in list(broken.items())[:5]]
    return "; ".join(first) + ("; …" if len(broken) > 5 else "")
