# SPDX-License-Identifier: Apache-2.0
"""Calibration: the share of ground-truth poses within predicted confidence regions, against their probability."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from seqpose_core.evaluation import ScoredRun
from seqpose_core.metrics.calibration import Coverage, coverage
from seqpose_core.metrics.pairing import has_volume, pose_of
from seqpose_core.objects import ObjectPose
from seqpose_core.report.plots import FAINT, Picture, legend_below, plot, run_colours

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.7, 0.8, 0.9, 0.95, 0.99)


def run_coverage(run: ScoredRun) -> tuple[Coverage, int] | None:
    """Coverage over ground truth paired with a prediction of its category that has a covariance.

    :return: the coverage at :data:`LEVELS`, and how many mugs were left out because their handle is hidden: their
        rotation about y is unknown, so that its covariance cannot be checked. None without covariances.
    """
    pairing = run.pairing
    symmetric_ids = {c.id for c in run.categories if c.symmetric}
    pairs: list[tuple[ObjectPose, ObjectPose]] = []
    any_covariance, hidden = False, 0
    usable = has_volume(pairing.predictions)
    for k in np.flatnonzero(pairing.same_category).tolist():
        p = int(pairing.prediction_of[k])
        frame, row = int(pairing.predictions.frame[p]), int(pairing.predictions.row[p])
        count = len(run.results[frame]["pred_class_ids"])
        covariances = run.optional_array("pred_covariances", frame, count, (6, 6))
        if covariances is None or not usable[p]:
            continue
        any_covariance = True
        if pairing.ground_truths.symmetric[k] and int(pairing.ground_truths.category[k]) not in symmetric_ids:
            hidden += 1
            continue
        covariance = np.asarray(covariances[row], dtype=np.float64)
        pairs.append((pose_of(pairing.predictions, p, covariance), pose_of(pairing.ground_truths, k)))
    return (coverage(pairs, LEVELS, run.categories), hidden) if any_covariance else None


def coverage_pictures(coverages: Mapping[str, Coverage]) -> list[Picture]:
    """Coverage against the nominal probability, one picture for translation and one for rotation, one line per run."""
    out = []
    for group in ("translation", "rotation"):
        values = {name: np.array(getattr(c, group)) for name, c in coverages.items()}
        at = [LEVELS.index(x) for x in (0.68, 0.95)]
        alt = f"Coverage of {group} regions: " + "; ".join(
            f"{name} {100 * v[at[0]]:.0f} % of ground truth within the 68 % region, {100 * v[at[1]]:.0f} % within 95 %"
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
    for (name, shares), marker in zip(values.items(), "os^DvP" * len(values), strict=False):
        axes.plot(100 * np.array(LEVELS), 100 * shares, marker=marker, color=colours[name], label=name)
    axes.set(xlabel="nominal probability, %", ylabel="ground truth within the region, %", xlim=(0, 101), ylim=(0, 102))
    axes.set_title(title, loc="left")
    axes.text(0.28, 0.03, "above: underconfident\nbelow: overconfident", transform=axes.transAxes, fontsize=8)
    legend_below(axes)
