# SPDX-License-Identifier: Apache-2.0
"""The NOCS evaluation protocol (Wang et al., CVPR 2019), as published and in two forms that mean what they
say.

``docs/metrics.md`` states every rule, where the published code and its description differ, and what is
defined here where that code gives NaN or stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORIES
from seqpose_core.metrics import matching
from seqpose_core.metrics.ap_report import COLUMNS, ApTable, Report
from seqpose_core.metrics.iou import IOU_KINDS, IouKind
from seqpose_core.metrics.matching import PrecisionRecall
from seqpose_core.metrics.pairs import pair_errors, pair_ious, pair_up
from seqpose_core.metrics.results import Result, gather, published_order

#: "original" and "fixed" judge poses only among predictions and truths that match at this IoU.
PREFILTER_IOU = 0.1
_BATCH = 128


def evaluate(
    results: Iterable[Result],
    iou: IouKind = "original",
    iou_thresholds: Sequence[float] = (),
    pose_thresholds: Sequence[tuple[float, float]] = (),
) -> Report:
    """Average precision of predictions by 3D overlap and by pose error.

    :param results: one mapping per image with the keys of NOCS result pickles: gt_class_ids (n,) 1..6, gt_RTs
        (n, 4, 4) object to camera in metres with the scale inside, gt_scales (n, 3), gt_handle_visibility
        (n,) (all visible where missing), pred_class_ids (m,), pred_RTs, pred_scales, pred_scores (m,).
    :param iou: "original" computes what the published evaluation does, flaws included; "fixed" takes
        axis-aligned boxes in the camera frame; "oriented" takes exact boxes and lets a miss count against
        pose AP.
    :param iou_thresholds: 0..1, computed besides the paper's columns; others are computed when read.
    :param pose_thresholds: (degrees, centimetres), likewise.
    :raises ResultError: (a ValueError) no results, a missing key or a wrong shape; names the frame.
    """
    if iou not in IOU_KINDS:
        raise ValueError(f"iou is {iou!r}; known kinds are {', '.join(IOU_KINDS)}")
    scores = _Scores(results, iou)
    iou_ap, pose_ap = ApTable(scores.iou_ap), ApTable(scores.pose_ap)
    iou_ap.fill([t for t in COLUMNS.values() if not isinstance(t, tuple)] + list(iou_thresholds))
    pose_ap.fill([t for t in COLUMNS.values() if isinstance(t, tuple)] + list(pose_thresholds))
    return Report(
        iou_kind=iou,
        frames=scores.frames,
        truths=_count(scores.truths.category),
        predictions=_count(scores.predictions.category),
        dropped=scores.dropped,
        iou_ap=iou_ap,
        pose_ap=pose_ap,
        _precision_recall=scores.precision_recall,
    )


def _count(categories: np.ndarray) -> dict[str, int]:
    return {c.name: int((categories == c.id).sum()) for c in CATEGORIES}


class _Scores:
    """Overlaps and errors of all pairs of one evaluation, and the matchings at thresholds on them."""

    def __init__(self, results: Iterable[Result], kind: IouKind) -> None:
        self.truths, self.predictions, self.frames, self.dropped = gather(results)
        self._pairs = pair_up(self.predictions, self.truths)
        self._overlap = pair_ious(self.predictions, self.truths, self._pairs, kind)
        self._degrees, self._centimetres = pair_errors(
            self.predictions, self.truths, self._pairs, clip=kind != "original"
        )
        self._by_overlap = matching.order_by_overlap(self._pairs, self._overlap)
        self._by_error = matching.order_by_error(self._pairs, self._degrees + self._centimetres)
        self._judged = np.ones(len(self.predictions), dtype=bool)
        self._truth_judged = np.ones(len(self.truths), dtype=bool)
        if kind != "oriented":
            self._prefilter()
        self._order = self._descending(np.ones_like(self._judged))
        self._pose_order = self._descending(self._judged)

    def _prefilter(self) -> None:
        matched = self._match_overlap([PREFILTER_IOU])[:, 0]
        self._judged = matched >= 0
        self._truth_judged[:] = False
        self._truth_judged[matched[self._judged]] = True
        outside = {
            f"truth: no match above IoU {PREFILTER_IOU}, left out of pose AP": int((~self._truth_judged).sum()),
            f"prediction: no match above IoU {PREFILTER_IOU}, left out of pose AP": int((~self._judged).sum()),
        }
        self.dropped.update({reason: n for reason, n in outside.items() if n})
        pairs = self._pairs
        undefined = np.isnan(self._degrees) & self._judged[pairs.prediction] & self._truth_judged[pairs.truth]
        if undefined.any():
            self.dropped["pair: angle undefined (cosine beyond ±1), passes every threshold"] = int(undefined.sum())

    def _descending(self, judged: np.ndarray) -> list[np.ndarray]:
        """For each category, indices of its judged predictions by falling score over all frames."""
        members = [np.flatnonzero(judged & (self.predictions.category == c.id)) for c in CATEGORIES]
        return [m[published_order(self.predictions.score[m])] for m in members]

    def _match_overlap(self, thresholds: Sequence[float]) -> np.ndarray:
        wrong = [t for t in thresholds if not 0 <= t <= 1]
        if wrong:
            raise ValueError(f"IoU threshold {wrong[0]} is not within 0..1")
        eligible = self._overlap[:, None] > np.array(thresholds, dtype=np.float64)
        return matching.greedy_match(self._pairs, self._by_overlap, eligible)

    def _match_pose(self, thresholds: Sequence[tuple[float, float]]) -> np.ndarray:
        limit = np.array(thresholds, dtype=np.float64).reshape(-1, 2)
        if not (limit >= 0).all():
            raise ValueError(f"pose thresholds are (degrees, centimetres), 0 or more; got {list(thresholds)}")
        # "not above", for the published evaluation lets an undefined angle pass
        far = (self._degrees[:, None] > limit[:, 0]) | (self._centimetres[:, None] > limit[:, 1])
        judged = self._judged[self._pairs.prediction] & self._truth_judged[self._pairs.truth]
        return matching.greedy_match(self._pairs, self._by_error, ~far & judged[:, None])

    def _curve(self, hit: np.ndarray, order: list[np.ndarray], judged: np.ndarray, index: int) -> PrecisionRecall:
        mine = order[index]
        of_category = self.truths.category == CATEGORIES[index].id
        return matching.precision_recall(hit[mine], self.predictions.score[mine], int((of_category & judged).sum()))

    def _ap(self, hits: np.ndarray, order: list[np.ndarray], judged: np.ndarray) -> np.ndarray:
        values = np.full((len(CATEGORIES), hits.shape[1]), np.nan)
        for index, c in enumerate(CATEGORIES):
            if (self.truths.category == c.id).any():
                values[index] = [matching.average_precision(self._curve(hit, order, judged, index)) for hit in hits.T]
        return values

    def _batched(self, thresholds: Sequence[Any], pose: bool) -> np.ndarray:
        parts = []
        for start in range(0, len(thresholds), _BATCH):
            some = thresholds[start : start + _BATCH]
            if pose:
                parts.append(self._ap(self._match_pose(some) >= 0, self._pose_order, self._truth_judged))
            else:
                everyone = np.ones_like(self._truth_judged)
                parts.append(self._ap(self._match_overlap(some) >= 0, self._order, everyone))
        return np.concatenate(parts, axis=1)

    def iou_ap(self, thresholds: Sequence[float]) -> np.ndarray:
        """(6, T) average precision at IoU thresholds, NaN for a category without truths."""
        return self._batched(thresholds, pose=False)

    def pose_ap(self, thresholds: Sequence[tuple[float, float]]) -> np.ndarray:
        """(6, T) average precision at (degrees, centimetres), NaN for a category without truths."""
        return self._batched(thresholds, pose=True)

    def precision_recall(self, category: str, threshold: float | tuple[float, float]) -> PrecisionRecall:
        """Precision and recall of one category at one threshold."""
        index = [c.name for c in CATEGORIES].index(category)
        if isinstance(threshold, tuple):
            hit = self._match_pose([threshold])[:, 0] >= 0
            return self._curve(hit, self._pose_order, self._truth_judged, index)
        hit = self._match_overlap([threshold])[:, 0] >= 0
        return self._curve(hit, self._order, np.ones_like(self._truth_judged), index)
