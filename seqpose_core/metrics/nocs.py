# SPDX-License-Identifier: Apache-2.0
"""The NOCS evaluation protocol (Wang et al., CVPR 2019): as the official code computes it, and two corrected forms.

``docs/metrics.md`` lists every rule, where the official code and its description differ, and what is defined here
where that code gives NaN or stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORIES, Category
from seqpose_core.metrics import matching
from seqpose_core.metrics.ap_report import COLUMNS, ApReport, ApTable
from seqpose_core.metrics.iou import IOU_KINDS, IouKind
from seqpose_core.metrics.matching import PrecisionRecall
from seqpose_core.metrics.pairs import pair_errors, pair_ious, pair_up
from seqpose_core.metrics.results import Result, gather, official_order

#: "original" and "fixed" evaluate poses only of predictions and ground truth that match at this IoU.
PREFILTER_IOU = 0.1
_BATCH = 128


def evaluate(
    results: Iterable[Result],
    iou: IouKind = "original",
    iou_thresholds: Sequence[float] = (),
    pose_thresholds: Sequence[tuple[float, float]] = (),
    categories: Sequence[Category] = CATEGORIES,
) -> ApReport:
    """Average precision of predictions by 3D IoU and by pose error.

    :param results: one mapping per image with the keys of NOCS result pickles: gt_class_ids (n,), gt_RTs (n, 4, 4)
        object to camera in metres with the scale inside, gt_scales (n, 3), gt_handle_visibility (n,) (all visible
        where missing), pred_class_ids (m,), pred_RTs, pred_scales, pred_scores (m,).
    :param iou: "original" computes what the official evaluation does, including its errors; "fixed" takes
        axis-aligned boxes in the camera frame; "oriented" takes exact boxes, and missed objects lower the pose AP.
    :param iou_thresholds: 0..1, computed in addition to the columns of the paper; others are computed on access.
    :param pose_thresholds: (degrees, centimetres), in addition to the columns of the paper.
    :param categories: the categories that are evaluated, the six of NOCS by default.
    :raises ResultError: (a ValueError) no results, a missing key or a wrong shape; names the frame.
    """
    if iou not in IOU_KINDS:
        raise ValueError(f"iou is {iou!r}; known kinds are {', '.join(IOU_KINDS)}")
    scores = _Scores(results, iou, categories)
    names = [c.name for c in categories]
    iou_ap, pose_ap = ApTable(names, scores.iou_ap), ApTable(names, scores.pose_ap)
    iou_ap.fill([t for t in COLUMNS.values() if not isinstance(t, tuple)] + list(iou_thresholds))
    pose_ap.fill([t for t in COLUMNS.values() if isinstance(t, tuple)] + list(pose_thresholds))
    return ApReport(
        iou_kind=iou,
        frames=scores.frames,
        ground_truths={c.name: int((scores.ground_truths.category == c.id).sum()) for c in categories},
        predictions={c.name: int((scores.predictions.category == c.id).sum()) for c in categories},
        dropped=scores.dropped,
        iou_ap=iou_ap,
        pose_ap=pose_ap,
        _precision_recall=scores.precision_recall,
    )


class _Scores:
    """IoU and errors of all pairs of one evaluation, and the matchings at thresholds on them."""

    def __init__(self, results: Iterable[Result], kind: IouKind, categories: Sequence[Category]) -> None:
        self._categories = categories
        self.ground_truths, self.predictions, self.frames, self.dropped = gather(results, categories)
        self._pairs = pair_up(self.predictions, self.ground_truths)
        self._overlap = pair_ious(self.predictions, self.ground_truths, self._pairs, kind)
        self._degrees, self._centimetres = pair_errors(
            self.predictions, self.ground_truths, self._pairs, clip=kind != "original"
        )
        self._by_overlap = matching.order_by_overlap(self._pairs, self._overlap)
        self._by_error = matching.order_by_error(self._pairs, self._degrees + self._centimetres)
        # Which instances count in pose AP.
        self._prediction_counts = np.ones(len(self.predictions), dtype=bool)
        self._ground_truth_counts = np.ones(len(self.ground_truths), dtype=bool)
        if kind != "oriented":
            self._prefilter()
        self._order = self._rank_by_score(np.ones_like(self._prediction_counts))
        self._pose_order = self._rank_by_score(self._prediction_counts)

    def _prefilter(self) -> None:
        """Leave instances without a match at :data:`PREFILTER_IOU` out of pose AP, and count them."""
        matched = self._match_overlap([PREFILTER_IOU])[:, 0]
        self._prediction_counts = matched >= 0
        self._ground_truth_counts[:] = False
        self._ground_truth_counts[matched[self._prediction_counts]] = True
        reason = f"no match above IoU {PREFILTER_IOU}, left out of pose AP"
        left_out = {
            f"ground truth: {reason}": int((~self._ground_truth_counts).sum()),
            f"prediction: {reason}": int((~self._prediction_counts).sum()),
        }
        self.dropped.update({reason: n for reason, n in left_out.items() if n})
        undefined = np.isnan(self._degrees) & self._pair_counts
        if undefined.any():
            self.dropped["pair: angle undefined (cosine beyond ±1), passes every threshold"] = int(undefined.sum())

    @property
    def _pair_counts(self) -> np.ndarray:
        pairs = self._pairs
        return self._prediction_counts[pairs.prediction] & self._ground_truth_counts[pairs.ground_truth]

    def _rank_by_score(self, included: np.ndarray) -> list[np.ndarray]:
        """For each category, indices of its included predictions in descending order of score over all frames."""
        members = [np.flatnonzero(included & (self.predictions.category == c.id)) for c in self._categories]
        return [m[official_order(self.predictions.score[m])] for m in members]

    def _match_overlap(self, thresholds: Sequence[float]) -> np.ndarray:
        """(P, T) ground truth matched to each prediction at IoU thresholds, -1 for none."""
        wrong = [t for t in thresholds if not 0 <= t <= 1]
        if wrong:
            raise ValueError(f"IoU threshold {wrong[0]} is not within 0..1")
        eligible = self._overlap[:, None] > np.array(thresholds, dtype=np.float64)
        return matching.greedy_match(self._pairs, self._by_overlap, eligible)

    def _match_pose(self, thresholds: Sequence[tuple[float, float]]) -> np.ndarray:
        """(P, T) ground truth matched to each prediction at (degrees, centimetres), -1 for none."""
        limit = np.array(thresholds, dtype=np.float64).reshape(-1, 2)
        if not (limit >= 0).all():
            raise ValueError(f"pose thresholds are (degrees, centimetres), 0 or more; got {list(thresholds)}")
        # "not above", because an undefined angle passes in the official evaluation
        far = (self._degrees[:, None] > limit[:, 0]) | (self._centimetres[:, None] > limit[:, 1])
        return matching.greedy_match(self._pairs, self._by_error, ~far & self._pair_counts[:, None])

    def _curve(self, hit: np.ndarray, order: list[np.ndarray], counts: np.ndarray, index: int) -> PrecisionRecall:
        ranked = order[index]
        of_category = self.ground_truths.category == self._categories[index].id
        return matching.precision_recall(hit[ranked], self.predictions.score[ranked], int((of_category & counts).sum()))

    def _ap(self, hits: np.ndarray, order: list[np.ndarray], counts: np.ndarray) -> np.ndarray:
        values = np.full((len(self._categories), hits.shape[1]), np.nan)
        for index, c in enumerate(self._categories):
            if (self.ground_truths.category == c.id).any():
                values[index] = [matching.average_precision(self._curve(hit, order, counts, index)) for hit in hits.T]
        return values

    def _batched(self, thresholds: Sequence[Any], pose: bool) -> np.ndarray:
        """(C, T) average precision at thresholds of pose errors or of IoU, in batches that bound the memory."""
        parts = []
        for start in range(0, len(thresholds), _BATCH):
            batch = thresholds[start : start + _BATCH]
            if pose:
                parts.append(self._ap(self._match_pose(batch) >= 0, self._pose_order, self._ground_truth_counts))
            else:
                every_object = np.ones_like(self._ground_truth_counts)
                parts.append(self._ap(self._match_overlap(batch) >= 0, self._order, every_object))
        return np.concatenate(parts, axis=1)

    def iou_ap(self, thresholds: Sequence[float]) -> np.ndarray:
        """(C, T) average precision at IoU thresholds, NaN for a category without ground truth."""
        return self._batched(thresholds, pose=False)

    def pose_ap(self, thresholds: Sequence[tuple[float, float]]) -> np.ndarray:
        """(C, T) average precision at (degrees, centimetres), NaN for a category without ground truth."""
        return self._batched(thresholds, pose=True)

    def precision_recall(self, category: str, threshold: float | tuple[float, float]) -> PrecisionRecall:
        """Precision and recall of one category at one threshold."""
        index = [c.name for c in self._categories].index(category)
        if isinstance(threshold, tuple):
            hit = self._match_pose([threshold])[:, 0] >= 0
            return self._curve(hit, self._pose_order, self._ground_truth_counts, index)
        hit = self._match_overlap([threshold])[:, 0] >= 0
        return self._curve(hit, self._order, np.ones_like(self._ground_truth_counts), index)
