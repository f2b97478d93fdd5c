# SPDX-License-Identifier: Apache-2.0
"""Tables of evaluation figures as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.metrics.errors import RECALLS, Detections
from seqpose_core.metrics.report import COLUMNS, MEAN, Report
from seqpose_core.metrics.stability import StabilityReport
from train.published import PublishedRow


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length as text: the first column to the left, the others to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def number(value: float | None, digits: int = 1) -> str:
    """A figure with so many decimals, a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def ap_table(reports: Mapping[str, Report], published: Sequence[PublishedRow] = ()) -> str:
    """Average precision in percent in the paper's columns; each row names its kind of IoU.

    :param reports: by the name to print; each gives its mean over categories and below it the categories.
    :param published: rows of papers measured on the same data, printed first.
    """
    rows = [["AP %", *COLUMNS, "IoU kind"]]
    for row in published:
        rows.append([row.method, *(number(v) for v in row.values), row.iou_kind])
    for name, report in reports.items():
        rows.append([name, *(number(100 * v) for v in report.columns(MEAN).values()), report.iou_kind])
        for category in CATEGORY_NAMES:
            values = report.columns(category).values()
            rows.append([f"  {category}", *(number(100 * v) for v in values), report.iou_kind])
    return aligned(rows)


def error_table(detections: Detections) -> str:
    """Recalls in percent, medians of the found, by category and over all."""
    rows = [["recall %", *RECALLS, "median °", "median cm", "size %", "truths", "found", "false"]]
    for name in (None, *CATEGORY_NAMES):
        summary: dict[str, Any] = detections.summary(name)
        size = summary["median_size_error"]
        rows.append(
            [
                "all" if name is None else f"  {name}",
                *(number(v) for v in summary["recall_percent"].values()),
                number(summary["median_degrees"]),
                number(summary["median_centimetres"]),
                number(None if size is None else 100 * size),
                *(str(summary[key]) for key in ("truths", "found", "false")),
            ]
        )
    return aligned(rows)


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
