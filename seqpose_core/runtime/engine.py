# SPDX-License-Identifier: Apache-2.0
"""Engine: the interface of all runtimes."""

from __future__ import annotations

from typing import Protocol

import torch

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.memory import TopQueries
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.step_graph import StepInput


class RuntimeUnavailableError(RuntimeError):
    """A runtime cannot be used here: its package is missing, or it does not support the device or precision."""


class Engine(Protocol):
    """A loaded network that runs one step at a time. It keeps no state between calls.

    :param config: of the network; the memory has ``config.memory.frames`` frames.
    :param device: of the tensors that it takes.
    """

    config: SeqPoseConfig
    device: torch.device

    def __call__(self, step: StepInput) -> tuple[ObjectPrediction, TopQueries]:
        """One step: the predicted objects and the memory's new queries."""
        ...
