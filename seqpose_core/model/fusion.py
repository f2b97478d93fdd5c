# SPDX-License-Identifier: Apache-2.0
"""Eq. 3: z_i = CONV_i(CAT(s_i, g_i)), the 2.5D features of level i."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """A 1x1 convolution per level."""

    def __init__(self, semantic_widths: Sequence[int], geometry_widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(s + g, width, 1) for s, g in zip(semantic_widths, geometry_widths, strict=True)
        )

    def forward(self, semantic: list[Tensor], geometry: list[Tensor]) -> list[Tensor]:
        """s_i (B, S_i, H_i, W_i) and g_i (B, G_i, H_i, W_i), finest first; returns z_i (B, C, H_i, W_i)."""
        return [conv(torch.cat(p, dim=1)) for conv, *p in zip(self.convolutions, semantic, geometry, strict=True)]
