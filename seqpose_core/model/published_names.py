# SPDX-License-Identifier: Apache-2.0
"""Tensors of the .pth files that the authors of DINOv2 and Depth Anything V2 publish, by transformers' names."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from seqpose_core.weights import CheckpointError, published_name

_BACKBONE = (
    (r"^(cls_token|mask_token|register_tokens)$", r"embeddings.\1"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^blocks\.(?:\d+\.)?(\d+)\.", r"encoder.layer.\1."),  # large models number the chunks of blocks as well
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
    (r"\.mlp\.w12\.", ".mlp.weights_in."),
    (r"\.mlp\.w3\.", ".mlp.weights_out."),
    (r"^norm\.", "layernorm."),
)
_DEPTH_HEAD = (
    (r"^projects\.(\d)\.", r"neck.reassemble_stage.layers.\1.projection."),
    (r"^resize_layers\.(\d)\.", r"neck.reassemble_stage.layers.\1.resize."),
    (r"\.out_conv\.", ".projection."),
    (r"\.resConfUnit(\d)\.conv(\d)\.", r".residual_layer\1.convolution\2."),
    (r"^scratch\.output_conv", "head.conv"),
)


def read_published(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The tensors of a file, and whether they include the neck of Depth Anything; the backbone has no prefix otherwise.

    :raises CheckpointError: the file holds anything but tensors, or tensors of another network.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is damaged or holds more than tensors: {reason}") from error
    if not isinstance(stored, dict) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise CheckpointError(f"{path} is not a file of named tensors, as DINOv2 and Depth Anything V2 publish them")
    with_neck = any(name.startswith("pretrained.") for name in stored)
    if not with_neck and "cls_token" not in stored:
        raise CheckpointError(
            f"{path} has neither DINOv2's tensor cls_token nor Depth Anything's pretrained.cls_token; it has "
            f"{', '.join(list(stored)[:3])}"
        )
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if with_neck and not name.startswith("pretrained."):
            tensors[_neck_name(name)] = tensor
            continue
        prefix = "backbone." if with_neck else ""
        tensors |= {prefix + key: value for key, value in _backbone_tensors(name.removeprefix("pretrained."), tensor)}
    return {published_name(name): tensor for name, tensor in tensors.items()}, with_neck


def _backbone_tensors(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    for pattern, replacement in _BACKBONE:
        name = re.sub(pattern, replacement, name)
    if ".attn.qkv." in name:  # one matrix for query, key and value
        parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
        return [(name.replace(".attn.qkv.", f".attention.attention.{part}."), value) for part, value in parts]
    return [(name, tensor)]


def _neck_name(name: str) -> str:
    name = name.removeprefix("depth_head.")
    # The layers are numbered from 1 at the highest resolution; transformers starts the fusion at the lowest.
    name = re.sub(r"^scratch\.layer(\d)_rn\.", lambda m: f"neck.convs.{int(m[1]) - 1}.", name)
    name = re.sub(r"^scratch\.refinenet(\d)\.", lambda m: f"neck.fusion_stage.layers.{4 - int(m[1])}.", name)
    for pattern, replacement in _DEPTH_HEAD:
        name = re.sub(pattern, replacement, name)
    return name
