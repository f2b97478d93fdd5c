# SPDX-License-Identifier: Apache-2.0
"""A second implementation of the NOCS protocol: a plain loop over images, pairs and thresholds.

It is written from the rules of the protocol and not from :mod:`seqpose_core.metrics`, to check that package and to time
it. It is slow on purpose: one pair, one threshold, one prediction at a time. Transforms are
(4, 4), object to camera with the scale inside; extents are (3,).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

SYMMETRIC, MUG = (1, 2, 4), 6
Iou = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]


def corners(transform: np.ndarray, extents: np.ndarray) -> np.ndarray:
    """(8, 3) corners of a box in the camera frame."""
    x, y, z = extents / 2
    local = [[a * x, b * y, c * z, 1.0] for b in (1, -1) for a in (1, -1) for c in (1, -1)]
    return np.array([(transform @ np.array(corner))[:3] for corner in local])


def _interval_iou(low1: np.ndarray, high1: np.ndarray, low2: np.ndarray, high2: np.ndarray) -> float:
    shared, first, second = 1.0, 1.0, 1.0
    for a, b, c, d in zip(low1, high1, low2, high2, strict=True):
        overlap = min(b, d) - max(a, c)
        if overlap < 0:
            return 0.0
        shared, first, second = shared * overlap, first * (b - a), second * (d - c)
    return shared / (first + second - shared)


def original_iou(rt1: np.ndarray, rt2: np.ndarray, extents1: np.ndarray, extents2: np.ndarray) -> float:
    """Intervals from the smallest to the largest coordinate of each corner: eight per box."""
    a, b = corners(rt1, extents1), corners(rt2, extents2)
    return _interval_iou(a.min(axis=1), a.max(axis=1), b.min(axis=1), b.max(axis=1))


def fixed_iou(rt1: np.ndarray, rt2: np.ndarray, extents1: np.ndarray, extents2: np.ndarray) -> float:
    """Axis-aligned boxes in the camera frame."""
    a, b = corners(rt1, extents1), corners(rt2, extents2)
    return _interval_iou(a.min(axis=0), a.max(axis=0), b.min(axis=0), b.max(axis=0))


def pair_iou(
    pred: np.ndarray, ground_truth: np.ndarray, pred_extents: np.ndarray, extents: np.ndarray, symmetric: bool, iou: Iou
) -> float:
    """IoU of one pair, the best of 20 rotations about y of a symmetric prediction."""
    if not symmetric:
        return iou(pred, ground_truth, pred_extents, extents)
    best = 0.0
    for i in range(20):
        c, s = math.cos(math.pi * i / 10), math.sin(math.pi * i / 10)
        rotation = np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]])
        best = max(best, iou(pred @ rotation, ground_truth, pred_extents, extents))
    return best


def pair_error(pred: np.ndarray, ground_truth: np.ndarray, symmetric: bool) -> tuple[float, float]:
    """Degrees and centimetres between two poses, with the cosine clipped to ±1."""
    r1, r2 = (m[:3, :3] / np.cbrt(np.linalg.det(m[:3, :3])) for m in (pred, ground_truth))
    if symmetric:
        y1, y2 = r1[:, 1], r2[:, 1]
        cosine = y1 @ y2 / math.sqrt((y1 @ y1) * (y2 @ y2))
    else:
        cosine = (np.trace(r1 @ r2.T) - 1) / 2
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine)))), 100 * math.dist(pred[:3, 3], ground_truth[:3, 3])


def average_precision(outcomes: list[tuple[float, bool]], ground_truths: int) -> float:
    """Area under the envelope of precision over recall, from (score, hit); ties: the later one first."""
    ranked = sorted(reversed(outcomes), key=lambda outcome: -outcome[0])
    points, hits = [], 0
    for seen, (_, hit) in enumerate(ranked, start=1):
        hits += hit
        if hit:
            points.append((hits / ground_truths, hits / seen))
    area, best, right = 0.0, 0.0, points[-1][0] if points else 0.0
    for recall, precision in reversed(points):
        area, right = area + best * (right - recall), recall
        best = max(best, precision)
    return area + best * right


def _match(ranked: list[list[int]], taken: set[int]) -> list[int]:
    """Ground truth taken by each prediction, -1 for none; ``ranked`` lists its admissible ground truths, best first."""
    out = []
    for candidates in ranked:
        free = [j for j in candidates if j not in taken]
        out.append(free[0] if free else -1)
        taken.update(free[:1])
    return out


def evaluate(
    results: Sequence[dict[str, Any]],
    iou: Iou,
    prefilter: bool,
    iou_thresholds: Sequence[float],
    pose_thresholds: Sequence[tuple[float, float]],
) -> dict[int, dict[Any, float]]:
    """Average precision by class id and threshold, for classes that have ground truth."""
    outcomes: dict[Any, list[tuple[float, bool]]] = {}
    counted: dict[tuple[int, Any], int] = {}
    for result in results:
        for c in range(1, 7):
            ground_truth = [j for j in range(len(result["gt_class_ids"])) if result["gt_class_ids"][j] == c]
            preds = [i for i in range(len(result["pred_class_ids"])) if result["pred_class_ids"][i] == c]
            preds = sorted(reversed(preds), key=lambda i: -result["pred_scores"][i])
            symmetric = [c in SYMMETRIC or (c == MUG and result["gt_handle_visibility"][j] == 0) for j in ground_truth]
            overlap, error = [], []
            for i in preds:
                pairs = [(result["pred_RTs"][i], result["gt_RTs"][j]) for j in ground_truth]
                sizes = [(result["pred_scales"][i], result["gt_scales"][j]) for j in ground_truth]
                overlap.append(
                    [
                        float(np.float32(pair_iou(*rt, *s, free, iou)))
                        for rt, s, free in zip(pairs, sizes, symmetric, strict=True)
                    ]
                )
                error.append([pair_error(*rt, free) for rt, free in zip(pairs, symmetric, strict=True)])

            def by_iou(limit: float, overlap: list[list[float]] = overlap) -> list[int]:
                ranked = [
                    [j for j in sorted(range(len(row)), key=lambda j: (-row[j], -j)) if row[j] > limit]
                    for row in overlap
                ]
                return _match(ranked, set())

            def record(
                at: Any,
                matches: list[int],
                predictions: list[int],
                ground_truths: int,
                c: int = c,
                result: Any = result,
            ) -> None:
                hits = [(float(result["pred_scores"][i]), j >= 0) for i, j in zip(predictions, matches, strict=True)]
                outcomes.setdefault((c, at), []).extend(hits)
                counted[c, at] = counted.get((c, at), 0) + ground_truths

            for limit in iou_thresholds:
                record(limit, by_iou(limit), preds, len(ground_truth))
            kept = [k for k, j in enumerate(by_iou(0.1)) if j >= 0] if prefilter else list(range(len(preds)))
            allowed = {j for j in by_iou(0.1) if j >= 0} if prefilter else set(range(len(ground_truth)))
            for limits in pose_thresholds:
                ranked = [
                    [
                        j
                        for j in sorted(allowed, key=lambda j: (sum(error[k][j]), j))
                        if error[k][j][0] <= limits[0] and error[k][j][1] <= limits[1]
                    ]
                    for k in kept
                ]
                record(limits, _match(ranked, set()), [preds[k] for k in kept], len(allowed))
    present = {int(c) for result in results for c in result["gt_class_ids"]}
    table: dict[int, dict[Any, float]] = {c: {} for c in sorted(present)}
    for (c, at), hits in outcomes.items():
        if c in present:
            table[c][at] = average_precision(hits, counted[c, at])
    return table
