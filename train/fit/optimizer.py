# SPDX-License-Identifier: Apache-2.0
"""AdamW with parameter groups (weight decay, layer-wise learning rates) and its schedule."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from train.fit.config import OptimizerConfig

# blocks.3. (conv_vit), layer.3. or layers.3. (backbones of transformers); the neck's layers are not blocks.
_BLOCK = re.compile(r"^encoder\.(?!neck\.).*?\b(?:blocks|layers?)\.(\d+)\.")


def encoder_depths(model: nn.Module) -> dict[str, int]:
    """Depth of each parameter of ``model.encoder``, by its name in ``model``.

    0 before the first block (stem, patch and position embeddings), 1, 2, ... in the blocks, one more after the last.
    """
    names = [name for name, _ in model.named_parameters() if name.startswith("encoder.")]
    blocks = {name: int(found[1]) + 1 for name in names if (found := _BLOCK.match(name))}
    top = max(blocks.values(), default=0) + 1
    depths, after_stem = {}, not blocks
    for name in names:  # in order of registration, which is the order of the forward pass
        after_stem = after_stem or name in blocks
        depths[name] = blocks.get(name, top if after_stem else 0)
    return depths


def decayed_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters with weight decay: weights of linear layers and convolutions.

    Biases, norms, embeddings and reference points have none.
    """
    return {
        f"{prefix}.weight" if prefix else "weight"
        for prefix, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
    }


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Parameter groups of AdamW: one per learning rate, with and without weight decay. Frozen ones are left out."""
    depths, decayed = encoder_depths(model), decayed_parameters(model)
    top = max(depths.values(), default=0)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = config.learning_rate
        if name in depths:
            rate *= config.encoder_rate * config.layer_decay ** (top - depths[name])
        if name.startswith("encoder.backbone."):
            rate *= config.backbone_rate
        elif depths.get(name) == top:
            rate *= config.neck_rate
        groups.setdefault((rate, name in decayed), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": config.weight_decay if decays else 0.0}
        for (rate, decays), parameters in groups.items()
    ]


def rate_at(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step relative to the full rate: linear warm-up, then a cosine down to ``final_rate``."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps))
    return config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(
    model: nn.Module, config: OptimizerConfig, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW and its schedule over ``steps`` steps."""
    optimizer = torch.optim.AdamW(parameter_groups(model, config), betas=(0.9, config.beta2))
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, config))
