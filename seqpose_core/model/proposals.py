# SPDX-License-Identifier: Apache-2.0
"""Proposals: peaks of the centre heat map, lifted to 3D by the predicted depth of the centre."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqpose_core.model.dense_heads import CentrePrediction
from seqpose_core.model.projection import FAR, NEAR, Pinhole
from seqpose_core.model.selection import gather_queries, top_k_indices


@dataclass(frozen=True)
class Proposals:
    """The P highest peaks of each sample, peaks first. They carry no gradient.

    :param cell: (B, P) int64, row-major index of the peak in the map z_0.
    :param category: (B, P) int64, 0..C-1, the category with the highest heat in that cell.
    :param reference: (B, P, 3) centre in the camera frame, metres.
    :param valid: (B, P) bool: false after the last peak of a map with fewer than P.
    """

    cell: Tensor
    category: Tensor
    reference: Tensor
    valid: Tensor


def select_proposals(centre: CentrePrediction, count: int, pinhole: Pinhole, canonical_focal: float) -> Proposals:
    """The ``count`` highest peaks of the heat map, no more than it has cells.

    Of equal peaks the one with the lower cell index is used, so that the result depends neither on the batch nor on
    the runtime.
    """
    rows, columns = centre.heat.shape[2:]
    # Peaks of the maximum over categories: proposals of several categories in one cell would displace other objects.
    heat, category = centre.heat.detach().max(1)
    peak = find_peaks(heat).flatten(1)
    cell = top_k_indices(heat.flatten(1).masked_fill(~peak, -1e4), count)
    offset = gather_queries(centre.offset.detach().flatten(2).transpose(1, 2), cell)
    cells = torch.stack([cell % columns, cell.div(columns, rounding_mode="floor")], dim=-1)
    stride = pinhole.image_size / pinhole.image_size.new_tensor([columns, rows])
    pixels = (cells + 0.5 + offset) * stride - 0.5
    log_depth = centre.log_depth.detach().flatten(1).gather(1, cell)
    focal = pinhole.mean_focal[:, None] / canonical_focal
    depth = (log_depth.float().clamp(-4.0, 4.0).exp() * focal).clamp(NEAR, FAR)
    return Proposals(
        cell=cell,
        category=category.flatten(1).gather(1, cell),
        reference=pinhole.unproject(pixels, depth),
        valid=peak.gather(1, cell),
    )


def find_peaks(heat: Tensor) -> Tensor:
    """Cells (B, H, W) bool that no cell of their 3x3 neighbourhood exceeds; of equal neighbours, the first in row-major
    order."""
    height, width = heat.shape[1:]
    peak = F.max_pool2d(heat[:, None], 3, stride=1, padding=1)[:, 0] <= heat
    padded = F.pad(heat, (1, 1, 1, 0), value=-1e4)
    # The neighbours with a lower index: above left, above, above right, left.
    for row, column in ((0, 0), (0, 1), (0, 2), (1, 0)):
        peak = peak & (padded[:, row : row + height, column : column + width] < heat)
    return peak
