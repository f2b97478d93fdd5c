# SPDX-License-Identifier: Apache-2.0
"""Published weights of EVA-02, in timm's layout."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor

#: Tensors that this network does not use: the norm after the last block, the classifier, and those of the pretraining.
_UNUSED = ("norm.", "fc_norm.", "head.", "mask_token", "lm_head.", "rope.")


def backbone_tensors(tensors: dict[str, Tensor], rows: int, columns: int) -> dict[str, Tensor]:
    """The tensors by the names of Eva02, the position embedding resampled to a grid of rows x columns patches.

    timm's small models hold query, key and value, and both halves of the gated layer, in one matrix each.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(_UNUSED):
            continue
        if name.endswith("attn.qkv.weight"):
            for part, value in zip("qkv", tensor.chunk(3), strict=True):
                result[name.replace("qkv", f"{part}_proj")] = value
        elif found := re.fullmatch(r"(.*\.attn\.)([qv])_bias", name):
            result[f"{found[1]}{found[2]}_proj.bias"] = tensor
        elif ".mlp.fc1." in name:
            for part, value in zip(("fc1_g", "fc1_x"), tensor.chunk(2), strict=True):
                result[name.replace("fc1", part)] = value
        elif name == "pos_embed" and tensor.dim() == 3:
            result[name] = resample_positions(tensor, rows, columns)
        else:
            result[name] = tensor
    return result


def resample_positions(embedding: Tensor, rows: int, columns: int) -> Tensor:
    """Position embedding (1, 1 + n², C) of a class token and a square grid, resampled to (1, 1 + rows·columns, C)."""
    token, grid = embedding[:, :1], embedding[:, 1:]
    side = round(grid.shape[1] ** 0.5)
    if side * side != grid.shape[1] or (side, side) == (rows, columns):
        return embedding  # one that is not square is reported as misshapen
    grid = grid.float().transpose(1, 2).unflatten(2, (side, side))
    grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([token.float(), grid.flatten(2).transpose(1, 2)], dim=1)
