# SPDX-License-Identifier: Apache-2.0
"""Average precision by category and threshold, curves, and counts of what was left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqpose_core.metrics.matching import PrecisionRecall

#: Thresholds that stand for "any" rotation (degrees) and "any" distance (centimetres).
ANY_DEGREES, ANY_CENTIMETRES = 360, 100

#: The columns of the paper: an IoU threshold, or (degrees, centimetres).
COLUMNS: dict[str, float | tuple[float, float]] = {
    "IoU25": 0.25,
    "IoU50": 0.5,
    "IoU75": 0.75,
    "10cm": (ANY_DEGREES, 10),
    "10°": (10, ANY_CENTIMETRES),
    "10°10cm": (10, 10),
    "10°5cm": (10, 5),
    "5°5cm": (5, 5),
}
MEAN = "mean"


class ApRow(dict[Any, float]):
    """Average precision (0..1) of one category by threshold, computed on first access."""

    def __init__(self, fill: Callable[[Sequence[Any]], None]) -> None:
        super().__init__()
        self._fill = fill

    def __missing__(self, threshold: Any) -> float:
        self._fill([threshold])
        return self[threshold]


class ApTable(dict[str, ApRow]):
    """Rows of average precision, one for each category and one for "mean".

    A category without ground truth has NaN. The mean is over the categories that have ground truth.

    :param categories: names, in the order of the rows of ``compute``.
    :param compute: from thresholds (T) to average precision (C, T).
    """

    def __init__(self, categories: Sequence[str], compute: Callable[[Sequence[Any]], np.ndarray]) -> None:
        super().__init__({name: ApRow(self.fill) for name in (*categories, MEAN)})
        self._compute = compute

    def fill(self, thresholds: Sequence[Any]) -> None:
        """Compute and store all thresholds that are not stored yet, in one call."""
        missing = [t for t in dict.fromkeys(thresholds) if t not in self[MEAN]]
        if not missing:
            return
        values = self._compute(missing)
        defined = values[~np.isnan(values[:, 0])]
        mean = defined.mean(axis=0) if len(defined) else np.full(len(missing), np.nan)
        for row, ap in zip(self.values(), (*values, mean), strict=True):
            row.update(zip(missing, ap.tolist(), strict=True))


@dataclass(frozen=True)
class ApReport:
    """Outcome of :func:`seqpose_core.metrics.nocs.evaluate`. Average precisions are fractions, 0..1.

    :param iou_kind: "original", "fixed" or "oriented"; figures of different kinds cannot be compared.
    :param frames: number of results; ``ground_truths``, ``predictions``: number of instances used, by category name.
    :param dropped: number of instances left out of all or of the pose figures, by reason.
    :param iou_ap: ``iou_ap[category or "mean"][threshold]``.
    :param pose_ap: ``pose_ap[category or "mean"][(degrees, centimetres)]``; 360 and 100 stand for "any".
    """

    iou_kind: str
    frames: int
    ground_truths: dict[str, int]
    predictions: dict[str, int]
    dropped: dict[str, int]
    iou_ap: ApTable
    pose_ap: ApTable
    _precision_recall: Callable[[str, float | tuple[float, float]], PrecisionRecall] = field(repr=False)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of all categories that were evaluated, with ground truth or without."""
        return tuple(self.ground_truths)

    def average_precision(self, threshold: float | tuple[float, float], category: str = MEAN) -> float:
        """Average precision at an IoU threshold or at (degrees, centimetres)."""
        return (self.pose_ap if isinstance(threshold, tuple) else self.iou_ap)[category][threshold]

    def columns(self, category: str = MEAN) -> dict[str, float]:
        """The eight columns of the paper (:data:`COLUMNS`) for a category or the mean."""
        return {name: self.average_precision(threshold, category) for name, threshold in COLUMNS.items()}

    def iou_curve(self, category: str = MEAN) -> tuple[np.ndarray, np.ndarray]:
        """IoU thresholds 0, 0.01 … 1 and the average precision at each: two arrays (101,)."""
        return self._curve(self.iou_ap, category, np.linspace(0, 1, 101).tolist(), None)

    def rotation_curve(self, category: str = MEAN) -> tuple[np.ndarray, np.ndarray]:
        """Thresholds 0, 1 … 60 degrees at any distance and the average precision at each: two arrays (61,)."""
        keys = [(float(d), ANY_CENTIMETRES) for d in range(61)]
        return self._curve(self.pose_ap, category, keys, 0)

    def translation_curve(self, category: str = MEAN) -> tuple[np.ndarray, np.ndarray]:
        """Thresholds 0, 0.5 … 15 cm at any rotation and the average precision at each: two arrays (31,)."""
        keys = [(ANY_DEGREES, float(c)) for c in np.linspace(0, 15, 31)]
        return self._curve(self.pose_ap, category, keys, 1)

    @staticmethod
    def _curve(table: ApTable, category: str, keys: list[Any], axis: int | None) -> tuple[np.ndarray, np.ndarray]:
        table.fill(keys)
        thresholds = np.array(keys) if axis is None else np.array([key[axis] for key in keys], dtype=float)
        return thresholds, np.array([table[category][key] for key in keys])

    def precision_recall(self, category: str, threshold: float | tuple[float, float]) -> PrecisionRecall:
        """Precision and recall of one category (not "mean") at an IoU or at (degrees, centimetres)."""
        if category not in self.categories:
            raise KeyError(f"no precision-recall curve for {category!r}; known are {', '.join(self.categories)}")
        return self._precision_recall(category, threshold)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for JSON or YAML, AP in percent; None where there is no ground truth."""

        def percent(values: dict[str, float]) -> dict[str, float | None]:
            return {name: None if np.isnan(v) else round(100 * v, 4) for name, v in values.items()}

        return {
            "iou_kind": self.iou_kind,
            "frames": self.frames,
            "ground_truths": self.ground_truths,
            "predictions": self.predictions,
            "dropped": self.dropped,
            "ap_percent": {name: percent(self.columns(name)) for name in (MEAN, *self.categories)},
        }
