# SPDX-License-Identifier: Apache-2.0
"""Encoders: image -> four levels of semantic features s_i (Eq. 1) and geometry features g_i (Eq. 2), finest first."""

from __future__ import annotations

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.conv_vit import ConvVitEncoder
from seqpose_core.model.dinov2 import Dinov2Encoder
from seqpose_core.model.vitdet import VitDetEncoder


def build_encoder(config: SeqPoseConfig) -> ConvVitEncoder | Dinov2Encoder | VitDetEncoder:
    """The encoder that ``config.encoder.kind`` names, with random weights; nothing is read from disk.

    Each takes normalised images (B, 3, H, W) and intrinsics (B, 3, 3), and returns s_i (B, S_i, H_i, W_i) and g_i
    (B, G_i, H_i, W_i) with the channels that its ``semantic_widths`` and ``geometry_widths`` name.
    """
    encoder, height, width = config.encoder.resolved(), config.image_height, config.image_width
    if encoder.kind == "conv_vit":
        return ConvVitEncoder(encoder, height, width, config.canonical_focal)
    if encoder.kind == "vitdet":
        return VitDetEncoder(encoder, height, width)
    return Dinov2Encoder(encoder, height, width)
