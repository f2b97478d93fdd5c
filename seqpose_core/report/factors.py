# SPDX-License-Identifier: Apache-2.0
"""Errors and recall against what makes an object hard: its distance, how much of it is seen, its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from seqpose_core.metrics.run import Run
from seqpose_core.report.plots import Picture, plot, run_colours


@dataclass(frozen=True)
class Factor:
    """One property of truths. label: of the axis, with the unit; edges: of the bins, the last one open above."""

    name: str
    label: str
    edges: tuple[float, ...]


FACTORS = (
    Factor("distance", "distance from the camera, m", (0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 5)),
    Factor("visible pixels", "visible pixels in the stored image", (0, 1, 50, 200, 500, 2000, 5000, 20000)),
    Factor("size", "object size (diagonal of its box), cm", (0, 10, 15, 20, 25, 30, 40, 50, 75)),
)


@dataclass(frozen=True)
class Bins:
    """What was measured in the bins of a factor that hold truths, in order.

    :param labels: of the bins. :param truths: (B,) how many lie in each. :param recall: (B, 2) percent of them
        found within 10 cm, and within 10 degrees and 10 cm. :param degrees, centimetres: (B, 3) lower quartile,
        median and upper quartile of the found ones' errors, NaN where none was found.
    """

    labels: list[str]
    truths: np.ndarray
    recall: np.ndarray
    degrees: np.ndarray
    centimetres: np.ndarray


def values_of(run: Run, factor: Factor) -> np.ndarray | None:
    """(N,) the factor of each truth of ``run.detections``, NaN where unknown; None where unknown of all."""
    found = run.detections
    if factor.name == "distance":
        return found.distance
    if factor.name == "visible pixels":
        return run.truth_extra("gt_visible_pixels", found)
    sizes = []
    for frame, row in zip(found.frame.tolist(), found.row.tolist(), strict=True):
        block = np.asarray(run.results[frame]["gt_RTs"][row], dtype=np.float64)[:3, :3]
        extents = np.asarray(run.results[frame]["gt_scales"][row], dtype=np.float64)
        sizes.append(100 * np.cbrt(abs(np.linalg.det(block))) * np.linalg.norm(extents))
    return np.array(sizes)


def bins(run: Run, factor: Factor) -> Bins | None:
    """Errors and recalls by bin; None where no truth's factor is known.

    Matching and errors are those of :func:`seqpose_core.metrics.errors.detect`.
    """
    values, found = values_of(run, factor), run.detections
    if values is None or not np.isfinite(values).any():
        return None
    bin_of = np.where(np.isfinite(values), np.searchsorted(factor.edges, values, side="right") - 1, -1)
    used = np.unique(bin_of[bin_of >= 0])
    labels, recall, degrees, centimetres = [], [], [], []
    for k in used:
        mine = bin_of == k
        labels.append(_label(factor, int(k)))
        with np.errstate(invalid="ignore"):
            near = mine & (found.centimetres <= 10)
            recall.append([100 * near.sum() / mine.sum(), 100 * (near & (found.degrees <= 10)).sum() / mine.sum()])
        degrees.append(_quartiles(found.degrees[mine & found.found]))
        centimetres.append(_quartiles(found.centimetres[mine & found.found]))
    counts = np.array([(bin_of == k).sum() for k in used])
    return Bins(labels, counts, np.array(recall), np.array(degrees), np.array(centimetres))


def _label(factor: Factor, index: int) -> str:
    low, *high = (f"{x / 1000:g}k" if x >= 1000 else f"{x:g}" for x in factor.edges[index : index + 2])
    if not high:
        return f"≥ {low}"
    return low if factor.name == "visible pixels" and index == 0 else f"{low}–{high[0]}"


def _quartiles(values: np.ndarray) -> list[float]:
    return np.percentile(values, [25, 50, 75]).tolist() if len(values) else [float("nan")] * 3


def factor_picture(runs: Mapping[str, Run], factor: Factor) -> Picture | None:
    """Errors and recall of all runs by bin of a factor; None where it is unknown of all."""
    measured = {name: found for name, run in runs.items() if (found := bins(run, factor)) is not None}
    if not measured:
        return None
    words = "; ".join(
        f"{name}: {label} ({count} truths) {degrees[1]:.1f}°, {centimetres[1]:.1f} cm, found {recall[0]:.0f} %"
        for name, b in measured.items()
        for label, count, degrees, centimetres, recall in zip(
            b.labels, b.truths, b.degrees, b.centimetres, b.recall, strict=True
        )
    )
    png = plot(
        partial(_draw, measured=measured, label=factor.label), panels=3, height=6.6, margins=(0.65, 1.2, 0.15, 0.2)
    )
    alt = f"Median errors and recall within 10 cm by {factor.label}. {words.replace('nan', '–')}."
    return Picture(f"errors by {factor.name}", png, "", alt)


def _draw(turn: Any, shift: Any, recall: Any, measured: Mapping[str, Bins], label: str) -> None:
    # Runs may be measured on different truths: every bin that any of them has, in the order of the bins.
    labels = list(dict.fromkeys(label for found in measured.values() for label in found.labels))
    colours = run_colours(list(measured))
    width = 0.8 / len(measured)
    for index, (name, found) in enumerate(measured.items()):
        at = np.array([labels.index(x) for x in found.labels]) + (index + 0.5) * width - 0.4
        for axes, values in ((turn, found.degrees), (shift, found.centimetres)):
            low, median, high = values.T
            axes.vlines(at, low, high, color=colours[name], linewidth=3.5, alpha=0.45)
            axes.plot(at, median, "o", color=colours[name], markersize=5, label=name)
        recall.bar(at, found.recall[:, 0], 0.9 * width, color=colours[name], alpha=0.4, label=f"{name}, within 10 cm")
        recall.bar(at, found.recall[:, 1], 0.9 * width, color=colours[name], label=f"{name}, also within 10°")
    most = {x: max(f.truths[f.labels.index(x)] for f in measured.values() if x in f.labels) for x in labels}
    turn.set(ylabel="rotation, degrees")
    shift.set(ylabel="translation, cm")
    for axes in (turn, shift):
        axes.set_ylim(bottom=0)
        axes.tick_params(bottom=False)
    recall.set(ylabel="recall, %", ylim=(0, 102), xlabel=label)
    recall.set_xticks(range(len(labels)), [f"{x}\nn = {most[x]}" for x in labels], fontsize=8)
    recall.set_xlim(-0.6, len(labels) - 0.4)
    for axes in (turn, shift, recall):
        axes.grid(False, axis="x")
    handles, names = recall.get_legend_handles_labels()
    recall.figure.legend(handles, names, loc="lower center", ncols=2, fontsize=8.5, borderaxespad=0.3)
