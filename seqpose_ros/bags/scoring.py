# SPDX-License-Identifier: Apache-2.0
"""How many objects of a bag were found, and how well: the numbers of report.json, by `seqpose_core.metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from seqpose_core import ObjectPose
from seqpose_core.metrics.errors import Detections, detect
from seqpose_core.metrics.poses import result_of
from seqpose_core.metrics.run import Run
from seqpose_core.metrics.stability import Moment
from seqpose_core.metrics.summary import measure as measure_results
from seqpose_ros.stamps import seconds

#: What the numbers are taken over; goes into every report.
EXPLANATION = (
    "recalls: percent of the truth objects in processed frames for which a prediction of the same category lies "
    "within 10 cm (and 10 degrees), matched one to one: by falling score, each to the nearest free truth within "
    "20 cm; medians: over all matched pairs; symmetric objects (and mugs whose handle is hidden) are compared by "
    "their y axis; size error: mean relative error of the three extents"
)
#: rad²: a turn of which the truth says less than this much is unknown, as a hidden handle leaves it.
_UNKNOWN_TURN = 1.0


@dataclass(frozen=True)
class FrameTruth:
    """What a bag says of one image, without its pixels: index, stamp in nanoseconds, objects, None if nothing."""

    index: int
    stamp: int
    objects: list[ObjectPose] | None


def handle_visible(truth: ObjectPose) -> bool:
    """Whether a truth knows its turn about its own y axis, by its covariance."""
    axis = truth.rotation[:, 1]
    return float(axis @ truth.covariance[3:, 3:] @ axis) < _UNKNOWN_TURN


def frame_result(truth: Sequence[ObjectPose], predicted: Sequence[ObjectPose], **more: Any) -> dict[str, Any]:
    """One frame for the NOCS metrics."""
    return result_of(truth, predicted, [handle_visible(t) for t in truth], **more)


def numbers(found: Detections) -> dict[str, float | int | None]:
    """Recalls in percent, and medians, None where nothing was found; see :data:`EXPLANATION`."""
    with np.errstate(invalid="ignore"):  # NaN, a missed truth, is not within anything
        near = found.centimetres <= 10.0
        good = near & (found.degrees <= 10.0)
    predicted = int(found.found.sum()) + sum(found.false.values())
    return {
        "objects_true": len(found.frame),
        "objects_predicted": predicted,
        "recall_10deg10cm": _percent(good, len(found.frame)),
        "recall_10cm": _percent(near, len(found.frame)),
        "precision_10cm": _percent(near, predicted),
        "median_rotation_deg": _median(found.degrees[found.found]),
        "median_translation_cm": _median(found.centimetres[found.found]),
        "median_size_error": _median(found.size_error[found.found]),
    }


def score(
    frames: Iterable[tuple[Sequence[ObjectPose], Sequence[ObjectPose]]], min_score: float = 0.0
) -> dict[str, float | int | None]:
    """The :func:`numbers` of (truth, predicted) of each processed frame.

    :raises seqpose_core.metrics.results.ResultError: there are no frames.
    """
    return numbers(detect([frame_result(t, p) for t, p in frames], min_score))


def measure(
    frames: Iterable[FrameTruth],
    predictions: Mapping[int, Sequence[ObjectPose]],
    clip: str,
    min_score: float,
) -> tuple[Run, str | None]:
    """Everything that train.evaluate measures, of the frames of a bag that have truth and were processed.

    :param predictions: by frame index.
    :param clip: name of the bag; a result's image_path is ``<clip>/<frame index>``.
    :return: what was measured, and why there is nothing over time, if so.
    :raises seqpose_core.metrics.results.ResultError: no frame has truth.
    """
    judged = [(f, f.objects) for f in frames if f.objects is not None and f.index in predictions]
    results = [
        frame_result(
            truth,
            predictions[f.index],
            image_id=f.index,
            image_path=f"{clip}/{f.index:06d}",
            stamp=seconds(f.stamp),
        )
        for f, truth in judged
    ]
    moments = [
        Moment(seconds(f.stamp), [p for p in predictions[f.index] if p.score >= min_score], truth)
        for f, truth in judged
    ]
    reason = _no_sequence(moments)
    return measure_results(results, [] if reason else [moments], min_score), reason


def _no_sequence(moments: Sequence[Moment]) -> str | None:
    """Why these frames tell nothing over time, None if they do."""
    if any(truth.track_id is None for moment in moments for truth in moment.truths):
        return "a truth has no whole number as its id, so it cannot be followed from frame to frame"
    if not all(a.stamp < b.stamp for a, b in pairwise(moments)):
        return "the stamps of the images do not grow from one to the next"
    return None


def _percent(hit: np.ndarray, whole: int) -> float:
    return round(100.0 * int(hit.sum()) / whole, 2) if whole else 0.0


def _median(values: np.ndarray) -> float | None:
    return round(float(np.median(values)), 4) if len(values) else None
