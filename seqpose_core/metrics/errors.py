# SPDX-License-Identifier: Apache-2.0
"""Recall and median errors of detections above a score: what a user of the poses meets, beside ranked AP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORIES
from seqpose_core.metrics import matching
from seqpose_core.metrics.pairs import pair_errors, pair_up
from seqpose_core.metrics.results import Instances, Result, gather

#: (degrees, centimetres) at which recall is summed up; 360 stands for "any rotation".
RECALLS: dict[str, tuple[float, float]] = {
    "10cm": (360, 10),
    "10°10cm": (10, 10),
    "10°5cm": (10, 5),
    "5°5cm": (5, 5),
}


@dataclass(frozen=True)
class Detections:
    """Truths and what was found of them. Each array has one entry per truth, NaN (or -1) where it was missed.

    :param frame, row: (N,) index of the result and of the truth in it; ``category``: (N,) class id.
    :param distance: (N,) of the truth from the camera, metres.
    :param prediction: (N,) row of the prediction in its result; ``score``: (N,) its score.
    :param degrees, centimetres: (N,) pose errors; ``size_error``: (N,) mean over the three extents of
        |predicted / true - 1|.
    :param false: predictions above the score without a truth, by category name.
    """

    frame: np.ndarray
    row: np.ndarray
    category: np.ndarray
    distance: np.ndarray
    prediction: np.ndarray
    score: np.ndarray
    degrees: np.ndarray
    centimetres: np.ndarray
    size_error: np.ndarray
    false: dict[str, int]

    @property
    def found(self) -> np.ndarray:
        """(N,) whether the truth was found."""
        return self.prediction >= 0

    def summary(self, category: str | None = None) -> dict[str, Any]:
        """Recalls in percent and medians over the found, of one category or of all; None where undefined."""
        mine = np.ones(len(self.frame), dtype=bool)
        if category is not None:
            mine = self.category == next(c.id for c in CATEGORIES if c.name == category)
        with np.errstate(invalid="ignore"):
            recall = {
                name: _percent((self.degrees[mine] <= degrees) & (self.centimetres[mine] <= centimetres))
                for name, (degrees, centimetres) in RECALLS.items()
            }
        seen = mine & self.found
        return {
            "truths": int(mine.sum()),
            "found": int(seen.sum()),
            "false": self.false[category] if category is not None else sum(self.false.values()),
            "recall_percent": recall,
            "median_degrees": _median(self.degrees[seen]),
            "median_centimetres": _median(self.centimetres[seen]),
            "median_size_error": _median(self.size_error[seen]),
        }


def _percent(hit: np.ndarray) -> float | None:
    return 100.0 * float(hit.mean()) if len(hit) else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _size(instances: Instances) -> np.ndarray:
    scale = np.cbrt(np.abs(np.linalg.det(instances.transform[:, :3, :3])))
    return scale[:, None] * instances.extents


def detect(results: Iterable[Result], min_score: float = 0.3, radius: float = 0.2) -> Detections:
    """Match predictions above a score to truths of their category, best score first, each to the nearest free
    one.

    :param results: as for :func:`seqpose_core.metrics.nocs.evaluate`.
    :param radius: metres; a prediction farther than this from every free truth of its category is false.
    """
    truths, predictions, _, _ = gather(results)
    predictions = predictions.take(predictions.score >= min_score)
    pairs = pair_up(predictions, truths)
    degrees, centimetres = pair_errors(predictions, truths, pairs, clip=True)
    order = matching.order_by_error(pairs, centimetres)
    matched = matching.greedy_match(pairs, order, (centimetres <= 100 * radius)[:, None])[:, 0]
    finder = np.full(len(truths), -1)
    hits = np.flatnonzero(matched >= 0)
    finder[matched[hits]] = hits
    at = np.full(len(truths), -1)
    good = finder[pairs.truth] == pairs.prediction
    at[pairs.truth[good]] = np.flatnonzero(good)

    def of_found(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        out = np.full(len(truths), np.nan)
        out[index >= 0] = values[index[index >= 0]]
        return out

    size_error = np.full(len(truths), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = _size(predictions)[finder[finder >= 0]] / _size(truths)[finder >= 0]
    size_error[finder >= 0] = np.abs(ratio - 1).mean(axis=1)
    return Detections(
        frame=truths.frame,
        row=truths.row,
        category=truths.category,
        distance=np.linalg.norm(truths.transform[:, :3, 3], axis=1),
        prediction=np.where(finder >= 0, predictions.row[finder] if len(predictions) else -1, -1),
        score=of_found(predictions.score, finder),
        degrees=of_found(degrees, at),
        centimetres=of_found(centimetres, at),
        size_error=size_error,
        false={c.name: int(((predictions.category == c.id) & (matched < 0)).sum()) for c in CATEGORIES},
    )
