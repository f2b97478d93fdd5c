# SPDX-License-Identifier: Apache-2.0
"""Our result files, frame by frame, put back into sequences of objects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from seqpose_core.categories import category
from seqpose_core.metrics.stability import Moment
from seqpose_core.objects import ObjectPose

_EXTRA = ("stamp", "gt_instance_ids", "gt_visible_pixels", "pred_track_ids", "pred_covariances")


def sequences(results: Sequence[dict[str, Any]], min_score: float) -> list[list[Moment]]:
    """The clips among results, each a list of moments in order of their stamps.

    Results without what :func:`train.result_files.result_of` writes beyond the NOCS keys, such as other
    people's, and frames without a stamp give none. A clip is what shares the folder of its image_path.
    """
    clips: dict[str, list[Moment]] = {}
    for result in results:
        if all(key in result for key in _EXTRA) and np.isfinite(result["stamp"]):
            clips.setdefault(str(result["image_path"]).rpartition("/")[0], []).append(
                _moment(result, min_score)
            )
    ordered = [sorted(clip, key=lambda moment: moment.stamp) for clip in clips.values()]
    return [clip for clip in ordered if all(a.stamp < b.stamp for a, b in pairwise(clip))]


def _moment(result: dict[str, Any], min_score: float) -> Moment:
    truths = _objects(result, "gt", result["gt_instance_ids"], np.ones(len(result["gt_class_ids"])), None)
    estimates = _objects(
        result, "pred", result["pred_track_ids"], result["pred_scores"], result["pred_covariances"]
    )
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
        scale = np.cbrt(np.linalg.det(transform[:3, :3]))
        out.append(
            ObjectPose(
                category=category(int(class_id)).name,
                score=float(scores[k]),
                rotation=transform[:3, :3] / scale,
                translation=transform[:3, 3],
                size=scale * result[f"{side}_scales"][k],
                covariance=np.zeros((6, 6)) if covariances is None else covariances[k],
                track_id=None if ids[k] < 0 else int(ids[k]),
            )
        )
    return out
