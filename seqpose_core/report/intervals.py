# SPDX-License-Identifier: Apache-2.0
"""Calibration: the share of truths within the regions that predicted covariances claim, against the claim."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from seqpose_core.categories import category
from seqpose_core.metrics.calibration import Coverage, coverage
from seqpose_core.metrics.pairing import pose, sound, symmetric
from seqpose_core.metrics.run import Run
from seqpose_core.objects import ObjectPose
from seqpose_core.report.plots import FAINT, Picture, legend_below, plot, run_colours

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.7, 0.8, 0.9, 0.95, 0.99)


def covered(run: Run) -> tuple[Coverage, int] | None:
    """Coverage of truths paired with a prediction of their category that carries a covariance.

    :return: the coverage at :data:`LEVELS`, and how many mugs were left out because their handle is hidden: their
        turn about y is not known, so that a claim about it can be neither right nor wrong. None without covariances.
    """
    pairing = run.pairing
    pairs: list[tuple[ObjectPose, ObjectPose]] = []
    known, hidden = False, 0
    usable = sound(pairing.predictions)
    for k in np.flatnonzero(pairing.same).tolist():
        p = int(pairing.partner[k])
        frame, row = int(pairing.predictions.frame[p]), int(pairing.predictions.row[p])
        covariances = run.extra("pred_covariances", frame, len(run.results[frame]["pred_class_ids"]), (6, 6))
        if covariances is None or not usable[p]:
            continue
        known = True
        if symmetric(pairing.truths, k) and not category(int(pairing.truths.category[k])).symmetric:
            hidden += 1
            continue
        claim = np.asarray(covariances[row], dtype=np.float64)
        pairs.append((pose(pairing.predictions, p, claim), pose(pairing.truths, k)))
    return (coverage(pairs, LEVELS), hidden) if known else None


def coverage_pictures(found: Mapping[str, Coverage]) -> list[Picture]:
    """Coverage against the claimed probability, translation and rotation apart, one line for each run."""
    out = []
    for group in ("translation", "rotation"):
        values = {name: np.array(getattr(c, group)) for name, c in found.items()}
        at = [LEVELS.index(x) for x in (0.68, 0.95)]
        alt = f"Coverage of {group} regions: " + "; ".join(
            f"{name} {100 * v[at[0]]:.0f} % of truths within the 68 % region, {100 * v[at[1]]:.0f} % within 95 %"
            for name, v in values.items()
        )
        png = plot(partial(_draw, values=values, title=f"{group} regions"))
        out.append(Picture(f"coverage {group}", png, "", f"{alt}.".replace("nan", "–")))
    return out


def _draw(axes: Any, values: Mapping[str, np.ndarray], title: str) -> None:
    axes.plot([0, 100], [0, 100], "--", color=FAINT, label="ideal")
    for level in (68, 95):
        axes.axvline(level, color=FAINT, linewidth=0.8, linestyle=":")
        axes.text(level - 1, 3, f"{level} %", rotation=90, ha="right", va="bottom", color="#666666", fontsize=8)
    colours = run_colours(list(values))
    for (name, coverage_), marker in zip(values.items(), "os^DvP" * len(values), strict=False):
        axes.plot(100 * np.array(LEVELS), 100 * coverage_, marker=marker, color=colours[name], label=name)
    axes.set(xlabel="claimed probability, %", ylabel="truths within the region, %", xlim=(0, 101), ylim=(0, 102))
    axes.set_title(title, loc="left")
    axes.text(0.03, 0.95, "above: too cautious\nbelow: too sure", transform=axes.transAxes, va="top", fontsize=8)
    legend_below(axes)
