# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite as published, with separate batch norms: the reference for our encoder."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: Of each stage: kernel, stride and expansion; then channels and repeats of each variant, as published.
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))


VARIANTS = {
    "lite0": ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "lite1": ((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    "lite2": ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}


def published_blocks(variant: str) -> list[tuple[int, int, int, int, int, int]]:
    """(stage, kernel, stride, inputs, hidden, outputs) of each block."""
    blocks, inputs = [], 32
    for stage, ((kernel, stride, expansion), outputs, repeats) in enumerate(
        zip(STAGES, *VARIANTS[variant], strict=True)
    ):
        for repeat in range(repeats):
            blocks.append((stage, kernel, stride if repeat == 0 else 1, inputs, expansion * inputs, outputs))
            inputs = outputs
    return blocks


def random_state(variant: str) -> dict[str, Tensor]:
    """A state dict of the published layout; its batch norms are far from the identity."""
    generator = torch.Generator().manual_seed(5)
    state: dict[str, Tensor] = {}

    def layer(convolution: str, norm: str, inputs: int, outputs: int, kernel: int) -> None:
        spread = math.sqrt(2 / (inputs * kernel**2))
        state[f"{convolution}.weight"] = spread * torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        state[f"{norm}.weight"] = 0.5 + torch.rand(outputs, generator=generator)
        state[f"{norm}.bias"] = torch.rand(outputs, generator=generator)
        state[f"{norm}.running_mean"] = 0.3 * torch.randn(outputs, generator=generator)
        state[f"{norm}.running_var"] = 0.5 + torch.rand(outputs, generator=generator)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    layer("_conv_stem", "_bn0", 3, 32, 3)
    for number, (_, kernel, _, inputs, hidden, outputs) in enumerate(published_blocks(variant)):
        block = f"_blocks.{number}"
        if hidden != inputs:
            layer(f"{block}._expand_conv", f"{block}._bn0", inputs, hidden, 1)
        layer(f"{block}._depthwise_conv", f"{block}._bn1", 1, hidden, kernel)
        layer(f"{block}._project_conv", f"{block}._bn2", hidden, outputs, 1)
        state[f"{block}._bn2.weight"] *= 0.3  # or the sum over a stage's residuals grows without bound
    layer("_conv_head", "_bn1", outputs, 1280, 1)
    state["_fc.weight"], state["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return state


def published_features(variant: str, state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The outputs of stages 2, 3, 4, 5 and 7, with separate batch norms and padding by TensorFlow's formula."""

    def layer(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{convolution}.weight"]
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max((math.ceil(size / stride) - 1) * stride + weight.shape[-1] - size, 0)
            pads += [total // 2, total - total // 2]
        x = F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)
        mean, variance, gamma, beta = (
            state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=1e-3)

    x = layer(x, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
    stages: dict[int, Tensor] = {}
    for number, (stage, _, stride, inputs, hidden, outputs) in enumerate(published_blocks(variant)):
        block, y = f"_blocks.{number}", x
        if hidden != inputs:
            y = layer(y, f"{block}._expand_conv", f"{block}._bn0").clamp(0, 6)
        y = layer(y, f"{block}._depthwise_conv", f"{block}._bn1", stride, hidden).clamp(0, 6)
        y = layer(y, f"{block}._project_conv", f"{block}._bn2")
        x = x + y if stride == 1 and inputs == outputs else y
        stages[stage + 1] = x
    return [stages[stage] for stage in (2, 3, 4, 5, 7)]
