# SPDX-License-Identifier: Apache-2.0
"""Camera motion from the poses of static objects, for sets without stored camera poses (REAL)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from train.data.frame import SceneObject
from train.data.labels import is_symmetric

Transform = NDArray[np.float64]

#: Largest distance in metres between a static object's points and their prediction: label noise, not motion.
TOLERANCE = 0.01
#: Number of earlier frames that a frame is connected to, if the previous frame fails.
_MAX_GAP = 5


def camera_trajectory(frames: Sequence[Sequence[SceneObject] | None]) -> list[Transform | None]:
    """world_from_camera (4, 4) of every frame of a clip; the world is the camera frame of some frame.

    Frames are connected by :func:`relative_motion`. Where that fails the clip splits into parts without a common
    world; the poses of all frames outside the largest part are None.

    :param frames: labelled objects of each frame; None if they could not be read.
    """
    part: list[int | None] = []
    poses: list[Transform | None] = []
    for index, objects in enumerate(frames):
        pose, number = np.eye(4), index
        for other in range(index - 1, max(index - _MAX_GAP, 0) - 1, -1):
            before, known, earlier = frames[other], poses[other], part[other]
            if objects is None or before is None or known is None or earlier is None:
                continue
            motion = relative_motion(before, objects)
            if motion is not None:
                pose, number = known @ np.linalg.inv(motion), earlier
                break
        poses.append(None if objects is None else pose)
        part.append(None if objects is None else number)
    sizes = Counter(number for number in part if number is not None)
    largest, size = max(sizes.items(), key=lambda item: item[1], default=(None, 0))
    if size < 2:
        return [None] * len(poses)
    return [pose if number == largest else None for pose, number in zip(poses, part, strict=True)]


def relative_motion(
    before: Sequence[SceneObject], after: Sequence[SceneObject], tolerance: float = TOLERANCE
) -> Transform | None:
    """after_from_before (4, 4) between the camera frames of two frames, from the objects that both show.

    It is the rigid transform that agrees with the most objects (hypotheses from single objects and pairs, then a fit
    to all that agree), so that moved objects do not change it. None if fewer than two objects agree, or not more than
    half of the common objects.
    """
    earlier = {item.instance: item for item in before}
    pairs = [
        (_points(earlier[item.instance]), _points(item))
        for item in after
        if item.instance in earlier and earlier[item.instance].class_id == item.class_id
    ]
    best: list[int] = []
    for chosen in [*combinations(range(len(pairs)), 1), *combinations(range(len(pairs)), 2)]:
        motion = _fit([pairs[index] for index in chosen])
        if motion is None:
            continue
        agreeing = [index for index, pair in enumerate(pairs) if _error(motion, pair) < tolerance]
        if len(agreeing) > len(best):
            best = agreeing
    if len(best) < 2 or 2 * len(best) <= len(pairs):
        return None
    return _fit([pairs[index] for index in best])


def _points(item: SceneObject) -> NDArray[np.float64]:
    """Points (P, 3) fixed to an object: centre and tips of its visible axes, 10 cm long."""
    axes = [1] if is_symmetric(item) else [0, 1, 2]
    return item.translation + np.concatenate([np.zeros((1, 3)), 0.1 * item.rotation[:, axes].T])


def _error(motion: Transform, pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
    source, target = pair
    if source.shape != target.shape:  # a handle is visible in one frame only
        source, target = source[[0, 2 if len(source) == 4 else 1]], target[[0, 2 if len(target) == 4 else 1]]
    return float(np.linalg.norm(source @ motion[:3, :3].T + motion[:3, 3] - target, axis=1).max())


def _fit(pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Transform | None:
    """Least-squares rigid transform (Kabsch 1976) of the points; None if they are nearly collinear."""
    kept = [(source, target) for source, target in pairs if source.shape == target.shape]
    if not kept:
        return None
    source, target = (np.concatenate(points) for points in zip(*kept, strict=True))
    origin, goal = source.mean(0), target.mean(0)
    u, spread, vt = np.linalg.svd((target - goal).T @ (source - origin))
    if spread[1] < 1e-4:  # m²: rotation about the line through the points is undetermined
        return None
    motion = np.eye(4)
    motion[:3, :3] = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    motion[:3, 3] = goal - motion[:3, :3] @ origin
    return motion
