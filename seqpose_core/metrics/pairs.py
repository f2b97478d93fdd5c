# SPDX-License-Identifier: Apache-2.0
"""IoU, angle and distance of every pair of a prediction and a ground truth of the same category and frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqpose_core.metrics import iou
from seqpose_core.metrics.results import Instances

_CHUNK = 8192


@dataclass(frozen=True)
class Pairs:
    """Pairs of one prediction and one ground truth of the same frame and category, grouped by prediction.

    :param prediction, ground_truth: (K,) indices; the pairs of one prediction are adjacent, in the order of the
        ground truth.
    :param first: (N,) index of the first pair of each prediction; ``count``: (N,) number of its pairs.
    :param group: (N,) index of the (category, frame) group of each prediction; ``rank``: (N,) its rank by score in the
        group.
    """

    prediction: np.ndarray
    ground_truth: np.ndarray
    first: np.ndarray
    count: np.ndarray
    group: np.ndarray
    rank: np.ndarray


def pair_up(predictions: Instances, ground_truths: Instances) -> Pairs:
    """All pairs of the same category and frame; both sides sorted as :func:`results.gather` sorts them."""
    frames = 1 + max([int(side.frame.max()) for side in (predictions, ground_truths) if len(side)], default=0)
    key, ground_truth_key = (side.category * frames + side.frame for side in (predictions, ground_truths))
    ground_truth_first = np.searchsorted(ground_truth_key, key, side="left")
    count = np.searchsorted(ground_truth_key, key, side="right") - ground_truth_first
    first = np.cumsum(count) - count
    index = np.repeat(np.arange(len(predictions)), count)
    ground_truth = ground_truth_first[index] + np.arange(len(index)) - first[index]
    _, group_start, group = np.unique(key, return_index=True, return_inverse=True)
    return Pairs(index, ground_truth, first, count, group, np.arange(len(predictions)) - group_start[group])


def pair_ious(predictions: Instances, ground_truths: Instances, pairs: Pairs, kind: iou.IouKind) -> np.ndarray:
    """(K,) IoU of every pair, at the best rotation about y of symmetric predictions; 0 where it is undefined.

    "original" and "fixed" are rounded to float32, as the official evaluation stores them.
    """
    overlap = np.zeros(len(pairs.ground_truth))
    symmetric, usable = ground_truths.symmetric[pairs.ground_truth], predictions.usable[pairs.prediction]
    if kind == "oriented":
        ground_truth_boxes = iou.box_transforms(ground_truths.transform, ground_truths.extents)[pairs.ground_truth]
        t, e = predictions.transform[pairs.prediction], predictions.extents[pairs.prediction]
        plain, rotating = usable & ~symmetric, usable & symmetric
        overlap[plain] = iou.oriented_iou(iou.box_transforms(t[plain], e[plain]), ground_truth_boxes[plain])
        overlap[rotating] = iou.symmetric_oriented_iou(t[rotating], e[rotating], ground_truth_boxes[rotating])
        return overlap
    for of_type, (p_types, g_types) in _by_type(predictions, ground_truths, pairs):
        for rotating in (False, True):
            which = np.flatnonzero(of_type & usable & (symmetric == rotating))
            for chunk in np.array_split(which, 1 + len(which) // _CHUNK) if len(which) else ():
                p, p_index = np.unique(pairs.prediction[chunk], return_inverse=True)
                g, g_index = np.unique(pairs.ground_truth[chunk], return_inverse=True)
                transforms, extents = _typed(predictions, p, p_types)
                if rotating:
                    transforms, extents = iou.rotated_about_y(transforms), extents[:, None]
                low, high = iou.intervals(transforms, extents, kind)
                g_low, g_high = iou.intervals(*_typed(ground_truths, g, g_types), kind)
                if rotating:
                    g_low, g_high = g_low[:, None], g_high[:, None]
                ious = iou.interval_iou((low[p_index], high[p_index]), (g_low[g_index], g_high[g_index]))
                if rotating:  # the official code starts its search for the best rotation at IoU 0
                    ious = np.fmax(np.fmax.reduce(ious, axis=-1), 0)
                overlap[chunk] = ious.astype(np.float32)
    return np.nan_to_num(overlap, nan=0.0)


def pair_errors(
    predictions: Instances, ground_truths: Instances, pairs: Pairs, clip: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(K,) angles in degrees and (K,) distances in centimetres of every pair; infinite for unusable predictions.

    :param clip: clip the cosine to [-1, 1]. Without it, as in the official evaluation, rounding beyond ±1 gives an
        angle of NaN, which passes every threshold there.
    """
    degrees, centimetres = (np.full(len(pairs.ground_truth), np.inf) for _ in range(2))
    symmetric, usable = ground_truths.symmetric[pairs.ground_truth], predictions.usable[pairs.prediction]
    with np.errstate(invalid="ignore", divide="ignore"):
        for of_type, (p_types, g_types) in _by_type(predictions, ground_truths, pairs):
            which = np.flatnonzero(of_type & usable)
            p, g = pairs.prediction[which], pairs.ground_truth[which]
            predicted, expected = _rotations(predictions, p_types)[p], _rotations(ground_truths, g_types)[g]
            axial, cosine = symmetric[which], np.trace(predicted @ expected.swapaxes(-1, -2), axis1=-2, axis2=-1)
            y1, y2 = predicted[axial, :, 1].astype(np.float64), expected[axial, :, 1].astype(np.float64)
            between_axes = _dot(y1, y2) / (np.sqrt(_dot(y1, y1)) * np.sqrt(_dot(y2, y2)))
            degrees[which[axial]] = _degrees(between_axes, clip)
            degrees[which[~axial]] = _degrees((cosine[~axial] - 1) / 2, clip)
            shift = _typed(predictions, p, p_types)[0][:, :3, 3] - _typed(ground_truths, g, g_types)[0][:, :3, 3]
            centimetres[which] = np.sqrt(_dot(shift, shift)) * 100
    return degrees, centimetres


def _degrees(cosine: np.ndarray, clip: bool) -> np.ndarray:
    """Angles in degrees of cosines, of the same shape; ``clip`` as in :func:`pair_errors`."""
    if clip:  # a pose without a rotation (determinant 0) gets the largest error
        cosine = np.nan_to_num(np.clip(cosine, -1.0, 1.0), nan=-1.0)
    return np.arccos(cosine) * (180 / np.pi)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) dot products of vectors (N, 3)."""
    return (a[:, None, :] @ b[:, :, None])[:, 0, 0]


def _rotations(instances: Instances, types: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations without scale, in the type of the transforms."""
    block = _typed(instances, np.arange(len(instances)), types)[0][:, :3, :3]
    return block / np.cbrt(np.linalg.det(block))[:, None, None]


def _by_type(
    predictions: Instances, ground_truths: Instances, pairs: Pairs
) -> list[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """Masks (K,) of the pairs whose arrays were given in the same types, with those types (float32 or not)."""
    single = np.concatenate([predictions.single[pairs.prediction], ground_truths.single[pairs.ground_truth]], axis=1)
    return [((single == row).all(axis=1), (row[:2], row[2:])) for row in np.unique(single, axis=0)]


def _typed(instances: Instances, index: np.ndarray, single: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transforms and extents in the types they were given in; they were only widened, so nothing is lost."""
    types = [np.float32 if s else np.float64 for s in single]
    return instances.transform[index].astype(types[0]), instances.extents[index].astype(types[1])
