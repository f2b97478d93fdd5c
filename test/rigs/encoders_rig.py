# SPDX-License-Identifier: Apache-2.0
"""A small encoder of each kind for tests, and the transformers models of the same sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from tiny import HEIGHT, WIDTH, tiny_config
from torch import Tensor, nn
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from seqpose_core import SeqPose
from seqpose_core.model.encoder_config import EncoderConfig

DINOV2 = EncoderConfig(
    kind="dinov2",
    width=32,
    depth=4,
    heads=2,
    neck_width=16,
    out_layers=(1, 2, 3, 4),
    reassemble_widths=(8, 16, 24, 32),
    pretrain_image_size=56,
)
REGISTERS = replace(DINOV2, kind="dinov2_registers")
VITDET = EncoderConfig(
    kind="vitdet", width=32, depth=3, heads=2, neck_width=16, pretrain_image_size=56, depth_decoder=False
)
EVA02 = EncoderConfig(kind="eva02", width=32, depth=3, heads=2, neck_width=16, depth_decoder=False)
CONV_VIT = tiny_config().encoder
KINDS = {
    "conv_vit": CONV_VIT,
    "conv_vit without decoder": replace(CONV_VIT, depth_decoder=False),
    "dinov2": DINOV2,
    "dinov2 without decoder": replace(DINOV2, depth_decoder=False),
    "dinov2 frozen": replace(DINOV2, frozen=True),
    "dinov2_registers": REGISTERS,
    "eva02": EVA02,
    "eva02 frozen": replace(EVA02, frozen=True),
    "vitdet": VITDET,
    "vitdet frozen": replace(VITDET, frozen=True),
}
BACKBONE = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
    "out_indices": [1, 2, 3, 4],
}


def perturbed(model: nn.Module) -> Any:
    """The model in evaluation mode with noise on every parameter: values of 0 or 1 could hide a mistake."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def depth_anything(**backbone: Any) -> DepthAnythingForDepthEstimation:
    config = DepthAnythingConfig(
        backbone_config=Dinov2Config(**(BACKBONE | {"reshape_hidden_states": False} | backbone)),
        reassemble_hidden_size=32,
        patch_size=14,
        neck_hidden_sizes=[8, 16, 24, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    return perturbed(DepthAnythingForDepthEstimation(config))


def network(encoder: EncoderConfig, height: int = HEIGHT, width: int = WIDTH) -> SeqPose:
    torch.manual_seed(0)
    return SeqPose(replace(tiny_config(), encoder=encoder, image_height=height, image_width=width)).eval()


def normalised(images: Tensor) -> Tensor:
    """Normalised with the mean and standard deviation of ImageNet."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def features(model: SeqPose, images: Tensor, intrinsics: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """s_i and g_i that SeqPose computes from images in [0, 1]."""
    outputs: list[Any] = []
    hook = model.encoder.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        model.encode(images, intrinsics)
    hook.remove()
    return outputs[0]


def copy_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}
