# SPDX-License-Identifier: Apache-2.0
"""The runtimes ``eager`` and ``compiled``: torch, with or without torch.compile."""

from __future__ import annotations

import threading

import numpy as np
import torch

from seqpose_core import threads
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.model.step_graph import StepGraph, output_names
from seqpose_core.runtime.engine import StepArrays, move_to


class TorchEngine:
    """A network in torch, on any device.

    :param model: is moved to ``device`` and set to evaluation mode.
    :param precision: ``fp32`` or ``bf16`` (autocast). :param compiled: whether to use torch.compile.
    """

    def __init__(self, model: SeqPose, device: str, precision: str = "fp32", compiled: bool = False) -> None:
        threads.apply_to_torch()
        self.config, self.device, self.model = model.config, device, model
        self.runtime = "compiled" if compiled else "eager"
        self._names = output_names(model.config)
        graph = move_to(StepGraph(model), device).eval()
        self._device, self._bf16 = torch.device(device), precision == "bf16"
        self._run = torch.compile(graph) if compiled else graph
        self._lock = threading.Lock()
        self._stream: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # the weights were copied on the default stream
            self._stream = torch.cuda.Stream(self._device)

    @torch.inference_mode()
    def __call__(self, step: StepArrays) -> dict[str, np.ndarray]:
        tensors = [torch.from_numpy(array) for array in step]
        with self._lock, torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            if self._stream is None:
                outputs = [tensor.cpu() for tensor in self._run(*(tensor.to(self._device) for tensor in tensors))]
            else:
                outputs = self._run_on_stream(tensors, self._stream)
        return {name: tensor.numpy() for name, tensor in zip(self._names, outputs, strict=True)}

    def _run_on_stream(self, tensors: list[torch.Tensor], stream: torch.cuda.Stream) -> list[torch.Tensor]:
        """Queue copies from and to pinned memory and all kernels on one stream, and wait once, for the results."""
        with torch.cuda.stream(stream):
            inputs = [tensor.pin_memory().to(self._device, non_blocking=True) for tensor in tensors]
            outputs = [tensor.to("cpu", non_blocking=True) for tensor in self._run(*inputs)]
        stream.synchronize()
        return outputs
