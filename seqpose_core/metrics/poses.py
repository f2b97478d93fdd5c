# SPDX-License-Identifier: Apache-2.0
"""Objects of one frame, ground truth and estimated, as the dictionary that the NOCS metrics read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORIES, Category
from seqpose_core.objects import ObjectPose


def nocs_result(
    ground_truth: Mapping[str, Any],
    estimates: Sequence[ObjectPose],
    camera: Camera | None = None,
    categories: Sequence[Category] = CATEGORIES,
    **extra: Any,
) -> dict[str, Any]:
    """One frame with the keys of NOCS result pickles.

    The diagonal d of a box is the scale: RT holds d·R, scales hold size / d. Beyond the NOCS keys: pred_track_ids (-1
    where there is none) and pred_covariances (m, 6, 6) of x y z rx ry rz.

    :param ground_truth: the keys that begin with ``gt_``, as returned by :func:`ground_truth_arrays`.
    :param camera: adds pred_bboxes, the projected boxes as rows y1 x1 y2 x2 in pixels; the official evaluation needs
        them not to be zero, and uses them for nothing else.
    :param categories: define the class ids; objects of other categories get 0 and are left out of all figures.
    :param extra: further keys, such as image_path and stamp.
    """
    boxes = {} if camera is None else {"pred_bboxes": _projected_boxes(estimates, camera)}
    return {
        **extra,
        **ground_truth,
        **_pose_arrays("pred", estimates, categories),
        "pred_scores": np.array([e.score for e in estimates], dtype=np.float64),
        "pred_track_ids": _track_ids(estimates),
        "pred_covariances": np.array([e.covariance for e in estimates], dtype=np.float64).reshape(-1, 6, 6),
        **boxes,
    }


def ground_truth_arrays(
    objects: Sequence[ObjectPose],
    handle_visible: Sequence[bool] | None = None,
    categories: Sequence[Category] = CATEGORIES,
) -> dict[str, Any]:
    """The keys of a result that begin with ``gt_``; gt_instance_ids are the track ids, -1 where there is none.

    :param handle_visible: whether the handle of each object is visible; used for mugs only. None = all are.
    """
    visible = [True] * len(objects) if handle_visible is None else list(handle_visible)
    if len(visible) != len(objects):
        raise ValueError(f"handle_visible has {len(visible)} entries for {len(objects)} ground-truth objects")
    return {
        **_pose_arrays("gt", objects, categories),
        "gt_handle_visibility": np.array(visible, dtype=np.int64),
        "gt_instance_ids": _track_ids(objects),
    }


def _pose_arrays(prefix: str, objects: Sequence[ObjectPose], categories: Sequence[Category]) -> dict[str, np.ndarray]:
    ids = {c.name: c.id for c in categories}
    sizes = np.array([o.size for o in objects], dtype=np.float64).reshape(-1, 3)
    diagonal = np.linalg.norm(sizes, axis=1)
    transforms = np.array([o.transform for o in objects], dtype=np.float64).reshape(-1, 4, 4)
    transforms[:, :3, :3] *= diagonal[:, None, None]
    return {
        f"{prefix}_class_ids": np.array([ids.get(o.category, 0) for o in objects], dtype=np.int64),
        f"{prefix}_RTs": transforms,
        f"{prefix}_scales": sizes / diagonal[:, None],
    }


def _track_ids(objects: Sequence[ObjectPose]) -> np.ndarray:
    return np.array([-1 if o.track_id is None else o.track_id for o in objects], dtype=np.int64)


def _projected_boxes(estimates: Sequence[ObjectPose], camera: Camera) -> np.ndarray:
    rows = [_projected_box(estimate, camera) for estimate in estimates]
    return np.array(rows, dtype=np.int32).reshape(-1, 4)


def _projected_box(estimate: ObjectPose, camera: Camera) -> tuple[int, int, int, int]:
    corners = estimate.corners
    ahead = corners[corners[:, 2] > 1e-3]
    if len(ahead) == 0:
        return 0, 0, 1, 1
    low, high = camera.project(ahead).min(axis=0), camera.project(ahead).max(axis=0)
    x1, y1 = np.clip(low, 0, [camera.width - 1, camera.height - 1])
    x2, y2 = np.clip(high, [x1 + 1, y1 + 1], [camera.width, camera.height])
    return int(y1), int(x1), int(np.ceil(y2)), int(np.ceil(x2))
