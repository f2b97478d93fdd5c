# SPDX-License-Identifier: Apache-2.0
"""What a step returns, and the encoded frames between its two parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from torch import Tensor

from seqpose_core.model.denoising import DenoisingQueries
from seqpose_core.model.dense_heads import CentrePrediction, DensePrediction
from seqpose_core.model.pose_head import ObjectPrediction


@dataclass(frozen=True)
class FrameFeatures:
    """The output of encoder, fusion and dense heads for a batch of images.

    :param fused: z_i (B, C, H_i, W_i), finest first.
    """

    fused: list[Tensor]
    dense: DensePrediction | None
    centre: CentrePrediction | None

    def select(self, samples: slice | Tensor) -> FrameFeatures:
        """The features of some samples of the batch."""

        def pick(part):  # type: ignore[no-untyped-def]
            if part is None:
                return None
            return replace(part, **{k: None if v is None else v[samples] for k, v in vars(part).items()})

        return FrameFeatures([z[samples] for z in self.fused], pick(self.dense), pick(self.centre))


@dataclass(frozen=True)
class Prediction:
    """The result of one step.

    :param objects: of the last layer.
    :param layers: of every layer, first to last, or of the last only; the last one is ``objects``.
    :param layer_valid: of each of ``layers``, (B, Q) bool: false for a proposal that is no peak, and for a query
        propagated from an invalid memory slot. An invalid query has score 0 and affects nothing else.
    :param denoised: of every layer, the predictions of the D denoising queries; empty without them.
    :param denoising: the denoising queries, or None.
    """

    objects: ObjectPrediction
    layers: tuple[ObjectPrediction, ...]
    layer_valid: tuple[Tensor, ...]
    dense: DensePrediction | None
    centre: CentrePrediction | None
    denoised: tuple[ObjectPrediction, ...] = ()
    denoising: DenoisingQueries | None = None

    @property
    def valid(self) -> Tensor:
        """Which of ``objects`` are valid, (B, Q) bool."""
        return self.layer_valid[-1]

    def layer_groups(self) -> list[tuple[list[ObjectPrediction], Tensor]]:
        """Consecutive layers with the same queries, and the validity (B, Q) of these."""
        pairs = groupby(zip(self.layers, self.layer_valid, strict=True), key=lambda pair: pair[1].shape[1])
        groups = [list(group) for _, group in pairs]
        return [([layer for layer, _ in group], group[0][1]) for group in groups]


def mask_invalid(objects: ObjectPrediction, valid: Tensor) -> ObjectPrediction:
    """Set the scores of invalid queries to zero; ``valid`` (B, Q) bool."""
    return replace(objects, logits=objects.logits.masked_fill(~valid[..., None], -1e4))
