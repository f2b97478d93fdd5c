# SPDX-License-Identifier: Apache-2.0
"""A small ViT with a convolutional stem: an encoder without pretrained weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqpose_core.model.backbone import no_geometry
from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.layers import Attention, FusionNeck, mlp, ray_features


class _Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = mlp(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y)
        return x + self.mlp(self.norm2(x))


class ConvVitEncoder(nn.Module):
    """A small ViT with a convolutional stem and a feature pyramid, to be trained from scratch.

    A linear embedding of ray and focal length is added to each token, because metric depth from one image is ambiguous
    without the intrinsics. The levels have strides 7, 14, 14 and 28.
    """

    def __init__(self, config: EncoderConfig, height: int, width: int, canonical_focal: float) -> None:
        super().__init__()
        stem, neck = config.stem_width, config.neck_width
        self.canonical_focal = canonical_focal
        self.rows, self.columns = height // 14, width // 14
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 9, stride=7, padding=1),
            nn.GroupNorm(8, stem),
            nn.GELU(),
            nn.Conv2d(stem, 2 * stem, 3, padding=1),
            nn.GroupNorm(8, 2 * stem),
            nn.GELU(),
        )
        self.patchify = nn.Conv2d(2 * stem, config.width, 2, stride=2)
        self.position = nn.Parameter(0.02 * torch.randn(1, self.rows * self.columns, config.width))
        self.camera = nn.Linear(4, config.width)
        self.blocks = nn.ModuleList(_Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.taps = sorted({max(1, config.depth * i // 3) for i in (1, 2, 3)})
        if len(self.taps) != 3:
            raise ValueError(f"encoder.depth is {config.depth}; conv_vit needs at least 3")
        self.lateral = nn.ModuleList(
            [
                nn.Conv2d(2 * stem, neck, 1),
                nn.Conv2d(config.width, neck, 1),
                nn.Conv2d(config.width, neck, 1),
                nn.Conv2d(config.width, neck, 3, stride=2, padding=1),
            ]
        )
        self.semantic_widths, self.geometry_widths = (neck,) * 4, (0,) * 4
        self.fuse: FusionNeck | None = None
        if config.depth_decoder:
            self.fuse = FusionNeck(neck)
            self.geometry_widths = (neck,) * 4

    def forward(self, images: Tensor, intrinsics: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """images (B, 3, H, W) normalised, intrinsics (B, 3, 3) in pixels of these images."""
        stem = self.stem(images)
        tokens = self.patchify(stem).flatten(2).transpose(1, 2)
        rays = ray_features(intrinsics, self.rows, self.columns, 14, self.canonical_focal)
        tokens = tokens + self.position + self.camera(rays)
        outputs = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number in self.taps:
                outputs.append(self.norm(tokens) if number == len(self.blocks) else tokens)
        maps = [stem] + [t.transpose(1, 2).unflatten(2, (self.rows, self.columns)) for t in outputs]
        semantic = [lateral(m) for lateral, m in zip(self.lateral, maps, strict=True)]
        if self.fuse is None:
            return semantic, no_geometry(semantic)
        return semantic, self.fuse(semantic)
