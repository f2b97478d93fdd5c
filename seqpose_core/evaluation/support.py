# SPDX-License-Identifier: Apache-2.0
"""Recalls of objects that stand on the support plane and of objects that do not (stacked, held)."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqpose_core.evaluation.scored_run import ScoredRun
from seqpose_core.evaluation.tables import number
from seqpose_core.metrics.errors import DetectionErrors

#: Key of results: (n,) heights in metres of the lowest points of the ground truth above the support plane.
HEIGHTS = "gt_support_heights"
#: Metres: an object whose lowest point is higher does not stand on the plane. The box of a lying mug reaches up to 2 cm
#: below the mug itself.
_STANDING = 0.015
#: (degrees, centimetres) of the columns.
_RECALLS = {"10cm": (360, 10), "5cm": (360, 5), "2cm": (360, 2), "10°10cm": (10, 10), "10°5cm": (10, 5)}
SUPPORT_HEAD = (*_RECALLS, "median °", "median cm", "ground truths", "detected")


def support_figures(run: ScoredRun) -> dict[str, dict[str, Any]] | None:
    """Figures of all objects and of the groups "on the plane" and "not on the plane"; None without heights."""
    errors = run.errors
    heights = run.ground_truth_values(HEIGHTS, errors)
    if heights is None:
        return None
    groups = {
        "all": np.ones(len(heights), dtype=bool),
        "on the plane": heights <= _STANDING,
        "not on the plane": heights > _STANDING,
    }
    return {name: _figures(errors, selected) for name, selected in groups.items()}


def support_rows(figures: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Rows of :data:`SUPPORT_HEAD`, each headed by the name of its group."""
    return [
        [
            name,
            *(number(value) for value in group["recall_percent"].values()),
            number(group["median_degrees"]),
            number(group["median_centimetres"]),
            str(group["ground_truths"]),
            str(group["detected"]),
        ]
        for name, group in figures.items()
    ]


def _figures(errors: DetectionErrors, selected: np.ndarray) -> dict[str, Any]:
    detected = selected & errors.detected
    recalls = {name: errors.within(*limits)[selected] for name, limits in _RECALLS.items()}
    return {
        "ground_truths": int(selected.sum()),
        "detected": int(detected.sum()),
        "recall_percent": {name: 100 * float(hit.mean()) if len(hit) else None for name, hit in recalls.items()},
        "median_degrees": float(np.median(errors.degrees[detected])) if detected.any() else None,
        "median_centimetres": float(np.median(errors.centimetres[detected])) if detected.any() else None,
    }
