# SPDX-License-Identifier: Apache-2.0
"""Network: a model that is read and built only if a runtime needs it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seqpose_core import checkpoint
from seqpose_core.model.config import SeqPoseConfig

if TYPE_CHECKING:  # torch takes seconds to import
    from seqpose_core.model.seqpose import SeqPose


@dataclass(frozen=True)
class Network:
    """A model that is built only if it is needed: a runtime with a cached export does not need it.

    :param config: with the requested memory length.
    :param build: returns the model, on the CPU and in evaluation mode.
    :param digest_weights: returns a digest of the weights, in hexadecimal.
    """

    config: SeqPoseConfig
    build: Callable[[], SeqPose]
    digest_weights: Callable[[], str]

    @classmethod
    def of_model(cls, model: SeqPose) -> Network:
        """The network of a model in memory."""
        return cls(model.config, lambda: model.cpu().eval(), lambda: _digest_tensors(model))

    @classmethod
    def of_checkpoint(
        cls, name_or_path: str | Path, memory_frames: int | None = None, allow_download: bool = False
    ) -> Network:
        """The network of a checkpoint, see :func:`seqpose_core.checkpoint.load`; ``memory_frames`` None: as trained.

        :raises seqpose_core.weights.CheckpointError: if the checkpoint does not exist.
        """
        folder = checkpoint.resolve(name_or_path, allow_download)
        config = config_with_memory(SeqPoseConfig.from_yaml(folder / checkpoint.CONFIG), memory_frames)
        return cls(
            config,
            lambda: with_memory(checkpoint.load(folder), memory_frames).eval(),
            lambda: _digest_file(folder / checkpoint.WEIGHTS),
        )


def config_with_memory(config: SeqPoseConfig, frames: int | None) -> SeqPoseConfig:
    """The configuration with another memory length; None: unchanged."""
    if frames is None or frames == config.memory.frames:
        return config
    return replace(config, memory=replace(config.memory, frames=frames))


def with_memory(model: SeqPose, frames: int | None) -> SeqPose:
    """The same weights with another memory length; no weight depends on it."""
    config = config_with_memory(model.config, frames)
    if config is model.config:
        return model
    changed = type(model)(config)
    changed.load_state_dict(model.state_dict())
    return changed


def _digest_tensors(model: SeqPose) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
