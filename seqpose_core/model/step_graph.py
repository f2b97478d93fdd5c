# SPDX-License-Identifier: Apache-2.0
"""StepGraph: one step of the network as a function of plain tensors, which all runtimes run or export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.folding import fold_projections
from seqpose_core.model.memory import FrameMotion, QueryMemory, RelativeMotion, TopQueries, relative_motion, view_slots
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.projection import Pinhole
from seqpose_core.model.seqpose import SeqPose


class StepInput(NamedTuple):
    """The arguments of a step for B streams and S memory slots. Poses and stamps stay in float64 outside.

    :param image: (B, H, W, 3) uint8 RGB, of the network's size.
    :param intrinsics: (B, 3, 3) float32, pixels of this image.
    :param motion, elapsed, known: (B, S, 3, 4) and (B, S) float32, (B, S) bool, as in
        :class:`~seqpose_core.model.memory.RelativeMotion`.
    :param embedding, reference, valid: (B, S, C) and (B, S, 3) float32, (B, S) bool, the memory, newest frame first.
    """

    image: Tensor
    intrinsics: Tensor
    motion: Tensor
    elapsed: Tensor
    known: Tensor
    embedding: Tensor
    reference: Tensor
    valid: Tensor

    @classmethod
    def of_frame(cls, image: Tensor, intrinsics: Tensor, memory: QueryMemory, frame: FrameMotion) -> StepInput:
        """The arguments for a frame that follows those in ``memory``."""
        relative = relative_motion(memory, frame)
        motion = (relative.motion, relative.elapsed, relative.known)
        return cls(image, intrinsics, *motion, memory.embedding, memory.reference, memory.valid)


class StepGraph(nn.Module):
    """One step: from image, intrinsics and memory to predicted objects and the new queries of the memory.

    All results are finite; in evaluation all types are float32, int64, uint8 and bool.
    """

    def __init__(self, model: SeqPose) -> None:
        super().__init__()
        self.model = fold_projections(model)

    def forward(
        self,
        image: Tensor,
        intrinsics: Tensor,
        motion: Tensor,
        elapsed: Tensor,
        known: Tensor,
        embedding: Tensor,
        reference: Tensor,
        valid: Tensor,
    ) -> tuple[Tensor, ...]:
        """Arguments as in :class:`StepInput`; results in the order of :func:`output_names`."""
        model = self.model
        features = model.encode(image.permute(0, 3, 1, 2).float() / 255.0, intrinsics, dense=False)
        past = view_slots(embedding, reference, valid, RelativeMotion(motion, elapsed, known))
        prediction, newest = model.decode_queries(
            features, Pinhole(intrinsics, model.image_size), past, auxiliary=False
        )
        objects = [value.float() for value in vars(prediction.objects).values() if value is not None]
        return (*objects, newest.embedding, newest.reference, newest.valid)


def object_names(config: SeqPoseConfig) -> tuple[str, ...]:
    """Names of the fields of ObjectPrediction that a step returns."""
    names = ["logits", "translation", "rotation", "size", "log_scale"]
    if config.head.per_category:
        names += ["rotations", "sizes"]
    if config.head.rotation_modes > 1:
        names += ["modes", "mode_logits"]
    return tuple(names)


def output_names(config: SeqPoseConfig) -> tuple[str, ...]:
    """Names of a step's results: :func:`object_names`, then the K new queries of the memory."""
    return (*object_names(config), "new_embedding", "new_reference", "new_valid")


def split_outputs(config: SeqPoseConfig, outputs: Sequence[Tensor]) -> tuple[ObjectPrediction, TopQueries]:
    """The objects and the memory's new queries from a step's results."""
    objects = dict(zip(object_names(config), outputs[:-3], strict=True))
    return ObjectPrediction(**objects), TopQueries(*outputs[-3:])


def empty_memory(config: SeqPoseConfig, batch: int = 1, device: torch.device | str = "cpu") -> QueryMemory:
    """The memory at the start of ``batch`` streams: all slots are invalid."""
    return QueryMemory.empty(batch, config.memory.frames * config.memory.top_k, config.decoder.width, device)
