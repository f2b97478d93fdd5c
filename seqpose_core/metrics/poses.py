# SPDX-License-Identifier: Apache-2.0
"""Objects of one frame, true and estimated, as the dictionary that the NOCS metrics read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqpose_core.categories import category
from seqpose_core.objects import ObjectPose


def result_of(
    truths: Sequence[ObjectPose],
    estimates: Sequence[ObjectPose],
    handle_visible: Sequence[bool] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One frame's truths and estimates with the keys of NOCS result pickles (all but pred_bboxes).

    A box's diagonal d is the scale: RT holds d·R, scales hold size / d. Beyond the NOCS keys: gt_instance_ids
    and pred_track_ids (-1 where there is none), pred_covariances (m, 6, 6) of x y z rx ry rz.

    :param handle_visible: of each truth; it matters for mugs. None: all are.
    :param more: further keys, such as image_path and stamp.
    """
    visible = [True] * len(truths) if handle_visible is None else list(handle_visible)
    if len(visible) != len(truths):
        raise ValueError(f"handle_visible has {len(visible)} entries for {len(truths)} truths")
    return {
        **more,
        **_side("gt", truths),
        "gt_handle_visibility": np.array(visible, dtype=np.int64),
        "gt_instance_ids": _track_ids(truths),
        **predictions_of(estimates),
    }


def predictions_of(estimates: Sequence[ObjectPose]) -> dict[str, Any]:
    """The part of a result that begins with ``pred_``, as :func:`result_of` has it."""
    return {
        **_side("pred", estimates),
        "pred_scores": np.array([e.score for e in estimates], dtype=np.float64),
        "pred_track_ids": _track_ids(estimates),
        "pred_covariances": np.array([e.covariance for e in estimates], dtype=np.float64).reshape(-1, 6, 6),
    }


def _side(prefix: str, objects: Sequence[ObjectPose]) -> dict[str, np.ndarray]:
    sizes = np.array([o.size for o in objects], dtype=np.float64).reshape(-1, 3)
    diagonal = np.linalg.norm(sizes, axis=1)
    transforms = np.array([o.transform for o in objects], dtype=np.float64).reshape(-1, 4, 4)
    transforms[:, :3, :3] *= diagonal[:, None, None]
    return {
        f"{prefix}_class_ids": np.array([category(o.category).id for o in objects], dtype=np.int64),
        f"{prefix}_RTs": transforms,
        f"{prefix}_scales": sizes / diagonal[:, None],
    }


def _track_ids(objects: Sequence[ObjectPose]) -> np.ndarray:
    return np.array([-1 if o.track_id is None else o.track_id for o in objects], dtype=np.int64)
