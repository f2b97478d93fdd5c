# SPDX-License-Identifier: Apache-2.0
"""Greedy matching of predictions to ground truth at many thresholds at once, and its average precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqpose_core.metrics.pairs import Pairs


class PrecisionRecall(NamedTuple):
    """Precision and recall (N,) after each prediction, in descending order of score (N,)."""

    score: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def order_by_overlap(pairs: Pairs, overlap: np.ndarray) -> np.ndarray:
    """(K,) pair indices, the pairs of each prediction in descending order of overlap; ties: the later ground truth
    first."""
    return np.lexsort((-pairs.ground_truth, -overlap, pairs.prediction))


def order_by_error(pairs: Pairs, error: np.ndarray) -> np.ndarray:
    """(K,) pair indices, the pairs of each prediction in ascending order of error, NaN last; ties: the earlier
    ground truth first."""
    return np.lexsort((pairs.ground_truth, error, pairs.prediction))


def greedy_match(pairs: Pairs, order: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Match each prediction, in descending order of score, to its first unmatched eligible ground truth.

    All frames and thresholds are processed together: step r handles the r-th prediction of every frame and category.

    :param order: (K,) from :func:`order_by_overlap` or :func:`order_by_error`.
    :param eligible: (K, T) whether a pair may match at each of T thresholds.
    :return: (N, T) index of the ground truth that each prediction matched, -1 for none.
    """
    thresholds = eligible.shape[1]
    matched = np.full((len(pairs.rank), thresholds), -1)
    taken = np.zeros((int(pairs.ground_truth.max(initial=-1)) + 1, thresholds), dtype=bool)
    steps = np.stack([pairs.rank, pairs.count], axis=1)
    has_pairs = pairs.count > 0
    for rank, count in np.unique(steps[has_pairs], axis=0):
        current = np.flatnonzero(has_pairs & (pairs.rank == rank) & (pairs.count == count))
        pair = order[pairs.first[current][:, None] + np.arange(count)]
        candidates = pairs.ground_truth[pair]
        free = eligible[pair] & ~taken[candidates]
        first_free = free.argmax(axis=1)
        row, threshold = np.nonzero(free.any(axis=1))
        chosen = candidates[row, first_free[row, threshold]]
        matched[current[row], threshold] = chosen
        taken[chosen, threshold] = True
    return matched


def precision_recall(hit: np.ndarray, score: np.ndarray, ground_truths: int) -> PrecisionRecall:
    """Precision and recall along predictions in descending order of score.

    :param hit: (N,) whether each prediction matched; ``ground_truths``: number of ground-truth objects.
    """
    hits = np.cumsum(hit)
    with np.errstate(invalid="ignore", divide="ignore"):
        # float32, because the official evaluation rounds recall to it
        return PrecisionRecall(
            score, hits / (np.arange(len(hit)) + 1), hits.astype(np.float32) / np.float32(ground_truths)
        )


def average_precision(curve: PrecisionRecall) -> float:
    """Area under the monotone envelope of precision over recall, at all points (PASCAL VOC from 2010 on)."""
    precision = np.concatenate([[0.0], curve.precision, [0.0]])
    recall = np.concatenate([[0.0], curve.recall, [1.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    step = np.flatnonzero(recall[:-1] != recall[1:]) + 1
    return float(np.sum((recall[step] - recall[step - 1]) * envelope[step]))
