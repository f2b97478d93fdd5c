# SPDX-License-Identifier: Apache-2.0
"""How many objects of a bag were found, and how well: the numbers of report.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from seqpose_core import ObjectPose, category
from seqpose_core.geometry import rotation_error

#: What the numbers are taken over; goes into every report.
EXPLANATION = (
    "recalls: percent of the truth objects in processed frames for which a prediction of the same category, "
    "matched one to one by distance, lies within 10 cm (and 10 degrees); medians: over all matched "
    "pairs; symmetric objects (and mugs whose handle is hidden) are compared by their y axis; size error: "
    "mean relative error of the three extents"
)


@dataclass(frozen=True)
class Pair:
    """A truth object and the prediction matched to it. Metres and radians; the size error is relative."""

    translation: float
    rotation: float
    size: float


def is_symmetric(truth: ObjectPose) -> bool:
    """Whether turns about the object's y axis show nothing: by category, or as the truth calls it unknown."""
    return category(truth.category).symmetric or bool(np.trace(truth.covariance[3:, 3:]) > 0)


def match(truth: Sequence[ObjectPose], predicted: Sequence[ObjectPose]) -> list[Pair]:
    """Match one to one within a frame: same category, nearest centres first."""
    candidates = sorted(
        (float(np.linalg.norm(t.translation - p.translation)), i, j)
        for i, t in enumerate(truth)
        for j, p in enumerate(predicted)
        if t.category == p.category
    )
    pairs, used_truth, used_predicted = [], set(), set()
    for distance, i, j in candidates:
        if i in used_truth or j in used_predicted:
            continue
        used_truth.add(i)
        used_predicted.add(j)
        t, p = truth[i], predicted[j]
        rotation = float(rotation_error(t.rotation, p.rotation, is_symmetric(t)))
        size = float(np.mean(np.abs(np.asarray(p.size) / np.asarray(t.size) - 1.0)))
        pairs.append(Pair(distance, rotation, size))
    return pairs


def score(
    frames: Iterable[tuple[Sequence[ObjectPose], Sequence[ObjectPose]]],
) -> dict[str, float | int | None]:
    """Score (truth, predicted) of each processed frame; recalls in percent, medians None without any pair."""
    objects_true = objects_predicted = 0
    pairs: list[Pair] = []
    for truth, predicted in frames:
        objects_true += len(truth)
        objects_predicted += len(predicted)
        pairs += match(truth, predicted)
    near = [p for p in pairs if p.translation <= 0.10]
    good = [p for p in near if p.rotation <= np.radians(10.0)]
    return {
        "objects_true": objects_true,
        "objects_predicted": objects_predicted,
        "recall_10deg10cm": _percent(len(good), objects_true),
        "recall_10cm": _percent(len(near), objects_true),
        "precision_10cm": _percent(len(near), objects_predicted),
        "median_rotation_deg": _median([np.degrees(p.rotation) for p in pairs]),
        "median_translation_cm": _median([100.0 * p.translation for p in pairs]),
        "median_size_error": _median([p.size for p in pairs]),
    }


def _percent(part: int, whole: int) -> float:
    return round(100.0 * part / whole, 2) if whole else 0.0


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if values else None
