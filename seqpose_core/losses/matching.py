# SPDX-License-Identifier: Apache-2.0
"""Bipartite matching of queries to targets (Hungarian algorithm, scipy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from seqpose_core.losses.symmetry import CANONICAL, PoseDistance
from seqpose_core.losses.targets import Targets
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.projection import NEAR, Pinhole


@dataclass(frozen=True)
class MatchingWeights:
    """Weights of the terms of the matching cost; a weight of 0 leaves a term out.

    :param centre, log_depth: L1 of the projected centre (in image widths and heights) and of log z.
    :param position, size: L1 in metres. :param log_size: L1 of the logarithm of the extents.
    :param rotation: as in the loss; of the nearest mode if there are several.
    """

    classification: float = 2.0
    centre: float = 5.0
    log_depth: float = 2.0
    position: float = 0.0
    rotation: float = 0.0
    log_size: float = 0.5
    size: float = 0.0


@dataclass(frozen=True)
class Matches:
    """Matched pairs of a batch: row of the prediction, query and target index, each (P,) int64."""

    sample: Tensor
    query: Tensor
    target: Tensor


@torch.no_grad()
def match(
    prediction: ObjectPrediction,
    valid: Tensor,
    targets: Targets,
    pinhole: Pinhole,
    weights: MatchingWeights,
    distance: PoseDistance = CANONICAL,
) -> Matches:
    """Assign queries to targets of each sample, one to one, at the lowest total cost.

    :param prediction: of B samples, or of L layers of them one after the other (L·B rows). Each layer is matched
        separately; all have the same number of matches, in the order of the rows.
    :param valid: (B, Q) bool; invalid queries are never matched. If a sample has fewer valid queries than targets, the
        remaining targets are not matched: the image has no further peaks.
    :param targets, pinhole: of the B samples.
    :param distance: how rotations and sizes are compared.
    :raises ValueError: if a sample has more targets than queries, valid or not.
    """
    layers = len(prediction.logits) // len(valid)
    targets, pinhole, valid = targets.repeat_objects(layers), pinhole.repeat(layers), valid.repeat(layers, 1)
    costs = matching_cost(prediction, targets, pinhole, weights, distance).nan_to_num(1e6, 1e6, 1e6)
    # Both masks are part of the same transfer: padding of the targets as NaN, valid queries as the last column.
    costs = costs.masked_fill(~targets.present[:, None], torch.nan)
    table = torch.cat([costs, valid[..., None].to(costs.dtype)], dim=-1).cpu().numpy()
    present, usable = ~np.isnan(table[:, 0, :-1]), table[..., -1] > 0
    counts, queries = present.sum(1), usable.shape[1]
    for sample in np.flatnonzero(counts > queries)[:1]:
        raise ValueError(
            f"sample {sample} has {counts[sample]} objects but the model has only {queries} queries; "
            "raise queries.anchors or queries.proposals"
        )
    samples: list[int] = []
    query: list[np.ndarray] = []
    target: list[np.ndarray] = []
    for sample, cost in enumerate(table):
        rows, columns = np.flatnonzero(usable[sample]), np.flatnonzero(present[sample])
        i, j = linear_sum_assignment(cost[np.ix_(rows, columns)])
        samples += [sample] * len(i)
        query.append(rows[i])
        target.append(columns[j])
    index = np.stack([np.array(samples, np.int64), np.concatenate(query), np.concatenate(target)])
    return Matches(*torch.from_numpy(index).to(valid.device).unbind(0))


def matching_cost(
    prediction: ObjectPrediction,
    targets: Targets,
    pinhole: Pinhole,
    weights: MatchingWeights,
    distance: PoseDistance = CANONICAL,
) -> Tensor:
    """Cost (B, Q, M) of assigning query q to target m; entries of padding have no meaning."""
    classes = targets.classes.clamp_min(0)
    probability = prediction.logits.sigmoid()
    # Focal cost: the decrease of the focal loss of this class entry if the query becomes a positive.
    positive = 0.25 * (1 - probability) ** 2 * -(probability + 1e-8).log()
    negative = 0.75 * probability**2 * -(1 - probability + 1e-8).log()
    cost = weights.classification * (positive - negative).gather(
        2, classes[:, None].expand(-1, probability.shape[1], -1)
    )
    if weights.centre:
        centre = (pinhole.project(prediction.translation) / pinhole.image_size)[:, :, None]
        target_centre = (pinhole.project(targets.translation) / pinhole.image_size)[:, None]
        cost = cost + weights.centre * (centre - target_centre).abs().sum(-1)
    if weights.log_depth:
        log_z = prediction.translation[..., 2].clamp_min(NEAR).log()[:, :, None]
        true_log_z = targets.translation[..., 2].clamp_min(NEAR).log()[:, None]
        cost = cost + weights.log_depth * (log_z - true_log_z).abs()
    if weights.position:
        position = (prediction.translation[:, :, None] - targets.translation[:, None]).abs().sum(-1)
        cost = cost + weights.position * position
    symmetric = targets.symmetric[:, None]
    rotation, size = _poses_for_targets(prediction, classes)
    true_size = targets.size[:, None]
    if weights.rotation and prediction.modes is not None:
        distances = distance.of_rotations(
            prediction.modes[:, :, None], targets.rotation[:, None, :, None], symmetric[..., None]
        )
        cost = cost + weights.rotation * distances.amin(-1)
    elif weights.rotation:
        cost = cost + weights.rotation * distance.of_rotations(rotation, targets.rotation[:, None], symmetric)
    if weights.log_size:
        log_size = distance.of_extents(size.log(), true_size.clamp_min(1e-3).log(), symmetric)
        cost = cost + weights.log_size * log_size
    if weights.size:
        cost = cost + weights.size * distance.of_extents(size, true_size, symmetric)
    return cost


def _poses_for_targets(prediction: ObjectPrediction, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (B, Q, M or 1, 3, 3) and sizes (B, Q, M or 1, 3) of query q for target m's class."""
    if prediction.rotations is None or prediction.sizes is None:
        return prediction.rotation[:, :, None], prediction.size[:, :, None]
    batch = torch.arange(len(classes), device=classes.device)[:, None]
    return (
        prediction.rotations[batch, :, classes].transpose(1, 2),
        prediction.sizes[batch, :, classes].transpose(1, 2),
    )
