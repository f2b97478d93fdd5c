# SPDX-License-Identifier: Apache-2.0
"""The spatial-temporal sparse query network: temporal cross-attention (Eq. 7) and deformable one (Eq. 8)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.model.config import DecoderConfig
from seqpose_core.model.layers import Attention, mlp, sine_features
from seqpose_core.model.projection import NEAR, project

#: Motion (12 + 1, see MemoryView.motion) and the logarithm of fx and fy over the canonical focal length.
CONDITION_WIDTH = 15


class PoseAwareLayerNorm(nn.Module):
    """Layer norm whose gain and bias follow camera motion, elapsed time and intrinsics.

    The network that makes them has no biases, so a condition of zeros (nothing known, nothing moved) gives the
    plain layer norm exactly.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.modulation = mlp(CONDITION_WIDTH, width // 2, 2 * width, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, Q, C), condition (B, Q, 15)."""
        gain, bias = self.modulation(condition).chunk(2, dim=-1)
        return self.norm(x) * (1 + gain) + bias


class ReferenceEncoding(nn.Module):
    """Position embedding of 3D reference points."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # Wavelengths from 4 m (a room) down to 6 cm (a part of an object).
        self.register_buffer("frequencies", 2 * math.pi / 4.0 * 2.0 ** torch.arange(7), persistent=False)
        self.project = mlp(3 * 7 * 2, width, width)

    def forward(self, reference: Tensor) -> Tensor:
        """reference (B, Q, 3), metres; returns (B, Q, C)."""
        return self.project(sine_features(reference, self.frequencies))


class DeformableAttention(nn.Module):
    """Eq. 8: each query samples learned 3D points around its reference, projected into every level of z.

    Points behind the camera or outside the image are masked out.
    """

    def __init__(self, config: DecoderConfig, levels: int) -> None:
        super().__init__()
        self.heads, self.points, self.levels = config.heads, config.points, levels
        self.offsets = nn.Linear(config.width, config.heads * config.points * 3)
        self.weights = nn.Linear(config.width, config.heads * config.points * levels)
        self.values = nn.ModuleList(nn.Conv2d(config.width, config.width, 1) for _ in range(levels))
        self.out = nn.Linear(config.width, config.width)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        nn.init.normal_(self.offsets.weight, std=0.1 * config.offset_scale)
        nn.init.uniform_(self.offsets.bias, -config.offset_scale, config.offset_scale)

    def forward(
        self, query: Tensor, reference: Tensor, fused: list[Tensor], intrinsics: Tensor, size: Tensor
    ) -> Tensor:
        """query (B, Q, C); reference (B, Q, 3) metres; fused: z_i (B, C, H_i, W_i); intrinsics (B, 3, 3);
        size (2,): image width and height in pixels. Returns (B, Q, C)."""
        batch, queries, width = query.shape
        heads, points = self.heads, self.points
        offsets = self.offsets(query).reshape(batch, queries, heads, points, 3)
        points3d = reference[:, :, None, None] + offsets
        # grid_sample's coordinates: -1 and 1 are the outer edges of the first and last pixel.
        grid = (project(points3d, intrinsics) + 0.5) / size * 2 - 1
        seen = (grid.abs() <= 1).all(-1) & (points3d[..., 2] > NEAR)
        logits = self.weights(query).reshape(batch, queries, heads, points, self.levels)
        logits = logits.masked_fill(~seen[..., None], torch.finfo(logits.dtype).min)
        weights = logits.flatten(3).softmax(-1).reshape(batch, queries, heads, points, self.levels)
        weights = weights * seen[..., None]
        grid = grid.transpose(1, 2).flatten(0, 1)  # (B·heads, Q, P, 2)
        weights = weights.transpose(1, 2).flatten(0, 1)  # (B·heads, Q, P, levels)
        mixed = query.new_zeros(batch * heads, width // heads, queries)
        for level, (values, feature) in enumerate(zip(self.values, fused, strict=True)):
            value = values(feature).unflatten(1, (heads, -1)).flatten(0, 1)
            sampled = F.grid_sample(value, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            mixed = mixed + (sampled * weights[:, None, ..., level]).sum(-1)
        return self.out(mixed.reshape(batch, width, queries).transpose(1, 2))


class StsqLayer(nn.Module):
    """One layer: temporal cross-attention, geometry-aware cross-attention, feed-forward; each pre-norm, residual."""

    def __init__(self, config: DecoderConfig, levels: int) -> None:
        super().__init__()
        width = config.width
        self.query_norm, self.memory_norm = PoseAwareLayerNorm(width), PoseAwareLayerNorm(width)
        self.temporal = Attention(width, config.heads)
        self.deformable_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.deformable = DeformableAttention(config, levels)
        self.ffn = mlp(width, config.ffn_ratio * width)

    def forward(
        self,
        query: Tensor,
        position: Tensor,
        condition: Tensor,
        memory: tuple[Tensor, Tensor, Tensor],
        seen: Tensor,
        reference: Tensor,
        fused: list[Tensor],
        intrinsics: Tensor,
        size: Tensor,
    ) -> Tensor:
        """Queries (B, Q, C) with their position embedding and condition (B, Q, 15); ``memory`` is the same three
        things of the memory's S slots; ``seen`` (B, Q + S), or (B, Q, Q + S) where it differs from query to query:
        which of all these exist; reference (B, Q, 3), the rest as DeformableAttention."""
        past, past_position, past_condition = memory
        current = self.query_norm(query, condition)
        value = torch.cat([current, self.memory_norm(past, past_condition)], dim=1)
        key = value + torch.cat([position, past_position], dim=1)
        query = query + self.temporal(current + position, key, value, seen)
        normed = self.deformable_norm(query) + position
        query = query + self.deformable(normed, reference, fused, intrinsics, size)
        return query + self.ffn(self.ffn_norm(query))
