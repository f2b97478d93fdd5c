# SPDX-License-Identifier: Apache-2.0
"""The network is a pure function of float32 tensors and masks that torch.export can trace."""

from __future__ import annotations

import torch
from tiny import camera_poses, frames, tiny_model
from torch import Tensor, nn

from seqpose_core import SeqPose
from seqpose_core.model.memory import FrameMotion, MemoryView, view_from
from seqpose_core.model.projection import Pinhole


class Step(nn.Module):
    """Encoder and query network with tensors as arguments and results."""

    def __init__(self, model: SeqPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, intrinsics: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        features = self.model.encode(images, intrinsics, dense=False)
        pinhole = Pinhole(intrinsics, self.model.image_size)
        prediction, newest = self.model.decode_queries(features, pinhole, MemoryView(*past))
        return (*list(vars(prediction.objects).values())[:5], newest.embedding, newest.reference, newest.valid)


@torch.no_grad()
def test_exported_step_equals_the_model_and_contains_no_float64() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    _, memory = model(images, intrinsics, None, camera_poses(1), torch.zeros(1, dtype=torch.float64))
    poses, stamp = camera_poses(1, seed=5), torch.full((1,), 0.1, dtype=torch.float64)
    images, intrinsics = frames(1, seed=1)
    view = view_from(memory, FrameMotion.from_optional(poses, stamp, memory))
    arguments = (images, intrinsics, view.embedding, view.reference, view.motion, view.valid)
    program = torch.export.export(Step(model), arguments, strict=False)

    expected, _ = model(images, intrinsics, memory, poses, stamp)
    logits, translation, rotation, *_ = program.module()(*arguments)
    torch.testing.assert_close(logits, expected.objects.logits)
    torch.testing.assert_close(translation, expected.objects.translation)
    torch.testing.assert_close(rotation, expected.objects.rotation)
    values = [node.meta.get("val") for node in program.graph.nodes]
    types = {value.dtype for value in values if isinstance(value, Tensor)}
    assert types == {torch.float32, torch.int64, torch.bool}
