# SPDX-License-Identifier: Apache-2.0
"""Encoders: image -> four levels of semantic features s_i (Eq. 1) and geometry features g_i (Eq. 2), finest first."""

from __future__ import annotations

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.conv_vit import ConvVitEncoder
from seqpose_core.model.dinov2 import Dinov2Encoder
from seqpose_core.model.efficientnet_lite import EfficientNetLiteEncoder
from seqpose_core.model.eva02 import Eva02Encoder
from seqpose_core.model.vitdet import VitDetEncoder

Encoder = ConvVitEncoder | Dinov2Encoder | EfficientNetLiteEncoder | Eva02Encoder | VitDetEncoder


def build_encoder(config: SeqPoseConfig) -> Encoder:
    """The encoder named by ``config.encoder.kind``, with random weights; nothing is read from disk.

    Each takes normalised images (B, 3, H, W) and intrinsics (B, 3, 3), and returns s_i (B, S_i, H_i, W_i) and g_i
    (B, G_i, H_i, W_i), with channels ``semantic_widths`` and ``geometry_widths``.
    """
    encoder, height, width = config.encoder.resolved(), config.image_height, config.image_width
    if encoder.kind == "conv_vit":
        return ConvVitEncoder(encoder, height, width, config.canonical_focal)
    if encoder.kind == "efficientnet_lite":
        return EfficientNetLiteEncoder(encoder, config.canonical_focal)
    if encoder.kind == "vitdet":
        return VitDetEncoder(encoder, height, width)
    if encoder.kind == "eva02":
        return Eva02Encoder(encoder, height, width)
    return Dinov2Encoder(encoder, height, width)


def pixel_statistics(kind: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of RGB in [0, 1] that the images of an encoder are normalised with.

    EfficientNet-Lite was trained on (x - 127)/128 for x in 0..255, EVA-02 on CLIP's mean and deviation, the others on
    ImageNet's.
    """
    if kind == "efficientnet_lite":
        return (127 / 255,) * 3, (128 / 255,) * 3
    if kind == "eva02":
        return (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
