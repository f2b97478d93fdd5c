# SPDX-License-Identifier: Apache-2.0
"""Figures of an evaluation as rows of text cells, for the terminal and for reports."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqpose_core.metrics.ap_report import COLUMNS, MEAN, ApReport
from seqpose_core.metrics.errors import RECALLS, DetectionErrors
from seqpose_core.metrics.stability import StabilityReport

AP_HEAD = tuple(COLUMNS)
ERROR_HEAD = (*RECALLS, "median °", "median cm", "size %", "ground truths", "detected", "false positives")


def number(value: float | None, digits: int = 1) -> str:
    """A figure with a fixed number of decimals, a dash where it is undefined."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def ap_rows(report: ApReport) -> dict[str, list[str]]:
    """Average precision in percent in the columns of the paper, for the mean over categories and for each."""
    names = (MEAN, *report.categories)
    return {name: [number(100 * value) for value in report.columns(name).values()] for name in names}


def error_rows(errors: DetectionErrors) -> dict[str, list[str]]:
    """Recalls in percent, medians of detected objects and counts, over all and by category."""
    rows = {}
    for name in (None, *(c.name for c in errors.categories)):
        summary: dict[str, Any] = errors.summary(name)
        size = summary["median_size_error"]
        rows[name or "all"] = [
            *(number(value) for value in summary["recall_percent"].values()),
            number(summary["median_degrees"]),
            number(summary["median_centimetres"]),
            number(None if size is None else 100 * size),
            *(str(summary[key]) for key in ("ground_truths", "detected", "false_positives")),
        ]
    return rows


def stability_line(report: StabilityReport) -> str:
    """Jitter, identities, delays and calibration in one line."""
    s = report.summary()
    jitter = report.jitter["all"]
    at90 = dict(zip(report.coverage.levels, report.coverage.translation, strict=True)).get(0.9, float("nan"))
    return (
        f"jitter {number(100 * jitter.translation, 2)} cm {number(float(np.degrees(jitter.rotation)), 2)}°; "
        f"identity switches {s['identity_switches']} of {s['tracked']}; "
        f"detected {s['ground_truths_detected']} of {s['ground_truths_in_sight']} objects, median after "
        f"{number(s['median_first_detection_s'], 2)} s; "
        f"recovered {s['recovered']} of {s['occlusions']} occlusions; "
        f"90 % translation region covers {number(100 * at90)} %"
    )
