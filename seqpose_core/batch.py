# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one step of the network: images of different streams are the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqpose_core.camera import Camera
from seqpose_core.estimator import NonFiniteError, PoseEstimator
from seqpose_core.objects import ObjectPose
from seqpose_core.runtime.engine import StepArrays
from seqpose_core.tracking import check_camera_pose


@dataclass(frozen=True)
class StreamFrame:
    """The next frame of one stream; arguments as in :meth:`seqpose_core.PoseEstimator.step`."""

    image: np.ndarray
    camera: Camera
    stamp: float | None = None
    camera_pose: np.ndarray | None = None


def step_together(estimators: Sequence[PoseEstimator], frames: Sequence[StreamFrame]) -> list[list[ObjectPose]]:
    """One step of several streams, each with its own memory and tracks, in one batch.

    The result is that of a step of each estimator. It is faster than single steps where a batch is, mostly on GPUs.

    :param estimators: of one engine: of the same checkpoint with the same runtime.
    :return: the objects of each stream.
    :raises ValueError: as :meth:`~seqpose_core.PoseEstimator.step`, if the numbers differ, or an estimator has another
        engine or occurs twice. No stream has then been changed.
    :raises NonFiniteError: if the network returned NaN or infinity for a stream, which was reset; the others have
        processed their frames.
    """
    if len(estimators) != len(frames) or not estimators:
        raise ValueError(f"there are {len(estimators)} estimators and {len(frames)} frames; give one frame to each")
    if len({id(estimator) for estimator in estimators}) < len(estimators):
        raise ValueError("an estimator occurs twice; each stream needs its own")
    engine = estimators[0].engine
    if any(estimator.engine is not engine for estimator in estimators):
        raise ValueError("the estimators have different engines; load them from one checkpoint with the same options")
    for f in frames:
        check_camera_pose(f.camera_pose)
    images = [estimator.fit(f.image, f.camera) for estimator, f in zip(estimators, frames, strict=True)]
    inputs = [
        estimator.prepare(*fitted, f.stamp, f.camera_pose)
        for estimator, fitted, f in zip(estimators, images, frames, strict=True)
    ]
    outputs = engine(StepArrays(*(np.concatenate(arrays) for arrays in zip(*inputs, strict=True))))
    objects: list[list[ObjectPose]] = []
    fault = None
    for index, (estimator, f) in enumerate(zip(estimators, frames, strict=True)):
        row = {name: array[index] for name, array in outputs.items()}
        try:
            selected = estimator.select(row, f.stamp, f.camera_pose)
            objects.append(estimator.track(selected, f.stamp, f.camera_pose))
        except NonFiniteError as error:
            fault = error
    if fault is not None:
        raise fault
    return objects
