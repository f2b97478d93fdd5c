# SPDX-License-Identifier: Apache-2.0
"""Errors and recall by the distance, visibility and size of objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from seqpose_core.evaluation import ScoredRun
from seqpose_core.report.plots import Picture, plot, run_colours


@dataclass(frozen=True)
class Factor:
    """A property of ground-truth objects.

    :param label: of the axis, with the unit. :param edges: of the bins; the last bin has no upper edge.
    """

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
    """Errors and recalls in the non-empty bins of a factor, in order.

    :param labels: of the bins. :param ground_truths: (B,) number of objects. :param recall: (B, 2) percent of them
        detected within 10 cm, and within 10 degrees and 10 cm. :param degrees, centimetres: (B, 3) lower quartile,
        median and upper quartile of the errors of detected objects, NaN where none was detected.
    """

    labels: list[str]
    ground_truths: np.ndarray
    recall: np.ndarray
    degrees: np.ndarray
    centimetres: np.ndarray


def factor_values(run: ScoredRun, factor: Factor) -> np.ndarray | None:
    """(N,) the factor of each ground truth of ``run.errors``, NaN where unknown; None if all are unknown."""
    errors = run.errors
    if factor.name == "distance":
        return errors.distance
    if factor.name == "visible pixels":
        return run.ground_truth_values("gt_visible_pixels", errors)
    sizes = []
    for frame, row in zip(errors.frame.tolist(), errors.row.tolist(), strict=True):
        block = np.asarray(run.results[frame]["gt_RTs"][row], dtype=np.float64)[:3, :3]
        extents = np.asarray(run.results[frame]["gt_scales"][row], dtype=np.float64)
        sizes.append(100 * np.cbrt(abs(np.linalg.det(block))) * np.linalg.norm(extents))
    return np.array(sizes)


def bins(run: ScoredRun, factor: Factor) -> Bins | None:
    """Errors and recalls by bin; None if the factor of every ground truth is unknown.

    Matching and errors are those of :func:`seqpose_core.metrics.errors.match_detections`.
    """
    values, errors = factor_values(run, factor), run.errors
    if values is None or not np.isfinite(values).any():
        return None
    bin_of = np.where(np.isfinite(values), np.searchsorted(factor.edges, values, side="right") - 1, -1)
    used = np.unique(bin_of[bin_of >= 0])
    labels, recall, degrees, centimetres = [], [], [], []
    near, good = errors.within(360.0, 10.0), errors.within(10.0, 10.0)
    for k in used:
        members = bin_of == k
        labels.append(_label(factor, int(k)))
        recall.append([100 * (members & hit).sum() / members.sum() for hit in (near, good)])
        degrees.append(_quartiles(errors.degrees[members & errors.detected]))
        centimetres.append(_quartiles(errors.centimetres[members & errors.detected]))
    counts = np.array([(bin_of == k).sum() for k in used])
    return Bins(labels, counts, np.array(recall), np.array(degrees), np.array(centimetres))


def _label(factor: Factor, index: int) -> str:
    low, *high = (f"{x / 1000:g}k" if x >= 1000 else f"{x:g}" for x in factor.edges[index : index + 2])
    if not high:
        return f"≥ {low}"
    return low if factor.name == "visible pixels" and index == 0 else f"{low}–{high[0]}"


def _quartiles(values: np.ndarray) -> list[float]:
    return np.percentile(values, [25, 50, 75]).tolist() if len(values) else [float("nan")] * 3


def factor_picture(runs: Mapping[str, ScoredRun], factor: Factor) -> Picture | None:
    """Errors and recall of all runs by bin of a factor; None if it is unknown for all."""
    binned = {name: b for name, run in runs.items() if (b := bins(run, factor)) is not None}
    if not binned:
        return None
    description = "; ".join(
        f"{name}: {label} ({count} objects) {degrees[1]:.1f}°, {centimetres[1]:.1f} cm, recall {recall[0]:.0f} %"
        for name, b in binned.items()
        for label, count, degrees, centimetres, recall in zip(
            b.labels, b.ground_truths, b.degrees, b.centimetres, b.recall, strict=True
        )
    )
    png = plot(partial(_draw, binned=binned, label=factor.label), panels=3, height=6.6, margins=(0.65, 1.2, 0.15, 0.2))
    alt = f"Median errors and recall within 10 cm by {factor.label}. {description.replace('nan', '–')}."
    return Picture(f"errors by {factor.name}", png, "", alt)


def _draw(rotation: Any, translation: Any, recall: Any, binned: Mapping[str, Bins], label: str) -> None:
    # Runs may have different ground truth: all bins of any run, in the order of the bins.
    labels = list(dict.fromkeys(label for b in binned.values() for label in b.labels))
    colours = run_colours(list(binned))
    width = 0.8 / len(binned)
    for index, (name, b) in enumerate(binned.items()):
        at = np.array([labels.index(x) for x in b.labels]) + (index + 0.5) * width - 0.4
        for axes, values in ((rotation, b.degrees), (translation, b.centimetres)):
            low, median, high = values.T
            axes.vlines(at, low, high, color=colours[name], linewidth=3.5, alpha=0.45)
            axes.plot(at, median, "o", color=colours[name], markersize=5, label=name)
        recall.bar(at, b.recall[:, 0], 0.9 * width, color=colours[name], alpha=0.4, label=f"{name}, within 10 cm")
        recall.bar(at, b.recall[:, 1], 0.9 * width, color=colours[name], label=f"{name}, also within 10°")
    most = {x: max(b.ground_truths[b.labels.index(x)] for b in binned.values() if x in b.labels) for x in labels}
    rotation.set(ylabel="rotation, degrees")
    translation.set(ylabel="translation, cm")
    for axes in (rotation, translation):
        axes.set_ylim(bottom=0)
        axes.tick_params(bottom=False)
    recall.set(ylabel="recall, %", ylim=(0, 102), xlabel=label)
    recall.set_xticks(range(len(labels)), [f"{x}\nn = {most[x]}" for x in labels], fontsize=8)
    recall.set_xlim(-0.6, len(labels) - 0.4)
    for axes in (rotation, translation, recall):
        axes.grid(False, axis="x")
    handles, names = recall.get_legend_handles_labels()
    recall.figure.legend(handles, names, loc="lower center", ncols=2, fontsize=8.5, borderaxespad=0.3)
