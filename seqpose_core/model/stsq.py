# SPDX-License-Identifier: Apache-2.0
"""The spatial-temporal sparse query network: temporal cross-attention (Eq. 7), deformable attention (Eq. 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqpose_core.model.config import DecoderConfig
from seqpose_core.model.guidance import GeometryGuide
from seqpose_core.model.layers import Attention, mlp, sine_features
from seqpose_core.model.projection import NEAR, Pinhole
from seqpose_core.model.sampling import sample_levels

#: MemoryView.motion (13), and the logarithms of fx and fy over the canonical focal length (2).
CONDITION_WIDTH = 15


@dataclass(frozen=True)
class QueryTokens:
    """Queries as the temporal attention takes them.

    :param embedding: (B, Q, C).
    :param position: (B, Q, C) encoding of their reference points.
    :param condition: (B, G, 15) of the pose-aware layer norm, each of Q/G consecutive queries.
    """

    embedding: Tensor
    position: Tensor
    condition: Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """What the deformable attention samples.

    :param levels: z_i (B, C, H_i, W_i), finest first, best channels-last; if values are shared, their projections.
    :param pinhole: the camera that projects 3D points into all of them.
    :param geometry: estimated depth and normals of a guided decoder, see guidance.geometry_map.
    """

    levels: list[Tensor]
    pinhole: Pinhole
    geometry: Tensor | None = None


class PoseAwareLayerNorm(nn.Module):
    """Layer norm whose gain and bias depend on camera motion, elapsed time and intrinsics.

    The modulation network has no biases: a zero condition (unknown motion or none) gives the plain layer norm exactly.
    Its last layer is initialised to zero, so that a condition that was not trained has no effect.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.modulation = mlp(CONDITION_WIDTH, width // 2, 2 * width, bias=False)
        nn.init.zeros_(self.modulation[2].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, Q, C); condition (B, G, 15), each of which holds for Q/G consecutive rows of x."""
        gain, bias = self.modulation(condition).chunk(2, dim=-1)
        normalised, groups = self.norm(x), condition.shape[1]
        if groups in (0, x.shape[1]):
            return normalised * (1 + gain) + bias
        grouped = normalised.unflatten(1, (groups, -1))
        return (grouped * (1 + gain[:, :, None]) + bias[:, :, None]).flatten(1, 2)


class ReferenceEncoding(nn.Module):
    """Position embedding of 3D reference points."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # Wavelengths from 4 m (a scene) to 6 cm (a part of an object).
        self.register_buffer("frequencies", 2 * math.pi / 4.0 * 2.0 ** torch.arange(7), persistent=False)
        self.project = mlp(3 * 7 * 2, width, width)

    def forward(self, reference: Tensor) -> Tensor:
        """reference (B, Q, 3), metres; returns (B, Q, C)."""
        return self.project(sine_features(reference, self.frequencies))


def value_projections(width: int, levels: int) -> nn.ModuleList:
    """The 1x1 convolutions from z_i to the values of Eq. 8."""
    return nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(levels))


class DeformableAttention(nn.Module):
    """Eq. 8: each query samples learned 3D points around its reference, projected into every level of z.

    Points behind the camera or outside the image are masked out.
    """

    def __init__(self, config: DecoderConfig, levels: int) -> None:
        super().__init__()
        self.heads, self.points, self.levels = config.heads, config.points, levels
        self.offsets = nn.Linear(config.width, config.heads * config.points * 3)
        self.weights = nn.Linear(config.width, config.heads * config.points * levels)
        self.values = None if config.shared_values else value_projections(config.width, levels)
        self.out = nn.Linear(config.width, config.width)
        self.guide = GeometryGuide() if config.guided else None
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        nn.init.normal_(self.offsets.weight, std=0.1 * config.offset_scale)
        nn.init.uniform_(self.offsets.bias, -config.offset_scale, config.offset_scale)

    def forward(self, query: Tensor, reference: Tensor, features: ImageFeatures) -> Tensor:
        """query (B, Q, C); reference (B, Q, 3), metres in the camera frame. Returns (B, Q, C)."""
        batch, queries, _ = query.shape
        heads, points, pinhole = self.heads, self.points, features.pinhole
        offsets = self.offsets(query).reshape(batch, queries, heads, points, 3)
        points3d = reference[:, :, None, None] + offsets
        # Fractions of the image; pixel centres are at integers.
        position = (pinhole.project(points3d) + 0.5) / pinhole.image_size
        visible = ((position >= 0) & (position <= 1)).all(-1) & (points3d[..., 2] > NEAR)
        logits = self.weights(query).reshape(batch, queries, heads, points, self.levels)
        if self.guide is not None:
            assert features.geometry is not None
            logits = logits + self.guide(points3d, features.geometry, pinhole)[..., None]
        logits = logits.masked_fill(~visible[..., None], -1e4)
        weights = logits.flatten(3).softmax(-1).reshape(batch, queries, heads, points, self.levels)
        weights = weights * visible[..., None]
        values = features.levels
        if self.values is not None:
            values = [project(z) for project, z in zip(self.values, features.levels, strict=True)]
        return self.out(sample_levels(values, position, weights).to(query.dtype))


class StsqLayer(nn.Module):
    """Temporal cross-attention, geometry-aware cross-attention and feed-forward network; each pre-norm, residual."""

    def __init__(self, config: DecoderConfig, levels: int) -> None:
        super().__init__()
        width = config.width
        self.query_norm, self.memory_norm = PoseAwareLayerNorm(width), PoseAwareLayerNorm(width)
        self.temporal = Attention(width, config.heads)
        self.deformable_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.deformable = DeformableAttention(config, levels)
        self.ffn = mlp(width, config.ffn_ratio * width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        queries: QueryTokens,
        memory: QueryTokens,
        attention_bias: Tensor,
        reference: Tensor,
        features: ImageFeatures,
    ) -> Tensor:
        """The embeddings (B, Q, C) after this layer.

        :param queries: the Q queries of the current frame. :param memory: the S slots of the memory.
        :param attention_bias: (B, 1 or Q, 1 or Q, Q + S) for queries and then slots, see
            :func:`seqpose_core.model.layers.attention_bias`.
        :param reference: (B, Q, 3) reference points of the queries, metres in the camera frame.
        """
        query, position = queries.embedding, queries.position
        current = self.query_norm(query, queries.condition)
        value = torch.cat([current, self.memory_norm(memory.embedding, memory.condition)], dim=1)
        key = value + torch.cat([position, memory.position], dim=1)
        query = query + self.dropout(self.temporal(current + position, key, value, attention_bias))
        query = query + self.dropout(self.deformable(self.deformable_norm(query) + position, reference, features))
        return query + self.dropout(self.ffn(self.ffn_norm(query)))
