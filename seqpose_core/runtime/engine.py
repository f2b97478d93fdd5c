# SPDX-License-Identifier: Apache-2.0
"""Engine: what every runtime implements. Inputs and outputs are NumPy arrays: only torch's runtimes need torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.weights import CheckpointError

if TYPE_CHECKING:
    import torch

_Module = TypeVar("_Module", bound="torch.nn.Module")


class RuntimeUnavailableError(ValueError):
    """A runtime cannot be used here: its package is missing, or it does not support the device or precision."""


class EngineMismatchError(RuntimeUnavailableError):
    """The results of an engine on the bundled frames differ from those of eager torch."""


def move_to(model: _Module, device: str) -> _Module:
    """The model on ``device``.

    :raises RuntimeUnavailableError: torch cannot use the device here.
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).strip().partition("\n")[0]
        raise RuntimeUnavailableError(f"device {device!r} cannot be used here ({reason}); 'cpu' can") from error


class StepArrays(NamedTuple):
    """The inputs of a step for B streams and S memory slots, as in :class:`seqpose_core.model.step_graph.StepInput`.

    :param image: (B, H, W, 3) uint8 RGB, of the network's size.
    :param intrinsics: (B, 3, 3) float32, pixels of this image.
    :param motion, elapsed, known: (B, S, 3, 4) and (B, S) float32, (B, S) bool.
    :param embedding, reference, valid: (B, S, C) and (B, S, 3) float32, (B, S) bool, newest frame first.
    """

    image: np.ndarray
    intrinsics: np.ndarray
    motion: np.ndarray
    elapsed: np.ndarray
    known: np.ndarray
    embedding: np.ndarray
    reference: np.ndarray
    valid: np.ndarray


def input_names(config: SeqPoseConfig) -> tuple[str, ...]:
    """Names of the inputs of an exported step: all fields of StepArrays, or the first two without a memory."""
    return StepArrays._fields if config.memory.frames else StepArrays._fields[:2]


def check_inputs(count: int, config: SeqPoseConfig, path: Path) -> None:
    """Check the number of inputs of an exported network.

    :raises seqpose_core.weights.CheckpointError: if the network has more or less than its configuration.
    """
    expected = len(input_names(config))
    if count != expected:
        raise CheckpointError(
            f"{path} has {count} inputs; with {config.memory.frames} memory frames it must have {expected}: "
            "export the network again"
        )


@runtime_checkable
class Engine(Protocol):
    """A loaded network that runs one step per call. It keeps no state between calls; several threads may call it.

    :param config: the configuration of the network; its memory has ``config.memory.frames`` frames.
    :param device: ``cpu`` or the name of another device of torch.
    :param runtime: ``eager``, ``compiled``, ``openvino``, ``onnx`` or ``tensorrt``.
    """

    config: SeqPoseConfig
    device: str
    runtime: str

    def __call__(self, step: StepArrays) -> dict[str, np.ndarray]:
        """Run one step.

        :return: by name, the outputs of :func:`seqpose_core.model.step_graph.output_names`, each with batch axis.
        """
        ...
