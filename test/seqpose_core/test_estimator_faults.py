# SPDX-License-Identifier: Apache-2.0
"""NaN in the memory or the output of the network is reported, and the next frame starts from an empty memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import HEIGHT, WIDTH, tiny_model

from seqpose_core import Camera, PoseEstimator
from seqpose_core.estimator import NonFiniteError

CAMERA = Camera(100.0, 100.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def make_estimator() -> PoseEstimator:
    return PoseEstimator(tiny_model(), score_threshold=0.0, max_objects=5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_memory_that_is_not_finite_is_reported_and_reset(value: float) -> None:
    estimator = make_estimator()
    estimator.step(image(0), CAMERA, 0.0)
    memory = estimator._memory
    assert memory is not None
    memory.embedding = np.full_like(memory.embedding, value)
    with pytest.raises(NonFiniteError, match="NaN or infinite values; memory and tracks were reset"):
        estimator.step(image(1), CAMERA, 0.1)
    first = make_estimator().step(image(2), CAMERA, 0.2)
    again = estimator.step(image(2), CAMERA, 0.2)
    assert [o.score for o in again] == [o.score for o in first]
    assert first


def test_weights_that_become_nan_never_give_objects() -> None:
    estimator = make_estimator()
    with torch.no_grad():
        next(iter(estimator.model.parameters())).fill_(float("nan"))
    for index in range(2):
        with pytest.raises(NonFiniteError):
            estimator.step(image(index), CAMERA, 0.1 * index)


@pytest.mark.parametrize("pose", [np.full((4, 4), np.nan), np.eye(3)])
def test_a_bad_camera_pose_is_refused_before_the_memory_changes(pose: np.ndarray) -> None:
    estimator = make_estimator()
    with pytest.raises(ValueError, match="it must be finite"):
        estimator.step(image(0), CAMERA, 0.0, pose)
    assert estimator.memory_queries == 0


class ResetByAnotherThread(PoseEstimator):
    """An estimator whose memory another thread resets after it was read once."""

    _reads = 0

    @property
    def _memory(self) -> object:
        self._reads += 1
        return self.__dict__["_memory"] if self._reads == 1 else None


def test_the_memory_can_be_counted_while_another_thread_resets_it() -> None:
    estimator = make_estimator()
    estimator.step(image(0), CAMERA, 0.0)
    expected = estimator.memory_queries
    assert expected > 0
    estimator.__class__ = ResetByAnotherThread
    assert estimator.memory_queries == expected
