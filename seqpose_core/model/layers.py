# SPDX-License-Identifier: Apache-2.0
"""Building blocks shared by the encoder and the query network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention with an optional bias of the attention logits."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """Returns (B, Q, C).

        :param query: (B, Q, C). :param key, value: (B, L, C). :param bias: see :func:`attention_bias`.
        """
        q, k, v = (self._split(p(x)) for p, x in ((self.query, query), (self.key, key), (self.value, value)))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def attention_bias(mask: Tensor) -> Tensor:
    """What is added to the attention logits, (B, 1, 1 or Q, L): 0 for a key that may be attended to, else -1e4.

    :param mask: (B, L), or (B, Q, L) if it differs between queries, bool: true for keys that may be attended to.
    """
    mask = mask[:, None, None] if mask.dim() == 2 else mask[:, None]
    # Runtimes replace a boolean mask by the lowest number of the type, which overflows to NaN in bfloat16.
    return torch.where(mask, 0.0, -1e4)


def mlp(width: int, hidden: int, out: int | None = None, bias: bool = True) -> nn.Sequential:
    """Linear, GELU, Linear."""
    out = width if out is None else out
    return nn.Sequential(nn.Linear(width, hidden, bias=bias), nn.GELU(), nn.Linear(hidden, out, bias=bias))


def sine_features(x: Tensor, frequencies: Tensor) -> Tensor:
    """Sines and cosines of x (..., D) at angular ``frequencies`` (F,): (..., 2·D·F)."""
    angles = (x[..., None] * frequencies).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class ResidualConv(nn.Module):
    """Two 3x3 convolutions with a skip connection: the FUSE block of Eq. 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class FusionNeck(nn.ModuleList):
    """Eq. 2 with resampling that has no weights: g_i = FUSE_i(upsample(g_{i+1}) + s_i), coarsest level first."""

    def __init__(self, width: int, levels: int = 4) -> None:
        super().__init__(ResidualConv(width) for _ in range(levels))

    def forward(self, semantic: list[Tensor]) -> list[Tensor]:
        """s_i (B, C, H_i, W_i), finest first; returns g_i of the same shapes."""
        fuse = list(self)
        geometry: list[Tensor] = [fuse[-1](semantic[-1])]
        for i in range(len(fuse) - 2, -1, -1):
            coarse = geometry[0]
            if coarse.shape[-2:] != semantic[i].shape[-2:]:
                coarse = F.interpolate(coarse, semantic[i].shape[-2:], mode="bilinear", align_corners=False)
            geometry.insert(0, fuse[i](coarse + semantic[i]))
        return geometry


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of maps (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def ray_features(intrinsics: Tensor, rows: int, columns: int, stride: int, canonical_focal: float) -> Tensor:
    """Ray slopes x/z, y/z through the centre of each cell and log(f/f0) of both axes: (B, rows·columns, 4).

    :param intrinsics: (B, 3, 3) in pixels of the image that the cells divide.
    :param stride: side of a cell, pixels.
    """
    middle = (stride - 1) / 2
    v, u = torch.meshgrid(
        stride * torch.arange(rows, device=intrinsics.device, dtype=intrinsics.dtype) + middle,
        stride * torch.arange(columns, device=intrinsics.device, dtype=intrinsics.dtype) + middle,
        indexing="ij",
    )
    fx, fy, cx, cy = (intrinsics[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    slopes = [(u.flatten() - cx) / fx, (v.flatten() - cy) / fy]
    focal = [(f / canonical_focal).log().expand_as(slopes[0]) for f in (fx, fy)]
    return torch.stack(slopes + focal, dim=-1)
