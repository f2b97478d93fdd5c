# SPDX-License-Identifier: Apache-2.0
"""Engine: what every runtime implements."""

from __future__ import annotations

from typing import Protocol

import torch

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.memory import TopQueries
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.step_graph import StepInput


class RuntimeUnavailableError(RuntimeError):
    """A runtime cannot be used here: its package is missing, or it does not support the device or precision."""


class EngineMismatchError(RuntimeUnavailableError):
    """The results of an engine on the bundled frames differ from those of eager torch."""


class Engine(Protocol):
    """A loaded network that runs one step per call. It keeps no state between calls.

    :param config: the configuration of the network; its memory has ``config.memory.frames`` frames.
    :param device: the device of the input and output tensors.
    :param runtime: ``eager``, ``compiled``, ``openvino``, ``onnx`` or ``tensorrt``.
    """

    config: SeqPoseConfig
    device: torch.device
    runtime: str

    def __call__(self, step: StepInput) -> tuple[ObjectPrediction, TopQueries]:
        """Run one step; returns the predicted objects and the new queries of the memory."""
        ...
