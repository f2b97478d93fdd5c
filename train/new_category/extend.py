# SPDX-License-Identifier: Apache-2.0
"""Extend a network by one category without changes for the others, and blend it with its fine-tuned weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from seqpose_core.categories import Category
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.seqpose import SeqPose

#: Logits of the new category before training. That of queries is as in a new network. That of heat-map cells is below
#: most centres of the other categories, so that the proposals do not change.
_CLASS_LOGIT, _CENTRE_LOGIT = -4.0, -6.0


def extend_network(model: SeqPose, added: Category) -> SeqPose:
    """A network with the categories of ``model`` and ``added``, with the weights of ``model``.

    Each layer with a row per category gets one more row, whose logit is constant before training.

    :raises ValueError: the id of ``added`` is not the next one, its name is taken, or the network has a pose per
        category (``head.per_category``).
    """
    if model.config.head.per_category:
        raise ValueError("head.per_category is true; only networks with one pose per query can be extended")
    larger = SeqPose(replace(model.config, categories=(*model.config.categories, added)))
    state = larger.state_dict()
    for name, tensor in model.state_dict().items():
        new = _rows_of_last_category(name, larger.config)
        if tensor.shape == state[name].shape:
            state[name] = tensor
        elif name.startswith("dense_heads."):
            state[name] = _insert_rows(tensor, new.start, torch.zeros_like(tensor[: new.stop - new.start]))
        else:
            is_embedding = name.endswith("_class.weight")
            row = tensor.mean(0, keepdim=True) if is_embedding else torch.zeros_like(tensor[:1])
            if name.endswith("bias"):
                row = row + (_CENTRE_LOGIT if name.startswith("centre_head.") else _CLASS_LOGIT)
            state[name] = _insert_rows(tensor, new.start, row)
    _keep_sizes(state, model, larger)
    larger.load_state_dict(state)
    return larger.eval()


def blend(start: SeqPose, tuned: SeqPose, weight: float) -> SeqPose:
    """The mean of the weights before and after the fine-tuning: WiSE-FT (Wortsman et al. 2022).

    The rows of the last category are those after the fine-tuning, because ``start`` has not learnt them.

    :param start, tuned: of one configuration. :param weight: of ``tuned``, 0..1.
    """
    fewer = SeqPose(replace(start.config, categories=start.config.categories[:-1])).state_dict()
    before, state = start.state_dict(), {}
    for name, after in tuned.state_dict().items():
        state[name] = torch.lerp(before[name], after, weight) if after.is_floating_point() else after
        if after.shape != fewer[name].shape:
            rows = _rows_of_last_category(name, start.config)
            state[name][rows] = after[rows]
    blended = SeqPose(tuned.config)
    blended.load_state_dict(state)
    return blended.eval()


def _rows_of_last_category(name: str, config: SeqPoseConfig) -> slice:
    """Rows of the last category in a tensor that has rows per category."""
    last = len(config.categories) - 1
    if name.startswith("dense_heads."):  # segmentation logits come first, starting with background
        up = config.dense.upscale**2
        return slice((last + 1) * up, (last + 2) * up)
    return slice(last, last + 1)


def _insert_rows(tensor: Tensor, at: int, rows: Tensor) -> Tensor:
    return torch.cat([tensor[:at], rows, tensor[at:]])


def _keep_sizes(state: dict[str, Tensor], model: SeqPose, larger: SeqPose) -> None:
    """Change the biases of the size heads so that the predicted sizes stay the same.

    Sizes are predicted relative to the mean typical size of all categories, which the new category changes.
    """
    for number, (before, after) in enumerate(zip(model.heads, larger.heads, strict=True)):
        ratio = before.typical_size.double().log() - after.typical_size.double().log()  # type: ignore[operator,union-attr]
        name = f"heads.{number}.regress.2.bias"
        bias = state[name].clone()
        bias[-3:] += ratio.to(bias.dtype)
        state[name] = bias
