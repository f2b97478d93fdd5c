# SPDX-License-Identifier: Apache-2.0
"""AdamW over groups of parameters: which decay, and how fast each encoder block learns."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from train.fit.config import OptimizerConfig

# blocks.3. (conv_vit), layer.3. or layers.3. (backbones of transformers); a neck's layers are no blocks.
_BLOCK = re.compile(r"^encoder\.(?!neck\.).*?\b(?:blocks|layers?)\.(\d+)\.")


def encoder_depths(model: nn.Module) -> dict[str, int]:
    """How deep each parameter of ``model.encoder`` lies, by its name in ``model``.

    0 before the first block (stem, patches, positions), 1, 2, … in the blocks, and one more behind the last.
    """
    names = [name for name, _ in model.named_parameters() if name.startswith("encoder.")]
    blocks = {name: int(found[1]) + 1 for name in names if (found := _BLOCK.match(name))}
    top = max(blocks.values(), default=0) + 1
    depths, behind = {}, not blocks
    for name in names:  # in the order in which they were made, which is that of the forward pass
        behind = behind or name in blocks
        depths[name] = blocks.get(name, top if behind else 0)
    return depths


def decaying(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay acts on: weights of linear layers and convolutions.

    Biases, norms, embeddings, positions and reference points are left alone.
    """
    return {
        f"{prefix}.weight" if prefix else "weight"
        for prefix, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
    }


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups for AdamW, of the parameters that are trained: one for each rate, with and without decay."""
    depths, decay = encoder_depths(model), decaying(model)
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
        groups.setdefault((rate, name in decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": config.weight_decay if decays else 0.0}
        for (rate, decays), parameters in groups.items()
    ]


def rate_at(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step relative to the full one: linear warm-up, then a cosine down to ``final_rate``."""
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
