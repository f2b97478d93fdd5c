# SPDX-License-Identifier: Apache-2.0
"""Every prediction beside every truth of its category and frame: overlap, angle, distance of all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqpose_core.categories import CATEGORIES, category
from seqpose_core.metrics import iou
from seqpose_core.metrics.results import Instances

_SYMMETRIC_IDS = [c.id for c in CATEGORIES if c.symmetric]
_MUG = category("mug").id
_CHUNK = 8192


@dataclass(frozen=True)
class Pairs:
    """Pairs of one prediction and one truth of the same frame and category, grouped by prediction.

    :param prediction, truth: (K,) indices; a prediction's truths follow each other in the order of the
        truths.
    :param first: (N,) where each prediction's pairs begin; ``count``: (N,) how many it has.
    :param group: (N,) index of each prediction's (category, frame) group; ``rank``: (N,) its place in it by
        score.
    """

    prediction: np.ndarray
    truth: np.ndarray
    first: np.ndarray
    count: np.ndarray
    group: np.ndarray
    rank: np.ndarray


def pair_up(predictions: Instances, truths: Instances) -> Pairs:
    """All pairs of the same category and frame; both sides sorted as :func:`results.gather` sorts them."""
    frames = 1 + max([int(side.frame.max()) for side in (predictions, truths) if len(side)], default=0)
    key, truth_key = (side.category * frames + side.frame for side in (predictions, truths))
    truth_first = np.searchsorted(truth_key, key, side="left")
    count = np.searchsorted(truth_key, key, side="right") - truth_first
    first = np.cumsum(count) - count
    index = np.repeat(np.arange(len(predictions)), count)
    truth = truth_first[index] + np.arange(len(index)) - first[index]
    _, group_start, group = np.unique(key, return_index=True, return_inverse=True)
    return Pairs(index, truth, first, count, group, np.arange(len(predictions)) - group_start[group])


def symmetric_pairs(truths: Instances, pairs: Pairs) -> np.ndarray:
    """(K,) whether a turn about y makes no difference: bottle, bowl, can, a mug whose handle is hidden."""
    kind = truths.category
    symmetric = np.isin(kind, _SYMMETRIC_IDS) | ((kind == _MUG) & (truths.handle_visible == 0))
    return symmetric[pairs.truth]


def pair_ious(predictions: Instances, truths: Instances, pairs: Pairs, kind: iou.IouKind) -> np.ndarray:
    """(K,) overlap of every pair, symmetric predictions at their best turn; 0 where it is undefined.

    "original" and "fixed" are rounded to float32, which is how the published evaluation stores them.
    """
    overlap = np.zeros(len(pairs.truth))
    symmetric, usable = symmetric_pairs(truths, pairs), predictions.usable[pairs.prediction]
    if kind == "oriented":
        true_boxes = iou.boxes(truths.transform, truths.extents)[pairs.truth]
        t, e = predictions.transform[pairs.prediction], predictions.extents[pairs.prediction]
        plain, turning = usable & ~symmetric, usable & symmetric
        overlap[plain] = iou.oriented_iou(iou.boxes(t[plain], e[plain]), true_boxes[plain])
        overlap[turning] = iou.symmetric_oriented_iou(t[turning], e[turning], true_boxes[turning])
        return overlap
    for of_kind, (p_types, t_types) in _by_type(predictions, truths, pairs):
        for turning in (False, True):
            which = np.flatnonzero(of_kind & usable & (symmetric == turning))
            for chunk in np.array_split(which, 1 + len(which) // _CHUNK) if len(which) else ():
                p, p_index = np.unique(pairs.prediction[chunk], return_inverse=True)
                t, t_index = np.unique(pairs.truth[chunk], return_inverse=True)
                transforms, extents = _typed(predictions, p, p_types)
                if turning:
                    transforms, extents = iou.turned(transforms), extents[:, None]
                mine = iou.intervals(transforms, extents, kind)
                theirs = iou.intervals(*_typed(truths, t, t_types), kind)
                if turning:
                    theirs = theirs[0][:, None], theirs[1][:, None]
                some = iou.interval_iou((mine[0][p_index], mine[1][p_index]), (theirs[0][t_index], theirs[1][t_index]))
                if turning:  # the published code starts its search for the best turn at 0
                    some = np.fmax(np.fmax.reduce(some, axis=-1), 0)
                overlap[chunk] = some.astype(np.float32)
    return np.nan_to_num(overlap, nan=0.0)


def pair_errors(predictions: Instances, truths: Instances, pairs: Pairs, clip: bool) -> tuple[np.ndarray, np.ndarray]:
    """(K,) angles in degrees and (K,) distances in centimetres of every pair; infinite for unusable
    predictions.

    :param clip: keep the cosine within [-1, 1]. Without, as in the published evaluation, rounding beyond ±1
        gives an angle of NaN, which passes every threshold there.
    """
    degrees, centimetres = (np.full(len(pairs.truth), np.inf) for _ in range(2))
    symmetric, usable = symmetric_pairs(truths, pairs), predictions.usable[pairs.prediction]
    with np.errstate(invalid="ignore", divide="ignore"):
        for of_kind, (p_types, t_types) in _by_type(predictions, truths, pairs):
            which = np.flatnonzero(of_kind & usable)
            p, t = pairs.prediction[which], pairs.truth[which]
            mine, theirs = _rotations(predictions, p_types)[p], _rotations(truths, t_types)[t]
            axial, cosine = symmetric[which], np.trace(mine @ theirs.swapaxes(-1, -2), axis1=-2, axis2=-1)
            y1, y2 = mine[axial, :, 1].astype(np.float64), theirs[axial, :, 1].astype(np.float64)
            between_axes = _dot(y1, y2) / (np.sqrt(_dot(y1, y1)) * np.sqrt(_dot(y2, y2)))
            degrees[which[axial]] = _degrees(between_axes, clip)
            degrees[which[~axial]] = _degrees((cosine[~axial] - 1) / 2, clip)
            shift = _typed(predictions, p, p_types)[0][:, :3, 3] - _typed(truths, t, t_types)[0][:, :3, 3]
            centimetres[which] = np.sqrt(_dot(shift, shift)) * 100
    return degrees, centimetres


def _degrees(cosine: np.ndarray, clip: bool) -> np.ndarray:
    if clip:  # a pose without a rotation (determinant 0) is as far off as can be
        cosine = np.nan_to_num(np.clip(cosine, -1.0, 1.0), nan=-1.0)
    return np.arccos(cosine) * (180 / np.pi)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a[:, None, :] @ b[:, :, None])[:, 0, 0]


def _rotations(instances: Instances, types: np.ndarray) -> np.ndarray:
    block = _typed(instances, np.arange(len(instances)), types)[0][:, :3, :3]
    return block / np.cbrt(np.linalg.det(block))[:, None, None]


def _by_type(
    predictions: Instances, truths: Instances, pairs: Pairs
) -> list[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """Masks (K,) of the pairs whose arrays came in the same types, with those types (float32 or not)."""
    single = np.concatenate([predictions.single[pairs.prediction], truths.single[pairs.truth]], axis=1)
    return [((single == row).all(axis=1), (row[:2], row[2:])) for row in np.unique(single, axis=0)]


def _typed(instances: Instances, index: np.ndarray, single: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transforms and extents in the types they came in; they were only widened, so nothing is lost."""
    types = [np.float32 if s else np.float64 for s in single]
    return instances.transform[index].astype(types[0]), instances.extents[index].astype(types[1])
