# SPDX-License-Identifier: Apache-2.0
"""Initial weights of a new run, and frozen parts of the network."""

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

#: Settings that change what weights of the same shape compute, by the part of the network that depends on them.
_SETTINGS_OF_PART = {
    "heads": ("head.translation", "head.rotation", "canonical_focal"),
    "centre_head": ("canonical_focal",),
    "dense_heads": ("canonical_focal",),
    "layers": ("decoder.heads",),
    "encoder": ("encoder.kind", "encoder.heads"),
}


def load_initial_weights(model: SeqPose, config: TrainConfig, allow_download: bool = False) -> None:
    """Load the weights that a new run starts from: a checkpoint or parts of it, and the encoder's pretrained weights.

    :raises seqpose_core.config_io.ConfigError: if a frozen part would have random weights, or if
        ``init_from`` does not fit.
    """
    encoder = config.model.encoder
    loaded: set[str] = set()
    if config.init_from:
        loaded = set(config.init_parts or part_names(model))
        _load_parts(model, config.init_from, config.init_parts)
    if encoder.pretrained and "encoder" not in loaded:
        load_pretrained(model.encoder, encoder.pretrained, allow_download)
        loaded.add("encoder")
    if "encoder" not in loaded:
        for name in ("frozen", "frozen_blocks", "freeze_depthwise"):
            if value := getattr(encoder, name):
                raise config_io.ConfigError(
                    f"encoder.{name} is {str(value).lower()}, but its weights would be random; set encoder.pretrained "
                    f"or init_from, or {name}: {str(type(value)()).lower()}"
                )
    for part in config.frozen_parts:
        if part not in loaded:
            raise config_io.ConfigError(
                f"frozen_parts names {part!r}, but its weights would be random; name it in init_parts of a checkpoint"
            )


def freeze(model: SeqPose, names: Iterable[str]) -> None:
    """Exclude the named parts from training; no gradients are computed for them.

    :raises seqpose_core.config_io.ConfigError: for a part that the network does not have.
    """
    for name in names:
        _check_part(model, name, "frozen_parts")
        getattr(model, name).requires_grad_(False)


def part_names(model: SeqPose) -> list[str]:
    """Names of the network's parts with weights: its submodules and its own parameters (the anchors)."""
    return list(dict.fromkeys(name.split(".")[0] for name, _ in model.named_parameters()))


def _load_parts(model: SeqPose, source: str, names: tuple[str, ...]) -> None:
    """Copy the named parts of a checkpoint, or all parts if ``names`` is empty."""
    trained = checkpoint.load(source)
    for name in names:
        _check_part(model, name, "init_parts")
        if name not in part_names(trained):
            raise config_io.ConfigError(
                f"init_from {source} has no part {name!r}; it has {', '.join(part_names(trained))}"
            )
    _check_settings(model, trained, source, names or tuple(part_names(model)))
    own = {} if not names else {k: v for k, v in _tensors(model).items() if k.split(".")[0] not in names}
    copied = {k: v for k, v in _tensors(trained).items() if not names or k.split(".")[0] in names}
    weights.load_into(model, own | copied, f"init_from {source} does not fit")


def _check_settings(model: SeqPose, trained: SeqPose, source: str, names: Iterable[str]) -> None:
    for key in dict.fromkeys(key for name in names for key in _SETTINGS_OF_PART.get(name, ())):
        expected, actual = (attrgetter(key)(_expand_encoder_size(m.config)) for m in (model, trained))
        if expected != actual:
            raise config_io.ConfigError(
                f"init_from {source} was trained with {key} {actual!r}; this network has {expected!r}"
            )


def _expand_encoder_size(config: SeqPoseConfig) -> SeqPoseConfig:
    return replace(config, encoder=config.encoder.resolved())


def _tensors(model: SeqPose) -> dict[str, Tensor]:
    return {weights.published_name(name): tensor for name, tensor in model.state_dict().items()}


def _check_part(model: SeqPose, name: str, key: str) -> None:
    known = part_names(model)
    if name not in known:
        raise config_io.ConfigError(f"{key} names {name!r}; {config_io.nearest(name, known)}")
