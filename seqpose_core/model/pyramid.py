# SPDX-License-Identifier: Apache-2.0
"""The simple feature pyramid of ViTDet: four levels from the last map of a plain ViT."""

from __future__ import annotations

from torch import Tensor, nn

from seqpose_core.model.backbone import BackboneEncoder, no_geometry
from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.layers import ChannelNorm


class PyramidEncoder(BackboneEncoder):
    """s_i: the last map of a backbone, resampled to strides of 1/4, 1/2, 1 and 2 patches. There is no g_i."""

    def __init__(self, backbone: nn.Module, config: EncoderConfig) -> None:
        super().__init__(backbone, config.frozen)
        self.pyramid = nn.ModuleList(_level(config.width, config.neck_width, scale) for scale in (4, 2, 1, 0))
        self.semantic_widths, self.geometry_widths = (config.neck_width,) * 4, (0,) * 4

    def forward(self, images: Tensor, intrinsics: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """images (B, 3, H, W) normalised; intrinsics are used only where queries are projected."""
        (last,) = self.feature_maps(images)
        semantic = [level(last) for level in self.pyramid]
        return semantic, no_geometry(semantic)


def _level(width: int, out: int, scale: int) -> nn.Sequential:
    """A pyramid level: upsampling by ``scale`` (0: downsampling by 2), then projection to ``out`` channels."""
    layers: list[nn.Module] = []
    if scale == 4:
        layers = [nn.ConvTranspose2d(width, width // 2, 2, stride=2), ChannelNorm(width // 2), nn.GELU()]
        layers += [nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2)]
        width = width // 4
    elif scale == 2:
        layers = [nn.ConvTranspose2d(width, width // 2, 2, stride=2)]
        width = width // 2
    elif scale == 0:
        layers = [nn.MaxPool2d(2, ceil_mode=True)]
    layers += [nn.Conv2d(width, out, 1, bias=False), ChannelNorm(out)]
    layers += [nn.Conv2d(out, out, 3, padding=1, bias=False), ChannelNorm(out)]
    return nn.Sequential(*layers)
