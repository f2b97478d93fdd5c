# SPDX-License-Identifier: Apache-2.0
"""Bipartite matching of queries to targets (Hungarian algorithm, scipy)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from seqpose_core.losses.targets import Targets
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.projection import NEAR, project


@dataclass(frozen=True)
class MatchingWeights:
    """Weights of the terms of the matching cost."""

    classification: float = 2.0
    centre: float = 5.0
    log_depth: float = 2.0
    position: float = 0.0
    log_size: float = 0.5


@dataclass(frozen=True)
class Matches:
    """Matched pairs of one batch: sample, query and target index, each (P,)."""

    sample: Tensor
    query: Tensor
    target: Tensor


@torch.no_grad()
def match(
    prediction: ObjectPrediction,
    valid: Tensor,
    targets: Targets,
    intrinsics: Tensor,
    image_size: Tensor,
    weights: MatchingWeights,
) -> Matches:
    """Assign to every target the query that suits it best, one to one, sample by sample.

    :param valid: (B, Q) bool, queries that exist; the others are never matched.
    :param intrinsics: (B, 3, 3); :param image_size: (2,) width and height, pixels.
    :raises ValueError: if a sample has more targets than queries.
    """
    cost = matching_cost(prediction, targets, intrinsics, image_size, weights)
    costs = cost.masked_fill(~valid[:, :, None], 1e6).nan_to_num(1e6, 1e6, 1e6).cpu().numpy()
    pairs: list[tuple[int, int, int]] = []
    for sample, present in enumerate(targets.present.cpu().numpy()):
        columns = present.nonzero()[0]
        if len(columns) > int(valid[sample].sum()):
            raise ValueError(
                f"sample {sample} has {len(columns)} objects but the model only {int(valid[sample].sum())} queries; "
                "raise queries.anchors or queries.proposals"
            )
        rows, chosen = linear_sum_assignment(costs[sample][:, columns])
        pairs.extend((sample, int(q), int(columns[c])) for q, c in zip(rows, chosen, strict=True))
    index = torch.tensor(pairs, dtype=torch.long, device=valid.device).reshape(-1, 3)
    return Matches(*index.unbind(1))


def matching_cost(
    prediction: ObjectPrediction, targets: Targets, intrinsics: Tensor, image_size: Tensor, weights: MatchingWeights
) -> Tensor:
    """Cost (B, Q, M) of giving query q to target m; entries of absent targets mean nothing."""
    classes = targets.classes.clamp_min(0)
    probability = prediction.logits.sigmoid()
    # Focal cost: how much the focal loss of this class entry falls when the query becomes a positive.
    positive = 0.25 * (1 - probability) ** 2 * -(probability + 1e-8).log()
    negative = 0.75 * probability**2 * -(1 - probability + 1e-8).log()
    cost = weights.classification * (positive - negative).gather(
        2, classes[:, None].expand(-1, probability.shape[1], -1)
    )
    centre = (project(prediction.translation, intrinsics) / image_size)[:, :, None]
    target_centre = (project(targets.translation, intrinsics) / image_size)[:, None]
    cost = cost + weights.centre * (centre - target_centre).abs().sum(-1)
    log_z = prediction.translation[..., 2].clamp_min(NEAR).log()[:, :, None]
    cost = cost + weights.log_depth * (log_z - targets.translation[..., 2].clamp_min(NEAR).log()[:, None]).abs()
    if weights.position:
        apart = (prediction.translation[:, :, None] - targets.translation[:, None]).abs().sum(-1)
        cost = cost + weights.position * apart
    log_size = prediction.size.log()[:, :, None] - targets.size.clamp_min(1e-3).log()[:, None]
    return cost + weights.log_size * log_size.abs().sum(-1)
