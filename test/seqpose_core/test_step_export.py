# SPDX-License-Identifier: Apache-2.0
"""StepGraph is a pure function of plain tensors that torch.export can trace, and gives the results of the model."""

from __future__ import annotations

from dataclasses import replace

import roma
import torch
from tiny import camera_poses, frames, step_input, tiny_model
from torch import Tensor

from seqpose_core import QueryMemory, SeqPose
from seqpose_core.model.memory import FrameMotion
from seqpose_core.model.projection import rotation_from_columns
from seqpose_core.model.step_graph import StepGraph, StepInput, output_names


def second_frame() -> tuple[SeqPose, Tensor, QueryMemory, FrameMotion, StepInput]:
    """A model, an image, the memory after another one, its motion, and the same as arguments of StepGraph."""
    model = tiny_model()
    images, intrinsics = frames(1)
    _, memory = model(images, intrinsics, None, camera_poses(1), torch.zeros(1, dtype=torch.float64))
    frame = FrameMotion.from_optional(camera_poses(1, seed=5), torch.full((1,), 0.1, dtype=torch.float64), memory)
    images, intrinsics = frames(1, seed=1)
    pixels = (255 * images).round()
    return model, pixels / 255, memory, frame, step_input(pixels, intrinsics, memory, frame)


@torch.no_grad()
def test_exported_step_equals_the_model_and_contains_no_float64() -> None:
    model, images, memory, frame, step = second_frame()
    program = torch.export.export(StepGraph(model), tuple(step), strict=False)

    expected, pushed = model(images, step.intrinsics, memory, frame.camera_pose, frame.stamp)
    actual = dict(zip(output_names(model.config), program.module()(*step), strict=True))
    for name in ("logits", "translation", "rotation", "size", "log_scale"):
        torch.testing.assert_close(actual[name], getattr(expected.objects, name), msg=name)
    torch.testing.assert_close(actual["new_embedding"], pushed.embedding[:, :4])
    values = [node.meta.get("val") for node in program.graph.nodes]
    types = {value.dtype for value in values if isinstance(value, Tensor)}
    assert types == {torch.uint8, torch.float32, torch.int64, torch.bool}


@torch.no_grad()
def test_nan_in_invalid_slots_does_not_spread() -> None:
    model, images, memory, frame, step = second_frame()
    assert not memory.valid.all()
    embedding = torch.where(memory.valid[..., None], memory.embedding, torch.nan)
    reference = torch.where(memory.valid[..., None], memory.reference, torch.nan)
    other = step_input(
        (255 * images).round(), step.intrinsics, replace(memory, embedding=embedding, reference=reference), frame
    )
    graph = StepGraph(model)
    for name, a, b in zip(output_names(model.config), graph(*step), graph(*other), strict=True):
        assert torch.equal(a, b), name
        assert a.isfinite().all(), name


def test_gram_schmidt_equals_that_of_roma() -> None:
    columns = torch.randn(100, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(rotation_from_columns(*columns.unbind(-1)), roma.special_gramschmidt(columns))
