# SPDX-License-Identifier: Apache-2.0
"""Memories and comparisons for tests of the model."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from tiny import camera_poses, frames

from seqpose_core import QueryMemory, SeqPose
from seqpose_core.model.pose_head import ObjectPrediction

OUTPUTS = ("logits", "translation", "rotation", "size", "log_scale")


def sample_of(memory: QueryMemory, index: int) -> QueryMemory:
    return QueryMemory(*(getattr(memory, f.name)[index : index + 1] for f in fields(memory)))


def assert_close(first: ObjectPrediction, second: ObjectPrediction, tolerance: float = 1e-5) -> None:
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if a is None and b is None:
            continue
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=lambda m, n=field.name: f"{n}: {m}")


def prediction_of(prediction: ObjectPrediction, index: int) -> ObjectPrediction:
    return replace(prediction, **{k: None if v is None else v[index : index + 1] for k, v in vars(prediction).items()})


def filled_memory(model: SeqPose, batch: int, steps: int = 2) -> QueryMemory:
    memory = None
    with torch.no_grad():
        for step in range(steps):
            images, intrinsics = frames(batch, seed=100 + step)
            stamp = torch.full((batch,), 0.1 * step, dtype=torch.float64)
            _, memory = model(images, intrinsics, memory, camera_poses(batch, seed=step), stamp)
    assert memory is not None
    return memory
