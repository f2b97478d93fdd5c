# SPDX-License-Identifier: Apache-2.0
"""Average precision against thresholds (Figure 3 of the paper) and precision against recall."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.metrics.ap_report import COLUMNS, MEAN, Report
from seqpose_core.report.plots import INK, MARKERS, Picture, colour_of, legend_below, plot

#: The paper's columns whose precision is drawn against recall.
PRECISION_RECALL_AT = ("IoU50", "10°10cm")


def with_truth(report: Report) -> list[str]:
    """The categories that have truths: for the others there is nothing to measure."""
    return [name for name in CATEGORY_NAMES if report.truths[name]]


def ap_curves(run: str, report: Report) -> list[Picture]:
    """AP over 3D IoU 0..1, rotation 0..60 degrees and translation 0..15 cm, each category and the mean."""
    curves = {
        f"3D IoU ({report.iou_kind})": report.iou_curve,
        "rotation error, degrees": report.rotation_curve,
        "translation error, cm": report.translation_curve,
    }
    out = []
    for label, curve in curves.items():
        mean = float(curve(MEAN)[1].mean())
        lines = {name: curve(name) for name in (*with_truth(report), MEAN)}
        alt = f"Average precision of {run} against {label}; the mean over the range is {100 * mean:.1f} %."
        png = plot(partial(_draw_ap, lines=lines, label=label, title=f"{run}, IoU {report.iou_kind}"))
        out.append(Picture(f"ap {run} {report.iou_kind} {label.split()[0]}", png, "", alt))
    return out


def _draw_ap(axes: Any, lines: dict[str, tuple[np.ndarray, np.ndarray]], label: str, title: str) -> None:
    for index, (name, (at, ap)) in enumerate(lines.items()):
        if name == MEAN:
            axes.plot(at, 100 * ap, color=INK, linewidth=2.4, label=name)
        else:  # markers at equal distances, shifted from line to line, lest they cover each other
            marks = (0.03 * index, 0.2)
            axes.plot(at, 100 * ap, color=colour_of(name), label=name, marker=MARKERS[name], markevery=marks)
        axes.set_xlim(at[0], at[-1])
    axes.set(xlabel=label, ylabel="average precision, %", ylim=(-2, 102))
    axes.set_title(title, loc="left")
    legend_below(axes)


def precision_recall(run: str, report: Report, column: str) -> Picture:
    """Precision against recall of each category at one of the paper's columns."""
    mean = report.average_precision(COLUMNS[column])
    alt = f"Precision against recall of {run} at {column}; the average precision is {100 * mean:.1f} %."
    png = plot(partial(_draw_precision, report=report, column=column, title=f"{column}, {run}, IoU {report.iou_kind}"))
    return Picture(f"precision recall {run} {report.iou_kind} {column.replace('°', 'deg')}", png, "", alt)


def _draw_precision(axes: Any, report: Report, column: str, title: str) -> None:
    threshold = COLUMNS[column]
    for name in with_truth(report):
        curve = report.precision_recall(name, threshold)
        # From recall 0 on, so that a single prediction shows too; a category without predictions has no line.
        recall = np.concatenate([curve.recall[:1] * 0, curve.recall])
        precision = np.concatenate([curve.precision[:1], curve.precision])
        label = f"{name} {100 * report.average_precision(threshold, name):.0f}"
        mark = {"marker": MARKERS[name], "markevery": 0.2}
        axes.plot(100 * recall, 100 * precision, color=colour_of(name), label=label, **mark)
    axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 101), ylim=(0, 102))
    axes.set_title(title, loc="left")
    legend_below(axes, 3)
