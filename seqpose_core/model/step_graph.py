# SPDX-License-Identifier: Apache-2.0
"""StepGraph: one step of the network as a function of plain tensors, which all runtimes run or export."""

from __future__ import annotations

from typing import NamedTuple

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
        return (*objects, newest.embedding, newest.reference, newest.valid)


def output_names(config: SeqPoseConfig) -> tuple[str, ...]:
    """Names of a step's results: the fields of ObjectPrediction, then the K new queries of the memory."""
    names = ["logits", "translation", "rotation", "size", "log_scale"]
    if config.head.per_category:
        names += ["rotations", "sizes"]
    if config.head.rotation_modes > 1:
        names += ["modes", "mode_logits"]
    return (*names, "new_embedding", "new_reference", "new_valid")
