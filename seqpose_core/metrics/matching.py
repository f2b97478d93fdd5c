# SPDX-License-Identifier: Apache-2.0
"""Greedy matching of predictions to truths at many thresholds at once, and its average precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqpose_core.metrics.pairs import Pairs


class PrecisionRecall(NamedTuple):
    """Precision and recall (N,) after each prediction, in the order of falling score (N,)."""

    score: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def order_by_overlap(pairs: Pairs, overlap: np.ndarray) -> np.ndarray:
    """(K,) pair indices, each prediction's pairs by falling overlap; of equal ones the later truth first."""
    return np.lexsort((-pairs.truth, -overlap, pairs.prediction))


def order_by_error(pairs: Pairs, error: np.ndarray) -> np.ndarray:
    """(K,) pair indices, each prediction's pairs by growing error, NaN last; of equals the earlier first."""
    return np.lexsort((pairs.truth, error, pairs.prediction))


def greedy_match(pairs: Pairs, order: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Let predictions choose truths, best score first, each the first free eligible truth in its order.

    All frames and thresholds advance together: step r handles the r-th prediction of every frame and
    category.

    :param order: (K,) from :func:`order_by_overlap` or :func:`order_by_error`.
    :param eligible: (K, T) whether a pair may match at each of T thresholds.
    :return: (N, T) index of the truth that each prediction took, -1 for none.
    """
    thresholds = eligible.shape[1]
    matched = np.full((len(pairs.rank), thresholds), -1)
    taken = np.zeros((int(pairs.truth.max(initial=-1)) + 1, thresholds), dtype=bool)
    steps = np.stack([pairs.rank, pairs.count], axis=1)
    worth = pairs.count > 0
    for rank, count in np.unique(steps[worth], axis=0):
        choosing = np.flatnonzero(worth & (pairs.rank == rank) & (pairs.count == count))
        pair = order[pairs.first[choosing][:, None] + np.arange(count)]
        truth = pairs.truth[pair]
        free = eligible[pair] & ~taken[truth]
        choice = free.argmax(axis=1)
        who, at = np.nonzero(free.any(axis=1))
        chosen = truth[who, choice[who, at]]
        matched[choosing[who], at] = chosen
        taken[chosen, at] = True
    return matched


def precision_recall(hit: np.ndarray, score: np.ndarray, truths: int) -> PrecisionRecall:
    """Precision and recall along predictions that are already sorted by falling score.

    :param hit: (N,) whether each prediction matched; ``truths``: how many there were to find.
    """
    hits = np.cumsum(hit)
    with np.errstate(invalid="ignore", divide="ignore"):
        # float32, because the published evaluation rounds recall to it
        return PrecisionRecall(score, hits / (np.arange(len(hit)) + 1), hits.astype(np.float32) / np.float32(truths))


def average_precision(curve: PrecisionRecall) -> float:
    """Area under the monotone envelope of precision over recall, at all points (PASCAL VOC 2010 on)."""
    precision = np.concatenate([[0.0], curve.precision, [0.0]])
    recall = np.concatenate([[0.0], curve.recall, [1.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    step = np.flatnonzero(recall[:-1] != recall[1:]) + 1
    return float(np.sum((recall[step] - recall[step - 1]) * envelope[step]))
