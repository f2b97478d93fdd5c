# SPDX-License-Identifier: Apache-2.0
"""ViTDet from transformers with the simple feature pyramid of its paper."""

from __future__ import annotations

from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.pyramid import PyramidEncoder


class VitDetEncoder(PyramidEncoder):
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
        super().__init__(backbone, config)
