# SPDX-License-Identifier: Apache-2.0
"""The figures of scored runs as plain numbers, and the JSON files that hold them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqpose_core.evaluation.scored_run import ScoredRun
from seqpose_core.metrics.ap_report import ApReport
from seqpose_core.metrics.errors import DetectionErrors

#: Definition of :func:`headline_figures`; written into the reports of bags.
EXPLANATION = (
    "recalls: percent of the ground-truth objects in processed frames for which a prediction of the same category lies "
    "within 10 cm (and 10 degrees), matched one to one: in descending order of score, each to the nearest unmatched "
    "ground truth within 20 cm; medians: over all matched pairs; symmetric objects (and mugs whose handle is hidden) "
    "are compared by their y axis; size error: mean relative error of the three extents"
)


def run_figures(run: ScoredRun) -> dict[str, Any]:
    """Figures of one run: "ap" by kind of IoU, "detections" by category and "all", "stability" or None."""
    return {
        "ap": {kind: report.to_dict() for kind, report in run.ap_reports.items()},
        "detections": {name or "all": run.errors.summary(name) for name in (None, *run.category_names)},
        "stability": run.stability.summary() if run.stability else None,
    }


def named_figures(runs: Mapping[str, ScoredRun]) -> dict[str, Any]:
    """Figures of several runs: "ap" by run and kind of IoU with curves, "detections" and "stability" by run."""
    figures = {name: run_figures(run) for name, run in runs.items()}
    return {
        "ap": {
            f"{name} {kind}": {**report.to_dict(), "curves": curve_values(report)}
            for name, run in runs.items()
            for kind, report in run.ap_reports.items()
        },
        "detections": {name: values["detections"] for name, values in figures.items()},
        "stability": {name: values["stability"] for name, values in figures.items() if values["stability"]},
    }


def curve_values(report: ApReport) -> dict[str, dict[str, list[float]]]:
    """Mean average precision by threshold of IoU, rotation and translation; lists of equal length."""
    curves = {"iou": report.iou_curve(), "degrees": report.rotation_curve(), "cm": report.translation_curve()}
    return {name: {"threshold": at.tolist(), "ap": ap.tolist()} for name, (at, ap) in curves.items()}


def headline_figures(errors: DetectionErrors) -> dict[str, float | int | None]:
    """Rounded recalls in percent, and medians, None where nothing was detected; see :data:`EXPLANATION`."""
    detected = int(errors.detected.sum())
    predicted = detected + sum(errors.false_positives.values())
    near, good = errors.within(360.0, 10.0), errors.within(10.0, 10.0)
    return {
        "objects_true": len(errors.frame),
        "objects_predicted": predicted,
        "recall_10deg10cm": _percent(good, len(errors.frame)),
        "recall_10cm": _percent(near, len(errors.frame)),
        "precision_10cm": _percent(near, predicted),
        "median_rotation_deg": _median(errors.degrees[errors.detected]),
        "median_translation_cm": _median(errors.centimetres[errors.detected]),
        "median_size_error": _median(errors.size_error[errors.detected]),
    }


def _percent(hit: np.ndarray, total: int) -> float:
    return round(100.0 * int(hit.sum()) / total, 2) if total else 0.0


def _median(values: np.ndarray) -> float | None:
    return round(float(np.median(values)), 4) if len(values) else None


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write figures as JSON, with null for NaN, which JSON does not have."""
    text = json.dumps(_without_nan(values), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
