# SPDX-License-Identifier: Apache-2.0
"""Losses of the dense maps (Eq. 10, terms 5 to 7) and of the centre head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from seqpose_core.losses.normalise import Normaliser, at_least_one
from seqpose_core.losses.targets import Targets
from seqpose_core.model.dense_heads import CentrePrediction, DensePrediction
from seqpose_core.model.projection import NEAR, Pinhole


def dense_losses(
    prediction: DensePrediction,
    targets: Targets,
    pinhole: Pinhole,
    canonical_focal: float,
    normalise: Normaliser = at_least_one,
) -> dict[str, Tensor]:
    """Cross-entropy for segmentation, smooth L1 for canonical log depth, normals and NOCS.

    Targets of another resolution are resampled to that of the prediction.
    """
    losses: dict[str, Tensor] = {}
    if prediction.segmentation is not None:
        labels = _resample(targets.segmentation, prediction.segmentation)
        losses["segmentation"] = F.cross_entropy(prediction.segmentation, labels.long())
    if prediction.log_depth is not None:
        depth = _resample(targets.depth, prediction.log_depth)
        scale = (pinhole.mean_focal / canonical_focal)[:, None, None]
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
    pinhole: Pinhole,
    canonical_focal: float,
    normalise: Normaliser = at_least_one,
) -> dict[str, Tensor]:
    """Penalty-reduced focal loss of the heat maps (CenterNet), L1 of log depth and offset in the centres' cells."""
    logits = prediction.heat
    rows, columns = logits.shape[2:]
    stride = pinhole.image_size / pinhole.image_size.new_tensor([columns, rows])
    cells = (pinhole.project(targets.translation) + 0.5) / stride - 0.5  # (B, M, 2): cell centres at integers
    # An object that the border cuts may have its centre outside the image: its peak is in the nearest cell.
    nearest = torch.minimum(cells.round().clamp_min(0), cells.new_tensor([columns - 1, rows - 1]))
    present = targets.present
    radius = targets.size.norm(dim=-1) / 2 * pinhole.mean_focal[:, None] / targets.translation[..., 2].clamp_min(NEAR)
    sigma = (radius / stride.mean() / 3).clamp(0.4, 3.0)
    peaks = _gaussians(nearest, sigma, rows, columns) * present[..., None, None]
    one_hot = F.one_hot(targets.classes.clamp_min(0), logits.shape[1]).to(peaks.dtype)  # (B, M, C)
    heat = (peaks[:, :, None] * one_hot[..., None, None]).amax(1)

    probability = logits.sigmoid()
    positive = heat == 1
    loss = torch.where(
        positive,
        (1 - probability) ** 2 * F.softplus(-logits),
        (1 - heat) ** 4 * probability**2 * F.softplus(logits),
    )
    count = normalise(present.sum())
    # Computed for all M and masked: selecting those present would make a GPU wait for their number.
    sample = torch.arange(len(cells), device=cells.device)[:, None]
    x, y = torch.where(present[..., None], nearest, torch.zeros_like(nearest)).long().unbind(-1)
    z = targets.translation[..., 2].clamp_min(NEAR)
    scale = (pinhole.mean_focal / canonical_focal)[:, None]
    depth_error = prediction.log_depth[sample, y, x] - (z / scale).log()
    offset_error = prediction.offset[sample, :, y, x] - (cells - nearest)
    errors = depth_error.abs() + offset_error.abs().sum(-1)
    return {"heat": loss.sum() / count, "centre": torch.where(present, errors, 0.0).sum() / count}


def _gaussians(centre: Tensor, sigma: Tensor, rows: int, columns: int) -> Tensor:
    """Gaussians (B, M, rows, columns) of ``sigma`` (B, M) cells, exactly 1 in the cells ``centre`` (B, M, 2)."""
    y = torch.arange(rows, device=centre.device)[:, None] - centre[..., 1, None, None]
    x = torch.arange(columns, device=centre.device)[None, :] - centre[..., 0, None, None]
    return (-(x**2 + y**2) / (2 * sigma[..., None, None] ** 2)).exp()


def _resample(labels: Tensor, like: Tensor) -> Tensor:
    """Maps (B, h, w) or (B, C, h, w) at the nearest pixels of the grid of ``like`` (..., H, W)."""
    if labels.shape[-2:] == like.shape[-2:]:
        return labels
    shaped = labels if labels.dim() == 4 else labels[:, None]
    out = F.interpolate(shaped.float(), like.shape[-2:], mode="nearest-exact")
    return out if labels.dim() == 4 else out[:, 0]


def _smooth_l1(error: Tensor, beta: float = 0.05) -> Tensor:
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=beta)


def _masked_mean(values: Tensor, mask: Tensor, normalise: Normaliser) -> Tensor:
    """Sum of ``values`` where ``mask`` (same shape) is true, divided by the normalised number of these."""
    return (values * mask).sum() / normalise(mask.sum())
