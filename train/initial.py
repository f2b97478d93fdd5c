# SPDX-License-Identifier: Apache-2.0
"""What a new run starts from, and which parts of the network it leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from seqpose_core import checkpoint, config_io, weights
from seqpose_core.model.encoder_weights import load_pretrained
from seqpose_core.model.seqpose import SeqPose
from train.config import TrainConfig


def initialise(model: SeqPose, config: TrainConfig, allow_download: bool = False) -> None:
    """Give a new run the weights it starts from: a checkpoint's, whole or in parts, or the encoder's pretrained ones.

    :raises ValueError: if a part is frozen and nothing says what it holds, or if ``init_from`` does not fit.
    """
    encoder = config.model.encoder
    taken = set(config.init_parts or parts(model)) if config.init_from else set()
    if config.init_from and config.init_parts:
        _load_parts(model, config.init_from, taken)
    elif config.init_from:
        weights.load_into(model, _tensors(checkpoint.load(config.init_from)), f"{config.init_from} does not fit")
    if encoder.pretrained and "encoder" not in taken:
        load_pretrained(model.encoder, encoder.pretrained, allow_download)
        taken.add("encoder")
    if encoder.frozen and "encoder" not in taken:
        raise ValueError(
            "encoder.frozen is true, but its weights would be random; set encoder.pretrained or init_from, or "
            "frozen: false"
        )
    for part in config.frozen_parts:
        if part not in taken:
            raise ValueError(
                f"frozen_parts names {part!r}, but its weights would be random; name it in init_parts of a checkpoint"
            )


def freeze(model: SeqPose, names: Iterable[str]) -> None:
    """Take the parts out of training; no gradient is computed for what only they need.

    :raises ValueError: for a part that the network does not have.
    """
    for name in names:
        _part(model, name, "frozen_parts").requires_grad_(False)


def parts(model: SeqPose) -> list[str]:
    """Names of the network's parts that hold weights."""
    return [name for name, part in model.named_children() if any(True for _ in part.parameters())]


def _load_parts(model: SeqPose, source: str, names: set[str]) -> None:
    trained = checkpoint.load(source)
    for name in sorted(names):
        part = _part(model, name, "init_parts")
        if name not in parts(trained):
            raise ValueError(f"init_from {source} has no part {name!r}; it has {', '.join(parts(trained))}")
        weights.load_into(part, _tensors(getattr(trained, name)), f"{name} of {source} does not fit")


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {weights.published_name(name): tensor for name, tensor in module.state_dict().items()}


def _part(model: SeqPose, name: str, key: str) -> nn.Module:
    known = parts(model)
    if name not in known:
        raise ValueError(f"{key} names {name!r}; {config_io.nearest(name, known)}")
    part: nn.Module = getattr(model, name)
    return part
