# SPDX-License-Identifier: Apache-2.0
"""Tables of figures as plain text, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seqpose_core.metrics.ap_report import MEAN, Report
from seqpose_core.metrics.errors import Detections
from seqpose_core.report.tables import AP_HEAD, ERROR_HEAD, ap_rows, error_rows


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length as text: the first column to the left, the others to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def ap_table(reports: Mapping[str, Report], above: Sequence[Sequence[str]] = ()) -> str:
    """Average precision in percent in the paper's columns; each row names its kind of IoU.

    :param reports: by the name to print; each gives its mean over categories and below it the categories.
    :param above: rows to print first, such as those of papers: name, the cells of :data:`AP_HEAD`, kind of IoU.
    """
    rows = [["AP %", *AP_HEAD, "IoU kind"], *above]
    for name, report in reports.items():
        for category, cells in ap_rows(report).items():
            rows.append([name if category == MEAN else f"  {category}", *cells, report.iou_kind])
    return aligned(rows)


def error_table(detections: Detections) -> str:
    """Recalls in percent, medians of the found, by category and over all."""
    rows = [["recall %", *ERROR_HEAD]]
    rows += [[name if name == "all" else f"  {name}", *cells] for name, cells in error_rows(detections).items()]
    return aligned(rows)
