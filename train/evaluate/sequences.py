# SPDX-License-Identifier: Apache-2.0
"""Our result files, frame by frame, put back into sequences of objects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORIES, category
from seqpose_core.metrics.results import ResultError, frame_name
from seqpose_core.metrics.stability import Moment
from seqpose_core.objects import ObjectPose

_EXTRA = ("stamp", "gt_instance_ids", "gt_visible_pixels", "pred_track_ids", "pred_covariances")
# What the arrays of a result hold for each truth, and for each prediction.
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
_KNOWN = [c.id for c in CATEGORIES]


def sequences(results: Sequence[dict[str, Any]], min_score: float) -> list[list[Moment]]:
    """The clips among results, each a list of moments in order of their stamps.

    Results without what :func:`train.evaluate.result_files.result_of` writes beyond the NOCS keys, such as other
    people's, and frames without a stamp give none. A clip is what shares the folder of its image_path. Objects
    of unknown class or with numbers that are not finite are left out; ``metrics.results.gather`` counts them.

    :raises ResultError: an array whose shape does not fit; names the frame.
    """
    clips: dict[str, list[Moment]] = {}
    for index, result in enumerate(results):
        if all(key in result for key in _EXTRA) and np.isfinite(result["stamp"]):
            _check(result, index)
            clips.setdefault(str(result["image_path"]).rpartition("/")[0], []).append(_moment(result, min_score))
    ordered = [sorted(clip, key=lambda moment: moment.stamp) for clip in clips.values()]
    return [clip for clip in ordered if all(a.stamp < b.stamp for a, b in pairwise(clip))]


def _check(result: dict[str, Any], index: int) -> None:
    for side, shapes in _SHAPES.items():
        count = len(result[f"{side}_class_ids"])
        for key, shape in shapes.items():
            found = np.shape(result[key])
            if found != (count, *shape) and not count == np.size(result[key]) == 0:
                name = frame_name(result, index)
                raise ResultError(f"{name}: {key} has shape {found}, expected {(count, *shape)}")


def _moment(result: dict[str, Any], min_score: float) -> Moment:
    truths = _objects(result, "gt", result["gt_instance_ids"], np.ones(len(result["gt_class_ids"])), None)
    estimates = _objects(result, "pred", result["pred_track_ids"], result["pred_scores"], result["pred_covariances"])
    hidden = result["gt_instance_ids"][result["gt_visible_pixels"] == 0]
    return Moment(
        stamp=float(result["stamp"]),
        estimates=[e for e in estimates if e.score >= min_score],
        truths=truths,
        hidden=frozenset(int(i) for i in hidden),
    )


def _objects(
    result: dict[str, Any], side: str, ids: np.ndarray, scores: np.ndarray, covariances: np.ndarray | None
) -> list[ObjectPose]:
    out = []
    for k, class_id in enumerate(result[f"{side}_class_ids"]):
        transform = result[f"{side}_RTs"][k]
        covariance = np.zeros((6, 6)) if covariances is None else covariances[k]
        numbers = (transform, result[f"{side}_scales"][k], covariance)
        if class_id not in _KNOWN or not all(np.isfinite(values).all() for values in numbers):
            continue
        scale = np.cbrt(np.linalg.det(transform[:3, :3]))
        if not scale > 0:
            continue
        out.append(
            ObjectPose(
                category=category(int(class_id)).name,
                score=float(scores[k]),
                rotation=transform[:3, :3] / scale,
                translation=transform[:3, 3],
                size=scale * result[f"{side}_scales"][k],
                covariance=covariance,
                track_id=None if ids[k] < 0 else int(ids[k]),
            )
        )
    return out
