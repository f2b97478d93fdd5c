# SPDX-License-Identifier: Apache-2.0
"""EVA-02 with the simple feature pyramid of ViTDet: the EVAViT row of Table 2 with pretrained weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.pyramid import PyramidEncoder

#: Side of the grid of patches that the rotary positions are scaled to: 224 pixels, the images of the pretraining.
_REFERENCE_CELLS = 16


class Eva02Encoder(PyramidEncoder):
    """The pyramid on EVA-02.

    "EVA-02: A Visual Representation for Neon Genesis" (Fang et al., 2023). As in its detector there is no norm after
    the last block.
    """

    def __init__(self, config: EncoderConfig, height: int, width: int) -> None:
        super().__init__(Eva02(config, height // config.patch_size, width // config.patch_size), config)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return [self.backbone(images)]


class Eva02(nn.Module):
    """The ViT, for one image size. Names of the parameters are those of timm's base and large models."""

    rotation: Tensor

    def __init__(self, config: EncoderConfig, rows: int, columns: int) -> None:
        super().__init__()
        width, self.rows, self.columns = config.width, rows, columns
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, config.patch_size, stride=config.patch_size)})
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + rows * columns, width))
        # The small models have no norm within the feed-forward network.
        self.blocks = nn.ModuleList(Block(width, config.heads, config.size != "small") for _ in range(config.depth))
        self.register_buffer("rotation", rotary_angles(rows, columns, width // config.heads), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W); returns (B, C, rows, columns)."""
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x, self.rotation)
        return x[:, 1:].transpose(1, 2).unflatten(2, (self.rows, self.columns))


class Block(nn.Module):
    """Attention with rotary positions, and a SwiGLU feed-forward network; each pre-norm, residual."""

    def __init__(self, width: int, heads: int, inner_norm: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = RotaryAttention(width, heads), SwiGlu(width, inner_norm)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        """x (B, 1 + N, C)."""
        x = x + self.attn(self.norm1(x), angles)
        return x + self.mlp(self.norm2(x))


class RotaryAttention(nn.Module):
    """Multi-head attention; queries and keys of the patches are rotated by their position, the class token is not."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        """x (B, 1 + N, C), angles (N, C / heads)."""
        q, k, v = (p(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        mixed = F.scaled_dot_product_attention(_rotate_patches(q, angles), _rotate_patches(k, angles), v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class SwiGlu(nn.Module):
    """fc2(norm(silu(fc1_g x) * fc1_x x))."""

    def __init__(self, width: int, inner_norm: bool) -> None:
        super().__init__()
        hidden = int(width * 4 * 2 / 3)
        self.fc1_g, self.fc1_x = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-6) if inner_norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.norm(F.silu(self.fc1_g(x)) * self.fc1_x(x)))


def rotary_angles(rows: int, columns: int, width: int) -> Tensor:
    """Angles (rows·columns, width) of the rotation of each pair of channels: of the row in the first half, of the
    column in the second. Positions are scaled to a grid of 16 x 16."""
    frequencies = 10000.0 ** (-torch.arange(width // 4) / (width // 4))
    along = [torch.arange(cells) / cells * _REFERENCE_CELLS for cells in (rows, columns)]
    row, column = torch.meshgrid(*along, indexing="ij")
    angles = torch.cat([position.reshape(-1, 1) * frequencies for position in (row, column)], dim=1)
    return angles.repeat_interleave(2, dim=1)


def _rotate_patches(x: Tensor, angles: Tensor) -> Tensor:
    """x (B, heads, 1 + N, D): neighbouring channels of every token but the first are rotated by ``angles`` (N, D)."""
    token, patches = x[:, :, :1], x[:, :, 1:]
    turned = torch.stack([-patches[..., 1::2], patches[..., ::2]], dim=-1).flatten(-2)
    return torch.cat([token, (patches * angles.cos() + turned * angles.sin()).to(x.dtype)], dim=2)
