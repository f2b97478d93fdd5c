# SPDX-License-Identifier: Apache-2.0
"""Building blocks shared by the encoder and the query network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention with an optional mask of the keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns (B, Q, C).

        :param query: (B, Q, C). :param key, value: (B, L, C).
        :param mask: (B, L), or (B, Q, L) if it differs between queries, bool: true for keys that may be attended to.
        """
        q, k, v = (self._split(p(x)) for p, x in ((self.query, query), (self.key, key), (self.value, value)))
        if mask is not None:
            mask = mask[:, None, None] if mask.dim() == 2 else mask[:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


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
