# SPDX-License-Identifier: Apache-2.0
"""Write the results of an ablation table as CSV, as Markdown in the paper's column order, and as a plot."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from seqpose_core.evaluation.tables import number
from seqpose_core.metrics.ap_report import COLUMNS
from train.ablate.row import RowResult
from train.ablate.table import AblationRow
from train.evaluate.paper_results import REAL275, ROWS

_PLOTTED = ("IoU50", "10cm", "10°", "10°10cm", "5°5cm")
_PAPER_KIND = next(row.iou_kind for row in ROWS[REAL275] if row.method == "SeqPose, multi frame")

#: Rows, each with the result of every seed.
TableResults = Sequence[tuple[AblationRow, Sequence[RowResult]]]


def write_table(out: Path, title: str, iou: str, results: TableResults) -> None:
    """Write ``out``/table.csv, table.md and plot.png; figures are mean average precisions in percent.

    The paper's figures are added only to rows measured on REAL275.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "run", "measured on", "IoU kind", "steps", *COLUMNS])
        for row, runs in results:
            for index, run in enumerate(runs):
                values = [f"{100 * run.ap[name]:.3f}" for name in COLUMNS]
                writer.writerow([row.name, index, run.measured_on, iou, run.steps, *values])
    (out / "table.md").write_text(_markdown(title, iou, results), encoding="utf-8")
    _plot(title, results).savefig(out / "plot.png", dpi=110, metadata={"Software": None})


def _percent(runs: Sequence[RowResult]) -> np.ndarray:
    """(runs, columns)."""
    return np.array([[100 * run.ap[name] for name in COLUMNS] for run in runs])


def _markdown(title: str, iou: str, results: TableResults) -> str:
    lines = [f"| {title} | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    papers = False
    for row, runs in results:
        values = _percent(runs)
        cells = [number(v) for v in values.mean(axis=0)]
        if len(runs) > 1:
            cells = [f"{c} ± {number(s)}" for c, s in zip(cells, values.std(axis=0, ddof=1), strict=True)]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
        if row.paper and all(run.measured_on == REAL275 for run in runs):
            papers = True
            lines.append(f"| {row.name} (paper) | {' | '.join(number(v) for v in row.paper)} |")
    runs = [run for _, of_seeds in results for run in of_seeds]
    steps = sorted({run.steps for run in runs})
    seeds = len(results[0][1])
    lines.append(
        f"\nMean average precision in percent, IoU kind {iou}, measured on "
        f"{'; '.join(sorted({run.measured_on for run in runs}))}. Each row trained for "
        f"{' / '.join(map(str, steps))} steps with {seeds} seed{'s' if seeds > 1 else ''}"
        + (", mean ± standard deviation." if seeds > 1 else ".")
        + (f" Rows of the paper have IoU kind {_PAPER_KIND}." if papers else "")
        + (f" They cannot be compared with kind {iou}: use --iou original." if papers and iou != "original" else "")
    )
    return "\n".join(lines) + "\n"


def _plot(title: str, results: TableResults) -> Figure:
    """One panel per column, one bar per row, one dot per run."""
    figure = Figure(figsize=(2.2 * len(_PLOTTED) + 2, 0.42 * len(results) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(_PLOTTED), sharey=True, squeeze=False)[0]
    positions = np.arange(len(results))
    for panel, name in zip(panels, _PLOTTED, strict=True):
        column = list(COLUMNS).index(name)
        values = [_percent(runs)[:, column] for _, runs in results]
        panel.barh(positions, [v.mean() for v in values], color="#7a9cc6", height=0.7)
        for position, of_runs in zip(positions, values, strict=True):
            panel.plot(of_runs, np.full(len(of_runs), position), "o", color="#1d3557", markersize=3)
        panel.set_title(f"{name}, %", fontsize=9)
        panel.grid(axis="x", alpha=0.3)
        panel.set_xlim(left=0)
    panels[0].set_yticks(positions, [row.name for row, _ in results])
    panels[0].invert_yaxis()
    data_sets = sorted({run.measured_on for _, runs in results for run in runs})
    figure.suptitle(f"{title}, measured on {'; '.join(data_sets)}", fontsize=10)
    return figure
