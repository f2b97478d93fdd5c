# SPDX-License-Identifier: Apache-2.0
"""The tables of an evaluation as plain text, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seqpose_core.evaluation.evaluation import Evaluation
from seqpose_core.evaluation.support import SUPPORT_HEAD, support_figures, support_rows
from seqpose_core.evaluation.tables import AP_HEAD, ERROR_HEAD, ap_rows, error_rows, stability_line
from seqpose_core.metrics.ap_report import MEAN, ApReport
from seqpose_core.metrics.errors import DetectionErrors


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length as text: the first column aligned to the left, the others to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def align_values(values: Mapping[str, Any]) -> str:
    """Names and values as aligned lines, the values of a mapping in one line."""
    width = max(map(len, values))
    lines = []
    for name, value in values.items():
        text = "  ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, Mapping) else value
        lines.append(f"  {name:<{width}}  {text}")
    return "\n".join(lines)


def ap_table(reports: Mapping[str, ApReport], above: Sequence[Sequence[str]] = ()) -> str:
    """Average precision in percent in the columns of the paper; each row names its kind of IoU.

    :param reports: by printed name; each adds a row for the mean over categories and a row per category.
    :param above: rows to print first, such as those of papers: name, the cells of :data:`AP_HEAD`, kind of IoU.
    """
    rows = [["AP %", *AP_HEAD, "IoU kind"], *above]
    for name, report in reports.items():
        for category, cells in ap_rows(report).items():
            rows.append([name if category == MEAN else f"  {category}", *cells, report.iou_kind])
    return align_columns(rows)


def error_table(errors: DetectionErrors) -> str:
    """Recalls in percent and medians of detected objects, by category and over all."""
    rows = [["recall %", *ERROR_HEAD]]
    rows += [[name if name == "all" else f"  {name}", *cells] for name, cells in error_rows(errors).items()]
    return align_columns(rows)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print all tables of an evaluation, and counts of what was left out."""
    runs, dataset = evaluation.runs, evaluation.dataset
    reports = {f"{name} {kind}": report for name, run in runs.items() for kind, report in run.ap_reports.items()}
    print(f"\n{evaluation.subject}, measured on {dataset}, {max(len(run.results) for run in runs.values())} frames")
    print(ap_table(reports, evaluation.paper_rows))
    for name, run in runs.items():
        print(f"\n{name}: predictions with a score of at least {run.threshold}; measured on {dataset}")
        print(error_table(run.errors))
        figures = support_figures(run)
        if figures is not None:
            print(align_columns([["recall %", *SUPPORT_HEAD], *support_rows(figures)]))
        print(stability_line(run.stability) if run.stability else f"no stability: {run.no_stability}")
    for name, report in reports.items():
        for reason, count in report.dropped.items():
            print(f"{name}: {count} × {reason}")
    if evaluation.skipped:
        print(f"{len(evaluation.skipped)} frames or files skipped: {evaluation.skipped_examples}")
