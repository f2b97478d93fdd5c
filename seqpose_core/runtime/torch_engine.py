# SPDX-License-Identifier: Apache-2.0
"""The runtimes ``eager`` and ``compiled``: torch, with or without torch.compile."""

from __future__ import annotations

import torch

from seqpose_core.model.memory import TopQueries
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.model.step_graph import StepGraph, StepInput, split_outputs


class TorchEngine:
    """A network in torch, on any device.

    :param model: is moved to ``device`` and set to evaluation mode.
    :param precision: ``fp32`` or ``bf16`` (autocast). :param compiled: whether to use torch.compile.
    """

    def __init__(self, model: SeqPose, device: torch.device, precision: str = "fp32", compiled: bool = False) -> None:
        self.config, self.device, self.model = model.config, device, model
        self.runtime = "compiled" if compiled else "eager"
        self._bf16 = precision == "bf16"
        graph = StepGraph(model).to(device).eval()
        self._run = torch.compile(graph) if compiled else graph

    @torch.inference_mode()
    def __call__(self, step: StepInput) -> tuple[ObjectPrediction, TopQueries]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            outputs = self._run(*step)
        return split_outputs(self.config, outputs)
