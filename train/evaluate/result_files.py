# SPDX-License-Identifier: Apache-2.0
"""NOCS-style result files: one pickle per frame with truths and predictions, ours or anyone's."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqpose_core.camera import Camera
from seqpose_core.metrics.poses import predictions_of
from seqpose_core.objects import ObjectPose
from train.data import safe_pickle
from train.data.atomic_file import atomic_write
from train.data.frame import Frame

_NEEDED = ("gt_class_ids", "gt_RTs", "gt_scales", "pred_class_ids", "pred_RTs", "pred_scales", "pred_scores")


def result_of(frame: Frame, image_id: int, image_path: str, estimates: Sequence[ObjectPose]) -> dict[str, Any]:
    """One frame's truths and estimates with the keys of NOCS result pickles.

    Beyond those keys: stamp (NaN where unknown), gt_instance_ids, gt_visible_pixels, pred_track_ids (-1 for
    an unconfirmed track), pred_covariances (m, 6, 6). pred_bboxes are the projected boxes, rows y1 x1 y2 x2
    in pixels; the published evaluation needs them not to be zero, and uses them for nothing else.
    """
    return {
        "image_id": image_id,
        "image_path": image_path,
        "stamp": float("nan") if frame.stamp is None else frame.stamp,
        **frame.ground_truth(),
        "gt_instance_ids": np.array([o.instance for o in frame.objects], dtype=np.int64),
        "gt_visible_pixels": np.array([o.visible_pixels for o in frame.objects], dtype=np.int64),
        **predictions_of(estimates),
        "pred_bboxes": np.array([_pixels(e, frame.camera) for e in estimates], dtype=np.int32).reshape(-1, 4),
    }


def _pixels(estimate: ObjectPose, camera: Camera) -> tuple[int, int, int, int]:
    corners = estimate.corners
    ahead = corners[corners[:, 2] > 1e-3]
    if len(ahead) == 0:
        return 0, 0, 1, 1
    low, high = camera.project(ahead).min(axis=0), camera.project(ahead).max(axis=0)
    x1, y1 = np.clip(low, 0, [camera.width - 1, camera.height - 1])
    x2, y2 = np.clip(high, [x1 + 1, y1 + 1], [camera.width, camera.height])
    return int(y1), int(x1), int(np.ceil(y2)), int(np.ceil(x2))


def result_path(folder: Path, split: str, scene: str, name: str) -> Path:
    """Where a frame's result lies: results_<split>_<scene>_<frame>.pkl."""
    return folder / f"results_{split}_{scene}_{name}.pkl"


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write one result, whole or not at all."""
    with atomic_write(path) as file:
        pickle.dump(result, file, protocol=4)


def read_results(paths: Iterable[Path]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Results of pickles that hold one dictionary or a list of them, read without running anything in them.

    :return: the results, each with its file as image_path where it has none; and files that could not be
        used, with the reason.
    """
    results: list[dict[str, Any]] = []
    broken: dict[str, str] = {}
    for path in paths:
        try:
            content = safe_pickle.load(path)
        except (OSError, pickle.UnpicklingError) as error:
            broken[str(path)] = str(error)
            continue
        for number, result in enumerate(content if isinstance(content, list) else [content]):
            missing = [k for k in _NEEDED if k not in result] if isinstance(result, dict) else []
            if not isinstance(result, dict) or missing:
                what = f"lacks {', '.join(missing)}" if missing else f"is a {type(result).__name__}, not a dictionary"
                broken[f"{path}[{number}]"] = f"result {what}"
                continue
            results.append({"image_path": str(path), **result})
    return results, broken


def stored_results(folder: Path) -> list[Path]:
    """The result pickles of a folder in order.

    :raise FileNotFoundError: there are none.
    """
    paths = sorted(folder.glob("results_*.pkl"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no results_*.pkl")
    return paths
