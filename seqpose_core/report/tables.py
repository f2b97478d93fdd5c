# SPDX-License-Identifier: Apache-2.0
"""Evaluation figures as rows of text, for the terminal and for pages."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.metrics.ap_report import COLUMNS, MEAN, Report
from seqpose_core.metrics.errors import RECALLS, Detections
from seqpose_core.metrics.stability import StabilityReport

AP_HEAD = tuple(COLUMNS)
ERROR_HEAD = (*RECALLS, "median °", "median cm", "size %", "truths", "found", "false")


def number(value: float | None, digits: int = 1) -> str:
    """A figure with so many decimals, a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def ap_rows(report: Report) -> dict[str, list[str]]:
    """Average precision in percent in the paper's columns, for the mean over categories and for each."""
    return {name: [number(100 * value) for value in report.columns(name).values()] for name in (MEAN, *CATEGORY_NAMES)}


def error_rows(detections: Detections) -> dict[str, list[str]]:
    """Recalls in percent, medians of the found and counts, over all and by category."""
    rows = {}
    for name in (None, *CATEGORY_NAMES):
        summary: dict[str, Any] = detections.summary(name)
        size = summary["median_size_error"]
        rows[name or "all"] = [
            *(number(value) for value in summary["recall_percent"].values()),
            number(summary["median_degrees"]),
            number(summary["median_centimetres"]),
            number(None if size is None else 100 * size),
            *(str(summary[key]) for key in ("truths", "found", "false")),
        ]
    return rows


def stability_line(report: StabilityReport) -> str:
    """Jitter, identities, delays and calibration in a few words."""
    s = report.summary()
    shake = report.jitter["all"]
    at90 = dict(zip(report.coverage.levels, report.coverage.translation, strict=True)).get(0.9, float("nan"))
    return (
        f"jitter {number(100 * shake.translation, 2)} cm {number(float(np.degrees(shake.rotation)), 2)}°; "
        f"identity switches {s['identity_switches']} of {s['tracked']}; "
        f"found {s['truths_found']} of {s['truths_in_sight']} objects, median after "
        f"{number(s['median_first_detection_s'], 2)} s; "
        f"recovered {s['recovered']} of {s['occlusions']} occlusions; "
        f"90 % translation region covers {number(100 * at90)} %"
    )
