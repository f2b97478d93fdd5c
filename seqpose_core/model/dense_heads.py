# SPDX-License-Identifier: Apache-2.0
"""Eq. 4: pixel-wise heads on (z_0, g_0), and the centre head that the proposals come from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.model.config import DenseConfig


@dataclass(frozen=True)
class DensePrediction:
    """Dense maps (B, ·, h, w); None if the configuration has no such head.

    :param segmentation: (B, C + 1, h, w) logits for C categories, channel 0 = background.
    :param log_depth: (B, h, w) canonical log depth, log(z·f0/f), z in metres.
    :param normals: (B, 3, h, w) unit surface normals in the camera frame, towards the camera.
    :param nocs: (B, 3, h, w) normalised object coordinates in units of the box diagonal, 0.5 = centre.
    """

    segmentation: Tensor | None
    log_depth: Tensor | None
    normals: Tensor | None
    nocs: Tensor | None


class DenseHeads(nn.Module):
    """Segmentation, depth and normals, and NOCS (not in the paper), from a shared trunk."""

    def __init__(self, config: DenseConfig, fused_width: int, geometry_width: int, categories: int) -> None:
        super().__init__()
        heads = {
            "segmentation": (config.segmentation, categories + 1),
            "log_depth": (config.depth, 1),
            "normals": (config.normals, 3),
            "nocs": (config.nocs, 3),
        }
        self.channels = {name: channels for name, (enabled, channels) in heads.items() if enabled}
        self.trunk = nn.Conv2d(fused_width + geometry_width, config.width, 3, padding=1)
        self.out = nn.Conv2d(config.width, sum(self.channels.values()) * config.upscale**2, 1)
        self.shuffle = nn.PixelShuffle(config.upscale)

    def forward(self, fused: Tensor, geometry: Tensor) -> DensePrediction:
        """z_0 (B, C, H_0, W_0) and g_0 (B, G, H_0, W_0)."""
        maps = self.shuffle(self.out(F.gelu(self.trunk(torch.cat([fused, geometry], dim=1)))))
        named = dict(zip(self.channels, maps.split(list(self.channels.values()), dim=1), strict=True))
        return DensePrediction(
            segmentation=named.get("segmentation"),
            log_depth=named["log_depth"][:, 0] if "log_depth" in named else None,
            normals=F.normalize(named["normals"], dim=1) if "normals" in named else None,
            nocs=named["nocs"] + 0.5 if "nocs" in named else None,
        )


@dataclass(frozen=True)
class CentrePrediction:
    """Projected object centres, per cell of z_0.

    :param heat: (B, C, H_0, W_0) logits, a map per category.
    :param log_depth: (B, H_0, W_0) canonical log depth of the centre.
    :param offset: (B, 2, H_0, W_0) from the centre of the cell to the object centre (u, v), in cells.
    """

    heat: Tensor
    log_depth: Tensor
    offset: Tensor


class CentreHead(nn.Module):
    """A heat map of projected object centres per category, with their depth and sub-cell offset."""

    def __init__(self, fused_width: int, categories: int) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(fused_width, 64, 3, padding=1)
        self.out = nn.Conv2d(64, categories + 3, 1)
        nn.init.constant_(self.out.bias[:categories], -4.0)  # type: ignore[index]  # few cells are centres

    def forward(self, fused: Tensor) -> CentrePrediction:
        """z_0 (B, C, H_0, W_0)."""
        trunk = F.gelu(self.trunk(fused))
        # In half precision neighbouring cells have equal heat, and every cell of a plateau would be a peak.
        with torch.autocast(fused.device.type, enabled=False):
            maps = self.out(trunk.to(self.out.weight.dtype))
        heat, depth, offset = maps.split([maps.shape[1] - 3, 1, 2], dim=1)
        return CentrePrediction(heat, depth[:, 0], offset)
