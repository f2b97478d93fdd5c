# SPDX-License-Identifier: Apache-2.0
"""The results of one run of an estimator, and the figures computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seqpose_core.categories import CATEGORIES, Category, above_threshold, threshold_text
from seqpose_core.metrics.ap_report import ApReport
from seqpose_core.metrics.errors import DetectionErrors, match_detections
from seqpose_core.metrics.pairing import Pairing, pair_nearest
from seqpose_core.metrics.results import Instances, Result, ResultError, frame_name, gather
from seqpose_core.metrics.stability import StabilityReport

#: Metres; predictions and ground truth farther apart are not matched, as in ``metrics.errors.match_detections``.
RADIUS = 0.2


def frame_key(result: Result, index: int) -> str:
    """Key of a frame: the image_path of its result, or its index among the results where it has none."""
    return str(result.get("image_path", index))


@dataclass(frozen=True)
class ScoredRun:
    """The results of an estimator in one mode, such as "single" or "multi", and their scores.

    :param results: as for :func:`seqpose_core.metrics.nocs.evaluate`. Optional keys that are used where present:
        image_path, gt_visible_pixels (n,), gt_instance_ids (n,), pred_covariances (m, 6, 6) of x y z rx ry rz.
    :param ap_reports: what ``evaluate`` returned for these results, by kind of IoU.
    :param stability: what ``metrics.stability.stability`` returned, None where the frames form no sequences.
    :param no_stability: the reason if ``stability`` is None.
    :param min_score: predictions below it are left out of everything but average precision; None = the threshold of
        each category.
    """

    results: Sequence[Result]
    ap_reports: Mapping[str, ApReport]
    stability: StabilityReport | None = None
    no_stability: str = "the results do not form sequences with stamps and instances"
    min_score: float | None = None
    categories: tuple[Category, ...] = CATEGORIES

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the categories."""
        return tuple(c.name for c in self.categories)

    @cached_property
    def errors(self) -> DetectionErrors:
        """Ground truth and the errors of its detections, matched within each category."""
        return match_detections(self.results, self.min_score, RADIUS, self.categories)

    @cached_property
    def pairing(self) -> Pairing:
        """Ground truth and predictions matched regardless of their categories."""
        ground_truths, predictions, _, _ = gather(self.results, self.categories)
        reported = above_threshold(predictions.score, predictions.category, self.categories, self.min_score)
        return pair_nearest(ground_truths, predictions.take(reported), RADIUS)

    @property
    def threshold(self) -> str:
        """The lowest score, for tables."""
        return threshold_text(self.categories, self.min_score)

    @cached_property
    def keys(self) -> list[str]:
        """The key of the frame of each result."""
        return [frame_key(result, index) for index, result in enumerate(self.results)]

    @cached_property
    def visible_pixels(self) -> np.ndarray | None:
        """(G,) visible pixels of the ground truth of :attr:`pairing`, NaN where unknown; None if all are unknown."""
        return self.ground_truth_values("gt_visible_pixels", self.pairing.ground_truths)

    def optional_array(self, key: str, frame: int, count: int, shape: tuple[int, ...] = ()) -> np.ndarray | None:
        """An optional array (count, *shape) of a result, None where the result has none.

        :raises ResultError: it has another shape.
        """
        if key not in self.results[frame]:
            return None
        value = np.asarray(self.results[frame][key])
        if value.size == 0:
            value = value.reshape(0, *shape)
        if value.shape != (count, *shape):
            name = frame_name(self.results[frame], frame)
            raise ResultError(f"{name}: {key} has shape {value.shape}, expected {(count, *shape)}")
        return value

    def ground_truth_values(self, key: str, instances: Instances | DetectionErrors) -> np.ndarray | None:
        """(N,) values of an optional key of ground truth, NaN where a result has none; None if no result has any."""
        out = np.full(len(instances.frame), np.nan)
        known = False
        arrays: dict[int, np.ndarray | None] = {}
        for index, (frame, row) in enumerate(zip(instances.frame.tolist(), instances.row.tolist(), strict=True)):
            if frame not in arrays:
                arrays[frame] = self.optional_array(key, frame, len(self.results[frame]["gt_class_ids"]))
            array = arrays[frame]
            if array is not None:
                out[index], known = array[row], True
        return out if known else None
