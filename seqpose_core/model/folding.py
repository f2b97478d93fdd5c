# SPDX-License-Identifier: Apache-2.0
"""Merge the 1x1 convolutions between encoder and deformable attention, for inference."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from seqpose_core.model.seqpose import SeqPose


def fold_projections(model: SeqPose) -> SeqPose:
    """A copy of a network that has one convolution from (s_i, g_i) to the values of each layer, where that is cheaper.

    The fusion (Eq. 3), the reduction to the decoder's width and the value projection of Eq. 8 are linear and have
    nothing between them. Level 0 is not folded if proposals or dense maps are computed from its fused map. The other
    modules and all parameters are shared with ``model``; later changes of its fusion, reduction and value weights have
    no effect.
    """
    replaced = {"fusion", "reduce", "layers", "values"}
    shared = {id(child): child for name, child in model.named_children() if name not in replaced}
    tensors = {id(p): p for p in model.parameters()}
    # The memo of deepcopy maps the parts that are not copied to themselves.
    folded = copy.deepcopy(
        model, {**shared, **tensors, id(model.config): model.config, id(model._buffers): model._buffers}
    )
    width, finest = model.config.decoder.width, model.config.decoder.finest_level
    shared_values = model.config.decoder.shared_values
    projections: list[Any] = [folded.values] if shared_values else [layer.deformable.values for layer in folded.layers]
    layers = len(projections)
    for level, fusion in enumerate(model.fusion.convolutions):
        if level == 0 and (model.config.queries.proposals or model.config.decoder.guided):
            continue
        if level < finest:
            folded.fusion.convolutions[level] = nn.Identity()  # not used
            continue
        fusion, reduce = cast(nn.Conv2d, fusion), model.reduce[level]
        separate = fusion.in_channels * fusion.out_channels + width * width * layers
        if isinstance(reduce, nn.Conv2d):
            separate += fusion.out_channels * width
        if fusion.in_channels * width * layers > separate:
            continue
        for values in projections:
            values[level - finest] = _compose(values[level - finest], reduce, fusion)
        folded.fusion.convolutions[level] = folded.reduce[level] = nn.Identity()
    return folded


@torch.no_grad()
def _compose(*convolutions: nn.Module) -> nn.Conv2d:
    """The 1x1 convolution equal to several in sequence, the last one first; identities are left out."""
    weight: Tensor | None = None
    bias: Tensor | None = None
    for convolution in reversed(convolutions):
        if isinstance(convolution, nn.Identity):
            continue
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        w, b = convolution.weight.double().flatten(1), convolution.bias.double()
        weight, bias = (w, b) if weight is None or bias is None else (w @ weight, w @ bias + b)
    assert weight is not None and bias is not None
    composed = nn.Conv2d(weight.shape[1], weight.shape[0], 1, device=weight.device)
    composed.weight.copy_(weight[..., None, None])
    composed.bias.copy_(bias)  # type: ignore[union-attr]
    return composed
