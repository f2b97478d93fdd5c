# SPDX-License-Identifier: Apache-2.0
"""Average precision against thresholds (Figure 3 of the paper) and precision against recall."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from seqpose_core.categories import Category
from seqpose_core.metrics.ap_report import COLUMNS, MEAN, ApReport
from seqpose_core.report.plots import INK, LineStyle, Picture, category_styles, legend_below, plot

#: The columns of the paper at which precision is drawn against recall.
PRECISION_RECALL_AT = ("IoU50", "10°10cm")


def categories_with_ground_truth(report: ApReport, categories: Sequence[Category]) -> dict[str, LineStyle]:
    """The categories that have ground truth, with their line styles; the others have no average precision."""
    styles = category_styles(categories)
    return {name: styles[name] for name in report.categories if report.ground_truths[name]}


def ap_curves(run: str, report: ApReport, categories: Sequence[Category]) -> list[Picture]:
    """AP over 3D IoU 0..1, rotation 0..60 degrees and translation 0..15 cm, each category and the mean."""
    curves = {
        f"3D IoU ({report.iou_kind})": report.iou_curve,
        "rotation error, degrees": report.rotation_curve,
        "translation error, cm": report.translation_curve,
    }
    styles = categories_with_ground_truth(report, categories)
    out = []
    for label, curve in curves.items():
        mean = float(curve(MEAN)[1].mean())
        lines = {name: curve(name) for name in (*styles, MEAN)}
        alt = f"Average precision of {run} against {label}; the mean over the range is {100 * mean:.1f} %."
        title = f"{run}, IoU {report.iou_kind}"
        png = plot(partial(_draw_ap, lines=lines, styles=styles, label=label, title=title))
        out.append(Picture(f"ap {run} {report.iou_kind} {label.split()[0]}", png, "", alt))
    return out


def _draw_ap(
    axes: Any, lines: dict[str, tuple[np.ndarray, np.ndarray]], styles: dict[str, LineStyle], label: str, title: str
) -> None:
    for index, (name, (at, ap)) in enumerate(lines.items()):
        if name == MEAN:
            axes.plot(at, 100 * ap, color=INK, linewidth=2.4, label=name)
        else:  # markers at equal distances, shifted from line to line so that they do not cover each other
            style = styles[name]
            marks = (0.03 * index, 0.2)
            axes.plot(at, 100 * ap, color=style.colour, label=name, marker=style.marker, markevery=marks)
        axes.set_xlim(at[0], at[-1])
    axes.set(xlabel=label, ylabel="average precision, %", ylim=(-2, 102))
    axes.set_title(title, loc="left")
    legend_below(axes)


def precision_recall_picture(run: str, report: ApReport, categories: Sequence[Category], column: str) -> Picture:
    """Precision against recall of each category at one column of the paper."""
    mean = report.average_precision(COLUMNS[column])
    alt = f"Precision against recall of {run} at {column}; the average precision is {100 * mean:.1f} %."
    styles = categories_with_ground_truth(report, categories)
    title = f"{column}, {run}, IoU {report.iou_kind}"
    png = plot(partial(_draw_precision, report=report, styles=styles, column=column, title=title))
    return Picture(f"precision recall {run} {report.iou_kind} {column.replace('°', 'deg')}", png, "", alt)


def _draw_precision(axes: Any, report: ApReport, styles: dict[str, LineStyle], column: str, title: str) -> None:
    threshold = COLUMNS[column]
    for name, style in styles.items():
        curve = report.precision_recall(name, threshold)
        # From recall 0 on, so that a single prediction is visible too; a category without predictions has no line.
        recall = np.concatenate([curve.recall[:1] * 0, curve.recall])
        precision = np.concatenate([curve.precision[:1], curve.precision])
        label = f"{name} {100 * report.average_precision(threshold, name):.0f}"
        mark = {"marker": style.marker, "markevery": 0.2}
        axes.plot(100 * recall, 100 * precision, color=style.colour, label=label, **mark)
    axes.set(xlabel="recall, %", ylabel="precision, %", xlim=(0, 101), ylim=(0, 102))
    axes.set_title(title, loc="left")
    legend_below(axes, 3)
