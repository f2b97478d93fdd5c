# SPDX-License-Identifier: Apache-2.0
"""Proposals: peaks of the centre heat map, lifted to 3D by the predicted depth of the centre."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqpose_core.model.dense_heads import CentrePrediction
from seqpose_core.model.projection import FAR, NEAR, Pinhole


@dataclass(frozen=True)
class Proposals:
    """The P highest peaks of each sample, in descending order. They carry no gradient.

    :param cell: (B, P) int64, row-major index of the peak in the map z_0.
    :param category: (B, P) int64, 0..5, the category with the highest heat in that cell.
    :param reference: (B, P, 3) centre in the camera frame, metres.
    """

    cell: Tensor
    category: Tensor
    reference: Tensor


def select_proposals(centre: CentrePrediction, count: int, pinhole: Pinhole, canonical_focal: float) -> Proposals:
    """The ``count`` highest peaks of the heat map, no more than it has cells."""
    rows, columns = centre.heat.shape[2:]
    # Peaks of the maximum over categories: otherwise six proposals in one cell would displace those of other objects.
    heat, category = centre.heat.detach().max(1)
    peaks = heat.masked_fill(F.max_pool2d(heat, 3, stride=1, padding=1) > heat, -1e4)
    cell = peaks.flatten(1).topk(count, dim=1).indices
    offset = gather_queries(centre.offset.detach().flatten(2).transpose(1, 2), cell)
    cells = torch.stack([cell % columns, cell.div(columns, rounding_mode="floor")], dim=-1)
    stride = pinhole.image_size / pinhole.image_size.new_tensor([columns, rows])
    pixels = (cells + 0.5 + offset) * stride - 0.5
    log_depth = centre.log_depth.detach().flatten(1).gather(1, cell)
    focal = pinhole.mean_focal[:, None] / canonical_focal
    depth = (log_depth.float().clamp(-4.0, 4.0).exp() * focal).clamp(NEAR, FAR)
    return Proposals(cell, category.flatten(1).gather(1, cell), pinhole.unproject(pixels, depth))


def gather_queries(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (B, K) of x (B, Q, C): (B, K, C)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
