# SPDX-License-Identifier: Apache-2.0
"""Losses of the dense maps (Eq. 10, terms 5 to 7) and of the centre head that proposes queries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from seqpose_core.losses.normalise import Normaliser, at_least_one
from seqpose_core.losses.targets import Targets
from seqpose_core.model.dense_heads import CentrePrediction, DensePrediction
from seqpose_core.model.projection import NEAR, mean_focal, project


def dense_losses(
    prediction: DensePrediction,
    targets: Targets,
    intrinsics: Tensor,
    canonical_focal: float,
    normalise: Normaliser = at_least_one,
) -> dict[str, Tensor]:
    """Cross-entropy for segmentation, smooth L1 for canonical log depth, normals and NOCS.

    Labels of another resolution than the prediction are sampled at the prediction's pixels.
    """
    losses: dict[str, Tensor] = {}
    if prediction.segmentation is not None:
        labels = _resample(targets.segmentation, prediction.segmentation)
        losses["segmentation"] = F.cross_entropy(prediction.segmentation, labels.long())
    if prediction.log_depth is not None:
        depth = _resample(targets.depth, prediction.log_depth)
        scale = (mean_focal(intrinsics) / canonical_focal)[:, None, None]
        error = prediction.log_depth - (depth.clamp_min(NEAR) / scale).log()
        losses["depth"] = _masked_mean(_smooth_l1(error), depth > NEAR, normalise)
    if prediction.normals is not None:
        normals = _resample(targets.normals, prediction.normals)
        known = normals.square().sum(1) > 0.5
        losses["normals"] = _masked_mean(_smooth_l1(prediction.normals - normals).sum(1), known, normalise)
    if prediction.nocs is not None:
        nocs = _resample(targets.nocs, prediction.nocs)
        on_object = _resample(targets.segmentation, prediction.nocs) > 0
        losses["nocs"] = _masked_mean(_smooth_l1(prediction.nocs - nocs).sum(1), on_object, normalise)
    return losses


def centre_losses(
    prediction: CentrePrediction,
    targets: Targets,
    intrinsics: Tensor,
    image_size: Tensor,
    canonical_focal: float,
    normalise: Normaliser = at_least_one,
) -> dict[str, Tensor]:
    """Penalty-reduced focal loss of the heat maps (CenterNet), L1 of depth and offset at the centres' cells."""
    rows, columns = prediction.heat.shape[2:]
    stride = image_size / image_size.new_tensor([columns, rows])
    cells = (project(targets.translation, intrinsics) + 0.5) / stride - 0.5  # (B, M, 2): cell centres at integers
    nearest = cells.round()
    inside = (nearest >= 0).all(-1) & (nearest < nearest.new_tensor([columns, rows])).all(-1)
    inside = inside & targets.present
    heat = _gaussians(cells, targets, inside, intrinsics, stride, rows, columns)

    logits = prediction.heat
    probability = logits.sigmoid()
    positive = heat == 1
    loss = torch.where(
        positive,
        (1 - probability) ** 2 * F.softplus(-logits),
        (1 - heat) ** 4 * probability**2 * F.softplus(logits),
    )
    count = normalise(inside.sum())
    # Read at every place and masked: to pick out those inside, an accelerator would have to wait for their number.
    sample = torch.arange(len(cells), device=cells.device)[:, None]
    x, y = torch.where(inside[..., None], nearest, torch.zeros_like(nearest)).long().unbind(-1)
    z = targets.translation[..., 2].clamp_min(NEAR)
    scale = (mean_focal(intrinsics) / canonical_focal)[:, None]
    depth_error = prediction.log_depth[sample, y, x] - (z / scale).log()
    offset_error = prediction.offset[sample, :, y, x] - (cells - nearest)
    errors = depth_error.abs() + offset_error.abs().sum(-1)
    return {"heat": loss.sum() / count, "centre": torch.where(inside, errors, 0.0).sum() / count}


def _gaussians(
    cells: Tensor, targets: Targets, inside: Tensor, intrinsics: Tensor, stride: Tensor, rows: int, columns: int
) -> Tensor:
    """Heat targets (B, 6, rows, columns): a bump a object, exactly 1 in the cell of its centre."""
    depth = targets.translation[..., 2].clamp_min(NEAR)
    radius = targets.size.norm(dim=-1) / 2 * mean_focal(intrinsics)[:, None] / depth
    sigma = (radius / stride.mean() / 3).clamp(0.4, 3.0)[..., None, None]
    nearest = cells.round()
    y = torch.arange(rows, device=cells.device)[:, None] - nearest[..., 1, None, None]
    x = torch.arange(columns, device=cells.device)[None, :] - nearest[..., 0, None, None]
    bumps = (-(x**2 + y**2) / (2 * sigma**2)).exp() * inside[..., None, None]
    one_hot = F.one_hot(targets.classes.clamp_min(0), 6).to(bumps.dtype)  # (B, M, 6)
    return (bumps[:, :, None] * one_hot[..., None, None]).amax(1)


def _resample(labels: Tensor, like: Tensor) -> Tensor:
    if labels.shape[-2:] == like.shape[-2:]:
        return labels
    shaped = labels if labels.dim() == 4 else labels[:, None]
    out = F.interpolate(shaped.float(), like.shape[-2:], mode="nearest-exact")
    return out if labels.dim() == 4 else out[:, 0]


def _smooth_l1(error: Tensor, beta: float = 0.05) -> Tensor:
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=beta)


def _masked_mean(values: Tensor, mask: Tensor, normalise: Normaliser) -> Tensor:
    return (values * mask).sum() / normalise(mask.sum())
