# SPDX-License-Identifier: Apache-2.0
"""ViTDet from transformers with the simple feature pyramid of its paper."""

from __future__ import annotations

from torch import Tensor, nn

from seqpose_core.model.backbone import BackboneEncoder, no_geometry
from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.layers import ChannelNorm


class VitDetEncoder(BackboneEncoder):
    """s_i: the last map of a plain ViT, resampled to strides of 1/4, 1/2, 1 and 2 patches.

    "Exploring Plain Vision Transformer Backbones for Object Detection" (Li et al., 2022), which the paper cites for
    its EVAViT encoder, sections 3 and A.2. Its window attention is for 1024x1024 images; with the few hundred patches
    of this network all attention is global. There is no g_i (see EncoderConfig.depth_decoder).
    """

    def __init__(self, config: EncoderConfig, height: int, width: int) -> None:
        from transformers import AutoBackbone, VitDetConfig

        backbone = AutoBackbone.from_config(
            VitDetConfig(
                hidden_size=config.width,
                num_hidden_layers=config.depth,
                num_attention_heads=config.heads,
                image_size=[height, width],
                pretrain_image_size=config.pretrain_image_size,
                patch_size=config.patch_size,
                out_indices=[config.depth],
            )
        )
        super().__init__(backbone, config.frozen)
        self.pyramid = simple_pyramid(config.width, config.neck_width)
        self.semantic_widths, self.geometry_widths = (config.neck_width,) * 4, (0,) * 4

    def forward(self, images: Tensor, intrinsics: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """images (B, 3, H, W) normalised; ViTDet does not use intrinsics; they are used where queries are projected."""
        (last,) = self.feature_maps(images)
        semantic = [level(last) for level in self.pyramid]
        return semantic, no_geometry(semantic)


def simple_pyramid(width: int, out: int) -> nn.ModuleList:
    """The four levels of a map of ``width`` channels: strides of 1/4, 1/2, 1 and 2 of its cells, ``out`` channels."""
    return nn.ModuleList(_level(width, out, scale) for scale in (4, 2, 1, 0))


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
