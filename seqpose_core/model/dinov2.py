# SPDX-License-Identifier: Apache-2.0
"""DINOv2 (Eq. 1) and the neck of Depth Anything V2 (Eq. 2) from transformers, compatible with published weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from seqpose_core.model.backbone import BackboneEncoder, no_geometry
from seqpose_core.model.encoder_config import EncoderConfig

#: Number of register tokens of the published DINOv2 models that have them.
_REGISTERS = 4


class Dinov2Encoder(BackboneEncoder):
    """s_i: four layers of DINOv2, reassembled to maps of strides 3.5, 7, 14 and 28; g_i: the neck's fused maps.

    g_i has twice the resolution of s_i, because the neck upsamples after each fusion; s_i is resized to g_i, so that
    Eq. 3 can concatenate them. The head of Depth Anything is dropped: it predicts relative inverse depth, while Eq. 4
    predicts metric depth from other inputs.
    """

    def __init__(self, config: EncoderConfig, height: int, width: int) -> None:
        from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

        depth_anything = DepthAnythingForDepthEstimation(
            DepthAnythingConfig(
                backbone_config=_backbone_config(config),
                patch_size=14,
                reassemble_hidden_size=config.width,
                neck_hidden_sizes=list(config.reassemble_widths),
                fusion_hidden_size=config.neck_width,
            )
        )
        # No output depends on these parameters.
        depth_anything.backbone.embeddings.mask_token = None
        depth_anything.neck.fusion_stage.layers[0].residual_layer1 = None
        super().__init__(depth_anything.backbone, config.frozen)
        self.neck = depth_anything.neck
        self.rows, self.columns = height // 14, width // 14
        self.registers = _REGISTERS if config.kind == "dinov2_registers" else 0
        self.depth_decoder = config.depth_decoder
        self.semantic_widths = config.reassemble_widths
        self.geometry_widths = (config.neck_width,) * 4
        if not config.depth_decoder:
            del self.neck.convs, self.neck.fusion_stage
            self.geometry_widths = (0,) * 4

    def forward(self, images: Tensor, intrinsics: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """images (B, 3, H, W) normalised; DINOv2 does not use intrinsics; they are used where queries are projected."""
        # The neck drops the first token; the register tokens follow the class token.
        tokens = [t[:, self.registers :] for t in self.feature_maps(images)]
        semantic = self.neck.reassemble_stage(tokens, self.rows, self.columns)
        if not self.depth_decoder:
            return semantic, no_geometry(semantic)
        projected = [conv(s) for conv, s in zip(self.neck.convs, semantic, strict=True)]
        geometry = self.neck.fusion_stage(projected)[::-1]
        semantic = [
            F.interpolate(s, g.shape[-2:], mode="bilinear", align_corners=False)
            for s, g in zip(semantic, geometry, strict=True)
        ]
        return semantic, geometry


def _backbone_config(config: EncoderConfig):  # type: ignore[no-untyped-def]
    from transformers import Dinov2Config, Dinov2WithRegistersConfig

    common = {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "image_size": config.pretrain_image_size,
        "patch_size": 14,
        "out_indices": list(config.out_layers),
        "reshape_hidden_states": False,
        "apply_layernorm": True,
    }
    if config.kind == "dinov2_registers":
        return Dinov2WithRegistersConfig(**common, num_register_tokens=_REGISTERS)
    return Dinov2Config(**common)
