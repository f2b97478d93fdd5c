# SPDX-License-Identifier: Apache-2.0
"""What a report is made of: runs with their results, and the images that the results belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seqpose_core.metrics.ap_report import Report
from seqpose_core.metrics.errors import Detections, detect
from seqpose_core.metrics.pairing import Pairing, pair_nearest
from seqpose_core.metrics.results import Instances, Result, ResultError, frame_name, gather
from seqpose_core.metrics.stability import StabilityReport

#: Metres; a prediction farther than this from a truth does not belong to it, as in ``metrics.errors.detect``.
RADIUS = 0.2


def frame_key(result: Result, index: int) -> str:
    """What a result's frame is known by: its image_path, or its index among the results where it has none."""
    return str(result.get("image_path", index))


@dataclass(frozen=True)
class Run:
    """The results of one way to run an estimator, such as "single" and "multi", and what was measured on them.

    :param results: as for :func:`seqpose_core.metrics.nocs.evaluate`. Optional keys used where they are there:
        image_path, gt_visible_pixels (n,), gt_instance_ids (n,), pred_covariances (m, 6, 6) of x y z rx ry rz.
    :param reports: what ``evaluate`` returned for these results, by kind of IoU.
    :param steadiness: what ``metrics.stability.stability`` returned, None where frames form no sequences.
    :param min_score: least score that counts outside of the ranked figures.
    """

    results: Sequence[Result]
    reports: Mapping[str, Report]
    steadiness: StabilityReport | None = None
    min_score: float = 0.3

    @cached_property
    def detections(self) -> Detections:
        """Truths and what was found of them, within each category."""
        return detect(self.results, self.min_score, RADIUS)

    @cached_property
    def _gathered(self) -> tuple[Instances, Instances]:
        truths, predictions, _, _ = gather(self.results)
        return truths, predictions.take(predictions.score >= self.min_score)

    @cached_property
    def pairing(self) -> Pairing:
        """Truths and predictions matched whatever their categories."""
        return pair_nearest(*self._gathered, RADIUS)

    @cached_property
    def keys(self) -> list[str]:
        """The key of each result's frame."""
        return [frame_key(result, index) for index, result in enumerate(self.results)]

    @cached_property
    def visible_pixels(self) -> np.ndarray | None:
        """(T,) visible pixels of the truths of :attr:`pairing`, NaN where unknown; None where unknown of all."""
        return self.truth_extra("gt_visible_pixels", self.pairing.truths)

    def extra(self, key: str, frame: int, count: int, shape: tuple[int, ...] = ()) -> np.ndarray | None:
        """An optional array (count, *shape) of a result, None where the result lacks it.

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

    def truth_extra(self, key: str, instances: Instances | Detections) -> np.ndarray | None:
        """(N,) values of an optional key of truths, NaN where a result lacks it, None where all do."""
        out = np.full(len(instances.frame), np.nan)
        known = False
        values: dict[int, np.ndarray | None] = {}
        for index, (frame, row) in enumerate(zip(instances.frame.tolist(), instances.row.tolist(), strict=True)):
            if frame not in values:
                values[frame] = self.extra(key, frame, len(self.results[frame]["gt_class_ids"]))
            found = values[frame]
            if found is not None:
                out[index], known = found[row], True
        return out if known else None
