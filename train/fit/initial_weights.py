# SPDX-License-Identifier: Apache-2.0
"""What a new run starts from, and which parts of the network it leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter

from torch import Tensor

from seqpose_core import checkpoint, config_io, weights
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.encoder_weights import load_pretrained
from seqpose_core.model.seqpose import SeqPose
from train.fit.config import TrainConfig

#: What makes other numbers of the same weights, by the part that holds them; no tensor's shape tells.
_MEANINGS = {
    "heads": ("head.translation", "head.rotation", "canonical_focal"),
    "centre_head": ("canonical_focal",),
    "dense_heads": ("canonical_focal",),
    "layers": ("decoder.heads",),
    "encoder": ("encoder.kind", "encoder.heads"),
}


def load_initial_weights(model: SeqPose, config: TrainConfig, allow_download: bool = False) -> None:
    """Give a new run the weights it starts from: a checkpoint's, whole or in parts, or the encoder's pretrained ones.

    :raises ValueError: if a part is frozen and nothing says what it holds, or if ``init_from`` does not fit.
    """
    encoder = config.model.encoder
    taken: set[str] = set()
    if config.init_from:
        taken = set(config.init_parts or part_names(model))
        _load_parts(model, config.init_from, config.init_parts)
    if encoder.pretrained and "encoder" not in taken:
        load_pretrained(model.encoder, encoder.pretrained, allow_download)
        taken.add("encoder")
    if "encoder" not in taken:
        for name in ("frozen", "frozen_blocks", "freeze_depthwise"):
            if value := getattr(encoder, name):
                raise ValueError(
                    f"encoder.{name} is {str(value).lower()}, but its weights would be random; set encoder.pretrained "
                    f"or init_from, or {name}: {str(type(value)()).lower()}"
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
        _check_part(model, name, "frozen_parts")
        getattr(model, name).requires_grad_(False)


def part_names(model: SeqPose) -> list[str]:
    """Names of the network's parts that hold weights: modules, and parameters of its own (the anchors)."""
    return list(dict.fromkeys(name.split(".")[0] for name, _ in model.named_parameters()))


def _load_parts(model: SeqPose, source: str, names: tuple[str, ...]) -> None:
    """Copy the named parts, or without names everything."""
    trained = checkpoint.load(source)
    for name in names:
        _check_part(model, name, "init_parts")
        if name not in part_names(trained):
            raise ValueError(f"init_from {source} has no part {name!r}; it has {', '.join(part_names(trained))}")
    _check_meanings(model, trained, source, names or tuple(part_names(model)))
    own = {} if not names else {k: v for k, v in _tensors(model).items() if k.split(".")[0] not in names}
    theirs = {k: v for k, v in _tensors(trained).items() if not names or k.split(".")[0] in names}
    weights.load_into(model, own | theirs, f"init_from {source} does not fit")


def _check_meanings(model: SeqPose, trained: SeqPose, source: str, names: Iterable[str]) -> None:
    for key in dict.fromkeys(key for name in names for key in _MEANINGS.get(name, ())):
        wanted, held = (attrgetter(key)(_resolved(m.config)) for m in (model, trained))
        if wanted != held:
            raise ValueError(f"init_from {source} was trained with {key} {held!r}; this network has {wanted!r}")


def _resolved(config: SeqPoseConfig) -> SeqPoseConfig:
    return replace(config, encoder=config.encoder.resolved())


def _tensors(model: SeqPose) -> dict[str, Tensor]:
    return {weights.published_name(name): tensor for name, tensor in model.state_dict().items()}


def _check_part(model: SeqPose, name: str, key: str) -> None:
    known = part_names(model)
    if name not in known:
        raise ValueError(f"{key} names {name!r}; {config_io.nearest(name, known)}")
