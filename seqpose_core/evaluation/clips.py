# SPDX-License-Identifier: Apache-2.0
"""Group the results of single frames into clips, for figures over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from seqpose_core.categories import Category
from seqpose_core.metrics.results import Result, ResultError, frame_name
from seqpose_core.metrics.stability import SequenceFrame
from seqpose_core.objects import ObjectPose

_NEEDED = ("image_path", "stamp", "gt_instance_ids", "pred_track_ids", "pred_covariances")
# Shapes of one row of the arrays of a result.
_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "gt": {"gt_RTs": (4, 4), "gt_scales": (3,), "gt_instance_ids": (), "gt_visible_pixels": ()},
    "pred": {
        "pred_RTs": (4, 4),
        "pred_scales": (3,),
        "pred_scores": (),
        "pred_track_ids": (),
        "pred_covariances": (6, 6),
    },
}


def group_clips(
    results: Sequence[Result], min_score: float | None, categories: Sequence[Category]
) -> tuple[list[list[SequenceFrame]], str]:
    """The clips of the results, each a list of frames in the order of their image_path.

    Frames whose image_path has the same folder form a clip. Beyond the NOCS keys, results need image_path, stamp,
    gt_instance_ids, pred_track_ids and pred_covariances; results without them or without a stamp form no clip. Objects
    of unknown class or with values that are not finite are left out; ``metrics.results.gather`` counts them.
    Ground truth with gt_visible_pixels 0 is hidden.

    :return: the clips, and why the last clip that was left out cannot be used.
    :raises ResultError: an array whose shape does not fit; names the frame.
    """
    by_id = {c.id: c for c in categories}
    clips: dict[str, list[tuple[str, SequenceFrame]]] = {}
    for index, result in enumerate(results):
        if all(key in result for key in _NEEDED) and np.isfinite(result["stamp"]):
            _check_shapes(result, index)
            path = str(result["image_path"])
            clips.setdefault(path.rpartition("/")[0], []).append((path, _sequence_frame(result, min_score, by_id)))
    usable: list[list[SequenceFrame]] = []
    reason = "the results do not form sequences with stamps and instances"
    for clip in clips.values():
        frames = [frame for _, frame in sorted(clip, key=lambda item: item[0])]
        if any(item.track_id is None for frame in frames for item in frame.ground_truths):
            reason = "a ground-truth object has no integer id, so it cannot be followed from frame to frame"
        elif not all(a.stamp < b.stamp for a, b in pairwise(frames)):
            reason = "the stamps of the images do not increase from one to the next"
        else:
            usable.append(frames)
    return usable, reason


def _check_shapes(result: Result, index: int) -> None:
    for side, shapes in _SHAPES.items():
        count = len(result[f"{side}_class_ids"])
        for key, shape in shapes.items():
            given = np.shape(result[key]) if key in result else (count, *shape)
            if given != (count, *shape) and not count == np.size(result[key]) == 0:
                name = frame_name(result, index)
                raise ResultError(f"{name}: {key} has shape {given}, expected {(count, *shape)}")


def _sequence_frame(result: Result, min_score: float | None, categories: Mapping[int, Category]) -> SequenceFrame:
    count = len(result["gt_class_ids"])
    ids, pixels = np.asarray(result["gt_instance_ids"]), np.asarray(result.get("gt_visible_pixels", np.ones(count)))
    ground_truths = _objects(result, "gt", categories, ids, np.ones(count), None)
    estimates = _objects(
        result, "pred", categories, result["pred_track_ids"], result["pred_scores"], result["pred_covariances"]
    )
    return SequenceFrame(
        stamp=float(result["stamp"]),
        estimates=[e for e in estimates if e.reaches(min_score)],
        ground_truths=ground_truths,
        hidden=frozenset(int(i) for i in ids[pixels == 0]),
    )


def _objects(
    result: Mapping[str, Any],
    side: str,
    categories: Mapping[int, Category],
    ids: np.ndarray,
    scores: np.ndarray,
    covariances: np.ndarray | None,
) -> list[ObjectPose]:
    out = []
    for k, class_id in enumerate(result[f"{side}_class_ids"]):
        transform = result[f"{side}_RTs"][k]
        covariance = np.zeros((6, 6)) if covariances is None else covariances[k]
        numbers = (transform, result[f"{side}_scales"][k], covariance)
        if int(class_id) not in categories or not all(np.isfinite(values).all() for values in numbers):
            continue
        scale = np.cbrt(np.linalg.det(transform[:3, :3]))
        if not scale > 0:
            continue
        out.append(
            ObjectPose(
                category=categories[int(class_id)].name,
                score=float(scores[k]),
                rotation=transform[:3, :3] / scale,
                translation=transform[:3, 3],
                size=scale * result[f"{side}_scales"][k],
                covariance=covariance,
                track_id=None if ids[k] < 0 else int(ids[k]),
                category_info=categories[int(class_id)],
            )
        )
    return out
