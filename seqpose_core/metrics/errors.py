# SPDX-License-Identifier: Apache-2.0
"""Recall and median errors of the detections above a score threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORIES, Category, above_threshold
from seqpose_core.metrics import matching
from seqpose_core.metrics.pairs import Pairs, pair_errors, pair_up
from seqpose_core.metrics.results import Instances, Result, gather

#: (degrees, centimetres) at which recall is reported; 360 stands for "any rotation".
RECALLS: dict[str, tuple[float, float]] = {
    "10cm": (360, 10),
    "10°10cm": (10, 10),
    "10°5cm": (10, 5),
    "5°5cm": (5, 5),
}


@dataclass(frozen=True)
class DetectionErrors:
    """Ground-truth objects and the errors of their detections. Arrays have one entry per ground truth, NaN or -1
    where it was missed.

    :param frame, row: (N,) index of the result and of the ground truth in it; ``category``: (N,) class id.
    :param distance: (N,) of the ground truth from the camera, metres.
    :param prediction: (N,) row of the matched prediction in its result; ``score``: (N,) its score.
    :param degrees, centimetres: (N,) pose errors; ``size_error``: (N,) mean over the three extents of
        |predicted / ground truth - 1|.
    :param false_positives: predictions above the score that match no ground truth, by category name.
    :param categories: the known categories.
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
    false_positives: dict[str, int]
    categories: tuple[Category, ...] = CATEGORIES

    @property
    def detected(self) -> np.ndarray:
        """(N,) whether the ground-truth object was detected."""
        return self.prediction >= 0

    def within(self, degrees: float, centimetres: float) -> np.ndarray:
        """(N,) whether the ground-truth object was detected within both limits."""
        with np.errstate(invalid="ignore"):  # NaN, a missed object, is within no limit
            return (self.degrees <= degrees) & (self.centimetres <= centimetres)

    def summary(self, category: str | None = None) -> dict[str, Any]:
        """Recalls in percent and medians over detected objects, of one category or of all; None where undefined."""
        selected = np.ones(len(self.frame), dtype=bool)
        if category is not None:
            selected = self.category == next(c.id for c in self.categories if c.name == category)
        detected = selected & self.detected
        return {
            "ground_truths": int(selected.sum()),
            "detected": int(detected.sum()),
            "false_positives": (
                sum(self.false_positives.values()) if category is None else self.false_positives[category]
            ),
            "recall_percent": {name: _percent(self.within(*limits)[selected]) for name, limits in RECALLS.items()},
            "median_degrees": _median(self.degrees[detected]),
            "median_centimetres": _median(self.centimetres[detected]),
            "median_size_error": _median(self.size_error[detected]),
        }


def _percent(hit: np.ndarray) -> float | None:
    return 100.0 * float(hit.mean()) if len(hit) else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _sizes(instances: Instances) -> np.ndarray:
    """(N, 3) extents in metres."""
    scale = np.cbrt(np.abs(np.linalg.det(instances.transform[:, :3, :3])))
    return scale[:, None] * instances.extents


def _match(
    predictions: Instances, ground_truths: Instances, radius: float
) -> tuple[Pairs, np.ndarray, np.ndarray, np.ndarray]:
    """All pairs, their errors in degrees and centimetres (K,), and the match of each prediction (P,), -1 for none."""
    pairs = pair_up(predictions, ground_truths)
    degrees, centimetres = pair_errors(predictions, ground_truths, pairs, clip=True)
    order = matching.order_by_error(pairs, centimetres)
    return (
        pairs,
        degrees,
        centimetres,
        matching.greedy_match(pairs, order, (centimetres <= 100 * radius)[:, None])[:, 0],
    )


def matched_predictions(
    results: Iterable[Result], radius: float = 0.2, categories: Sequence[Category] = CATEGORIES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class id, score, and whether each prediction matches ground truth as in :func:`match_detections`; each (P,)."""
    ground_truths, predictions, _, _ = gather(results, categories)
    return predictions.category, predictions.score, _match(predictions, ground_truths, radius)[3] >= 0


def match_detections(
    results: Iterable[Result],
    min_score: float | None = 0.3,
    radius: float = 0.2,
    categories: Sequence[Category] = CATEGORIES,
) -> DetectionErrors:
    """Match predictions above a score to ground truth of their category.

    Predictions are processed in descending order of score; each matches the nearest unmatched ground truth.

    :param results: as for :func:`seqpose_core.metrics.nocs.evaluate`.
    :param min_score: None = the threshold of each category.
    :param radius: metres; a prediction farther than this from every unmatched ground truth of its category is a false
        positive.
    """
    ground_truths, predictions, _, _ = gather(results, categories)
    predictions = predictions.take(above_threshold(predictions.score, predictions.category, categories, min_score))
    pairs, degrees, centimetres, matched = _match(predictions, ground_truths, radius)
    # Index of the prediction, and of the pair with it, of each ground truth; -1 where it was missed.
    prediction = np.full(len(ground_truths), -1)
    hits = np.flatnonzero(matched >= 0)
    prediction[matched[hits]] = hits
    pair = np.full(len(ground_truths), -1)
    is_match = prediction[pairs.ground_truth] == pairs.prediction
    pair[pairs.ground_truth[is_match]] = np.flatnonzero(is_match)

    def select(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        out = np.full(len(ground_truths), np.nan)
        out[index >= 0] = values[index[index >= 0]]
        return out

    size_error = np.full(len(ground_truths), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = _sizes(predictions)[prediction[prediction >= 0]] / _sizes(ground_truths)[prediction >= 0]
    size_error[prediction >= 0] = np.abs(ratio - 1).mean(axis=1)
    return DetectionErrors(
        frame=ground_truths.frame,
        row=ground_truths.row,
        category=ground_truths.category,
        distance=np.linalg.norm(ground_truths.transform[:, :3, 3], axis=1),
        prediction=np.where(prediction >= 0, predictions.row[prediction] if len(predictions) else -1, -1),
        score=select(predictions.score, prediction),
        degrees=select(degrees, pair),
        centimetres=select(centimetres, pair),
        size_error=size_error,
        false_positives={c.name: int(((predictions.category == c.id) & (matched < 0)).sum()) for c in categories},
        categories=tuple(categories),
    )
