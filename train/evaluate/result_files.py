# SPDX-License-Identifier: Apache-2.0
"""NOCS result files: one pickle per frame with ground truth and predictions, of this or other methods."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORIES, Category
from seqpose_core.metrics.poses import nocs_result
from seqpose_core.objects import ObjectPose
from train.data import safe_pickle
from train.data.atomic_file import atomic_write
from train.data.frame import Frame

_REQUIRED = ("gt_class_ids", "gt_RTs", "gt_scales", "pred_class_ids", "pred_RTs", "pred_scales", "pred_scores")


def result_of_frame(
    frame: Frame,
    image_id: int,
    image_path: str,
    estimates: Sequence[ObjectPose],
    categories: Sequence[Category] = CATEGORIES,
) -> dict[str, Any]:
    """One frame of a data set as a NOCS result.

    Beyond the keys of :func:`nocs_result`: stamp (NaN where unknown), gt_instance_ids, gt_visible_pixels.
    """
    ground_truth = {
        **frame.ground_truth(),
        "gt_instance_ids": np.array([o.instance for o in frame.objects], dtype=np.int64),
        "gt_visible_pixels": np.array([o.visible_pixels for o in frame.objects], dtype=np.int64),
    }
    stamp = float("nan") if frame.stamp is None else frame.stamp
    extra = {"image_id": image_id, "image_path": image_path, "stamp": stamp}
    return nocs_result(ground_truth, estimates, frame.camera, categories, **extra)


def result_path(folder: Path, split: str, scene: str, name: str) -> Path:
    """Path of the result of a frame: results_<split>_<scene>_<frame>.pkl."""
    return folder / f"results_{split}_{scene}_{name}.pkl"


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write one result; an interrupted write leaves no partial file."""
    with atomic_write(path) as file:
        pickle.dump(result, file, protocol=4)


def read_results(paths: Iterable[Path]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Results of pickles that hold one dictionary or a list of them, read without executing code in them.

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
            missing = [k for k in _REQUIRED if k not in result] if isinstance(result, dict) else []
            if not isinstance(result, dict) or missing:
                what = f"lacks {', '.join(missing)}" if missing else f"is a {type(result).__name__}, not a dictionary"
                broken[f"{path}[{number}]"] = f"result {what}"
                continue
            results.append({"image_path": str(path), **result})
    return results, broken


def stored_results(folder: Path) -> list[Path]:
    """The result pickles of a folder in order.

    :raises FileNotFoundError: there are none.
    """
    paths = sorted(folder.glob("results_*.pkl"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no results_*.pkl")
    return paths
