# SPDX-License-Identifier: Apache-2.0
"""StepGraph: one step of the network as a function of plain tensors, which all runtimes run or export."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.folding import fold_projections
from seqpose_core.model.memory import RelativeMotion, view_slots
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
        if not model.config.memory.frames:
            return tuple(objects)
        return (*objects, newest.embedding, newest.reference, newest.valid)


class SingleFrameGraph(nn.Module):
    """The step of a model without memory as a function of image and intrinsics, for export.

    OpenVINO ends the process on tensors without elements, so one invalid slot takes the place of the memory. It affects
    no result and adds one invalid query, which scores 0.
    """

    def __init__(self, model: SeqPose) -> None:
        super().__init__()
        with_slot = SeqPose(replace(model.config, memory=replace(model.config.memory, frames=1, top_k=1)))
        with_slot.load_state_dict(model.state_dict())
        self.step = StepGraph(with_slot)
        self.width, self.outputs = model.config.decoder.width, len(output_names(model.config))

    def forward(self, image: Tensor, intrinsics: Tensor) -> tuple[Tensor, ...]:
        """Arguments as in :class:`StepInput`; results in the order of :func:`output_names`."""
        slot = intrinsics.new_zeros(image.shape[0], 1)
        motion = torch.eye(3, 4, device=slot.device).expand(image.shape[0], 1, 3, 4)
        embedding, invalid = slot[..., None].expand(-1, -1, self.width), slot > 0
        reference = slot[..., None].expand(-1, -1, 3)
        return self.step(image, intrinsics, motion, slot, invalid, embedding, reference, invalid)[: self.outputs]


def export_graph(model: SeqPose) -> StepGraph | SingleFrameGraph:
    """The graph that runtimes export, in evaluation mode; its arguments are those of ``input_names``."""
    return (StepGraph(model) if model.config.memory.frames else SingleFrameGraph(model)).eval()


def output_names(config: SeqPoseConfig) -> tuple[str, ...]:
    """Names of a step's results: the fields of ObjectPrediction, then the K new queries if there is a memory."""
    names = ["logits", "translation", "rotation", "size", "log_scale"]
    if config.head.per_category:
        names += ["rotations", "sizes"]
    if config.head.rotation_modes > 1:
        names += ["modes", "mode_logits"]
    if config.memory.frames:
        names += ["new_embedding", "new_reference", "new_valid"]
    return tuple(names)
