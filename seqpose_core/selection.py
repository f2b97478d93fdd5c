# SPDX-License-Identifier: Apache-2.0
"""Objects to report from the outputs of one step: scores, duplicates and covariances, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from seqpose_core.categories import Category
from seqpose_core.geometry import rotation_vector
from seqpose_core.objects import ObjectPose

#: Log Laplace scale whose variance 2b² is π²/3, that of an angle uniform on the circle.
_UNIFORM_YAW_LOG_SCALE = math.log(math.pi / math.sqrt(6.0))
#: Two detections of one category are the same object if they are closer than this, in box diagonals, across the line
#: of sight and along it. Depth is the least certain coordinate, so one object is easily detected at two depths.
_DUPLICATE_ACROSS, _DUPLICATE_ALONG = 0.3, 2.0


def select_objects(
    outputs: Mapping[str, np.ndarray],
    categories: Sequence[Category],
    reported: np.ndarray,
    thresholds: np.ndarray,
    max_objects: int,
) -> list[ObjectPose]:
    """Detections of the reported categories above the threshold, best score first, without duplicates.

    :param outputs: of the step, without batch axis; names and shapes as in
        :class:`~seqpose_core.model.pose_head.ObjectPrediction`.
    :param reported, thresholds: (C,) bool and float: whether a category is reported, and its lowest score.
    """
    # logaddexp: exp of the logit of an invalid query, -1e4, would overflow.
    scores = np.exp(-np.logaddexp(0.0, -outputs["logits"].astype(np.float64))) * reported
    label, score = scores.argmax(-1), scores.max(-1)
    order = np.argsort(-score, kind="stable")
    # An invalid query scores exactly 0 and is never reported.
    order = order[(score[order] >= thresholds[label[order]]) & (score[order] > 0)]
    label = label[order]
    kept = {name: outputs[name][order].astype(np.float64) for name in outputs if not name.startswith("new_")}
    if "sizes" in kept:
        rows = np.arange(len(order))
        kept["rotation"], kept["size"] = kept.pop("rotations")[rows, label], kept.pop("sizes")[rows, label]
    duplicate = _same_object(kept["translation"], kept["size"]) & (label[:, None] == label)
    single = _greedy_suppression(duplicate)[:max_objects]
    kept, label, score = {name: value[single] for name, value in kept.items()}, label[single], score[order][single]
    symmetric = np.array([categories[index].symmetric for index in label], bool)
    spread = pose_covariance(_without_yaw(kept, symmetric))
    return [
        ObjectPose(
            categories[index].name,
            float(score[row]),
            kept["rotation"][row],
            kept["translation"][row],
            kept["size"][row],
            spread[row],
            category_info=categories[index],
        )
        for row, index in enumerate(label)
    ]


def _without_yaw(kept: Mapping[str, np.ndarray], symmetric: np.ndarray) -> dict[str, np.ndarray]:
    """The yaw of a symmetric object is a convention, not a measurement: its variance is that of a uniform angle."""
    changed = {**kept, "log_scale": kept["log_scale"].copy()}
    changed["log_scale"][symmetric, 4] = _UNIFORM_YAW_LOG_SCALE
    if "mode_logits" in kept:  # modes differ in yaw, which is counted already
        distance = np.abs(kept["modes"] - kept["rotation"][:, None]).sum((-1, -2))
        others = np.arange(distance.shape[1]) != distance.argmin(-1)[:, None]
        changed["mode_logits"] = np.where(symmetric[:, None] & others, -1e4, kept["mode_logits"])
    return changed


def _same_object(position: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(N, N) bool: whether detections i and j may be one object; positions and sizes (N, 3), metres, camera frame."""
    sight = position / np.linalg.norm(position, axis=-1, keepdims=True)
    offset = position[:, None] - position
    along = (offset * sight).sum(-1)
    across = np.linalg.norm(offset - along[..., None] * sight[:, None], axis=-1)
    diagonal = np.linalg.norm(size, axis=-1)
    return (across < _DUPLICATE_ACROSS * diagonal) & (np.abs(along) < _DUPLICATE_ALONG * diagonal)


def _greedy_suppression(duplicate: np.ndarray) -> np.ndarray:
    """Indices of the detections that are no duplicate of a better one that is kept.

    :param duplicate: (N, N) bool, in descending order of score: whether detections i and j may be one object.
    """
    kept: list[int] = []
    for index in range(len(duplicate)):
        if not duplicate[index, kept].any():
            kept.append(index)
    return np.array(kept, dtype=int)


def pose_covariance(objects: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, 6, 6) covariance of x, y, z (m²) and of rotations about the camera's fixed axes (rad²).

    The variance of an error is 2b², for a scale b trained by either likelihood. The Jacobian of
    (x, y, z) = z·(x/z, y/z, 1) converts slopes and log depth to metres; rotation errors are rotated from the object's
    axes to the camera's. With several rotation modes, the second moment of the modes about the reported one, weighted
    by their probabilities, is added to the variance within a mode.

    :param objects: ``log_scale``, ``translation``, ``rotation``, and optionally ``modes`` and ``mode_logits``, as in
        :class:`~seqpose_core.model.pose_head.ObjectPrediction` without batch axis.
    """
    variance = 2 * np.exp(2 * objects["log_scale"])
    t, rotation = objects["translation"], objects["rotation"]
    jacobian = t[:, 2, None, None] * np.eye(3)
    jacobian[:, :, 2] = t
    out = np.zeros((len(t), 6, 6))
    out[:, :3, :3] = (jacobian * variance[:, None, :3]) @ jacobian.swapaxes(-1, -2)
    about_axes = variance[:, 3:, None] * np.eye(3)
    if "modes" in objects:
        difference = rotation_vector(rotation[:, None].swapaxes(-1, -2) @ objects["modes"])
        logits = objects["mode_logits"]
        weight = np.exp(logits - logits.max(-1, keepdims=True))
        weight /= weight.sum(-1, keepdims=True)
        about_axes = about_axes + (weight[..., None] * difference).swapaxes(-1, -2) @ difference
    out[:, 3:, 3:] = rotation @ about_axes @ rotation.swapaxes(-1, -2)
    return (out + out.swapaxes(-1, -2)) / 2  # exactly symmetric: consumers check it
