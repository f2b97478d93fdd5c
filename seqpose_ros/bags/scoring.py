# SPDX-License-Identifier: Apache-2.0
"""Convert the frames of a bag to results and views, which seqpose_core.evaluation scores and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqpose_core import ObjectPose, SupportPlane
from seqpose_core.categories import CATEGORIES, Category
from seqpose_core.evaluation import LoadViews, ScoredRun, ScoringOptions, View, score_results
from seqpose_core.evaluation.figures import headline_figures, run_figures
from seqpose_core.evaluation.support import HEIGHTS
from seqpose_core.metrics.poses import ground_truth_arrays, nocs_result
from seqpose_core.pose_fusion import PoseBatch
from seqpose_core.support_plane import lowest_heights
from seqpose_ros.bags.bag import Bag
from seqpose_ros.stamps import seconds

#: Variance in rad² from which the yaw of a ground-truth object is unknown, as for a mug whose handle is hidden.
_UNKNOWN_YAW = 1.0


@dataclass(frozen=True)
class FrameGroundTruth:
    """Ground truth of one image: its index in the bag, stamp in nanoseconds, objects; None if it has no label.

    ``support_plane`` is the plane that the predictions were fused with; None = RGB only, or not known.
    ``sequence`` is that of :class:`seqpose_ros.bags.bag.BagFrame`."""

    index: int
    stamp: int
    objects: list[ObjectPose] | None
    support_plane: SupportPlane | None = None
    sequence: int = 0


def is_yaw_known(ground_truth: ObjectPose) -> bool:
    """Whether the yaw of a ground-truth object (rotation about its y axis) is known, according to its covariance."""
    axis = ground_truth.rotation[:, 1]
    return float(axis @ ground_truth.covariance[3:, 3:] @ axis) < _UNKNOWN_YAW


def frame_result(
    ground_truth: Sequence[ObjectPose],
    predicted: Sequence[ObjectPose],
    categories: Sequence[Category] = CATEGORIES,
    **extra: Any,
) -> dict[str, Any]:
    """One frame of a bag as a NOCS result.

    :param categories: those that class ids refer to. :param extra: further keys, such as image_path and stamp.
    """
    visible = [is_yaw_known(item) for item in ground_truth]
    arrays = ground_truth_arrays(ground_truth, visible, categories)
    return nocs_result(arrays, predicted, categories=categories, **extra)


def score_frames(
    frames: Iterable[FrameGroundTruth],
    predictions: Mapping[int, Sequence[ObjectPose]],
    bag: str,
    options: ScoringOptions,
) -> ScoredRun | None:
    """Score the processed frames that have ground truth; None if there are none.

    Heights above the support plane are added to the results if any frame has one.

    :param predictions: by frame index.
    :param bag: its name; the image_path of a result is ``<bag>/<frame index>``, and ``<bag>/<sequence>/<frame index>``
        after a reset of the clock, so that each sequence is a clip.
    """
    frames = list(frames)
    with_plane = any(f.support_plane is not None for f in frames)
    results = [
        frame_result(
            f.objects,
            predictions[f.index],
            options.categories,
            image_id=f.index,
            image_path=f"{bag}/{f.sequence}/{f.index:06d}" if f.sequence else f"{bag}/{f.index:06d}",
            stamp=seconds(f.stamp),
            **({HEIGHTS: _heights(f.objects, f.support_plane)} if with_plane else {}),
        )
        for f in frames
        if f.objects is not None and f.index in predictions
    ]
    return score_results(results, options) if results else None


def _heights(objects: Sequence[ObjectPose], plane: SupportPlane | None) -> np.ndarray:
    """(n,) heights of the lowest points above the plane, metres; NaN without a plane."""
    if plane is None or not objects:
        return np.full(len(objects), np.nan)
    return lowest_heights(PoseBatch.of(objects), plane)


def bag_figures(run: ScoredRun | None, frames_processed: int) -> dict[str, Any]:
    """Figures of a scored bag for report.json; only a count for a bag without ground truth."""
    without = frames_processed - (len(run.results) if run else 0)
    figures: dict[str, Any] = {"frames_without_ground_truth": without}
    if run is None:
        return figures
    if run.stability is None:
        figures["no_stability"] = run.no_stability
    return {**headline_figures(run.errors), **figures, **run_figures(run)}


def views_of_bag(bag: Bag) -> LoadViews:
    """A function that loads the views of a bag by the image_path of results, in one pass over the bag."""

    def load_views(keys: Iterable[str]) -> dict[str, View]:
        wanted = {int(key.rpartition("/")[2]): key for key in keys}
        return {wanted[f.index]: View(f.image, f.camera) for f in bag.frames() if f.index in wanted}

    return load_views
