# SPDX-License-Identifier: Apache-2.0
"""Compare several runs: AP curves in the same axes (Figure 3 of the paper), boxes side by side (Figure 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from seqpose_core.evaluation import ScoredRun, View
from seqpose_core.evaluation.views import short_name
from seqpose_core.metrics.ap_report import MEAN, ApReport
from seqpose_core.report.curves import categories_with_ground_truth
from seqpose_core.report.page import Section
from seqpose_core.report.pictures import draw_frame, encode, spread
from seqpose_core.report.plots import Picture, legend_below, plot, run_colours

FRAMES_COMPARED = 6
_LINES = ("-", "--", "-.", ":")  # line styles, for black-and-white print
# By row of panels; none at the right edge, where it would touch that of the next panel.
_TICKS = ((0.0, 0.25, 0.5, 0.75), (0, 20, 40), (0, 5, 10))
_HEADER = 26  # pixels above a frame, for the name of its run


def comparison_section(runs: Mapping[str, ScoredRun], views: Mapping[str, View]) -> Section:
    """AP curves of all runs in the same axes, and their boxes in the same frames.

    :param runs: by name; at least two, of the same frames in the same order.
    :param views: by frame key, of any of the runs.
    """
    kinds = dict.fromkeys(kind for run in runs.values() for kind in run.ap_reports)
    curves = [picture for kind in kinds if (picture := _curves(runs, kind)) is not None]
    frames = [
        _frame_of_all_runs(runs, frame, view)
        for frame in compared_frames(runs)
        if (view := _view(runs, frame, views)) is not None
    ]
    values = {"curves": curves, "frames": frames, "names": list(runs)}
    return Section("comparison", "Comparison", values, [*curves, *frames])


def compared_frames(runs: Mapping[str, ScoredRun]) -> list[int]:
    """Indices of the frames that are shown for all runs."""
    return spread(min(len(run.results) for run in runs.values()), FRAMES_COMPARED)


def _curves(runs: Mapping[str, ScoredRun], kind: str) -> Picture | None:
    """AP over 3D IoU, rotation and translation (rows) of each category and the mean (columns), a line per run.

    :param kind: of IoU. None is returned if no category has ground truth.
    """
    reports = {name: run.ap_reports[kind] for name, run in runs.items() if kind in run.ap_reports}
    first = next(iter(runs.values()))
    columns = [*categories_with_ground_truth(next(iter(reports.values())), first.categories), MEAN]
    if columns == [MEAN]:
        return None
    means = ", ".join(f"{name} {100 * float(r.rotation_curve(MEAN)[1].mean()):.1f} %" for name, r in reports.items())
    png = plot(
        partial(_draw_curves, reports=reports, columns=columns),
        panels=3,
        columns=len(columns),
        width=1.0 + 1.75 * len(columns),
        height=6.0,
        margins=(0.65, 0.85, 0.15, 0.35),
    )
    alt = f"Average precision, IoU {kind}, of {', '.join(reports)}; means over rotation errors: {means}."
    return Picture(f"comparison ap {kind}", png, f"IoU {kind}", alt)


def _draw_curves(*axes: Any, reports: Mapping[str, ApReport], columns: Sequence[str]) -> None:
    colours = run_colours(list(reports))
    for number, cell in enumerate(axes):
        row, column = divmod(number, len(columns))
        for index, (name, report) in enumerate(reports.items()):
            curve = (report.iou_curve, report.rotation_curve, report.translation_curve)[row]
            at, ap = curve(columns[column])
            cell.plot(at, 100 * ap, color=colours[name], linestyle=_LINES[index % len(_LINES)], label=name)
            cell.set_xlim(at[0], at[-1])
            cell.set_xticks(_TICKS[row])
        cell.set_ylim(-2, 102)
        cell.set_xlabel(("3D IoU", "rotation error, degrees", "translation error, cm")[row], fontsize=8)
        if not row:
            cell.set_title(columns[column])
        if column:
            cell.tick_params(labelleft=False)
        else:
            cell.set_ylabel("AP, %")
    legend_below(axes[0])


def _view(runs: Mapping[str, ScoredRun], frame: int, views: Mapping[str, View]) -> View | None:
    """The view of a frame by its key in any of the runs; None if there is none."""
    return next((views[run.keys[frame]] for run in runs.values() if run.keys[frame] in views), None)


def _frame_of_all_runs(runs: Mapping[str, ScoredRun], frame: int, view: View) -> Picture:
    """One frame with the ground truth and the predictions of each run, side by side."""
    drawn = [_with_name(draw_frame(run, frame, view), name) for name, run in runs.items()]
    where = short_name(next(iter(runs.values())).keys[frame])
    alt = f"Frame {where}, ground truth in green and predictions in red, from left to right of {', '.join(runs)}"
    return Picture(f"comparison frame {where}", encode(np.hstack(drawn)), where, alt)


def _with_name(image: np.ndarray, name: str) -> np.ndarray:
    """The image (H, W, 3) below a white line with the name."""
    header = np.full((_HEADER, image.shape[1], 3), 255, np.uint8)
    cv2.putText(header, name, (6, _HEADER - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30, 30, 30), 1, cv2.LINE_AA)
    return np.vstack([header, image])
