# SPDX-License-Identifier: Apache-2.0
"""The runtimes ``onnx`` and ``tensorrt``: ONNX Runtime in float32 on CPU, CUDA or TensorRT."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqpose_core import threads
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.runtime.engine import RuntimeUnavailableError, StepArrays, check_inputs, input_names
from seqpose_core.weights import CheckpointError

if TYPE_CHECKING:
    from seqpose_core.model.seqpose import SeqPose

FILE = "step.onnx"
_OPSET = 17  # grid sampling needs 16, layer norm 17


def _missing(error: ImportError) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(f"runtime onnx needs more packages ({error}): pip install 'seqpose[onnx]'")


def import_onnxruntime() -> Any:
    """Import ONNX Runtime. :raises RuntimeUnavailableError: if it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing(error) from error
    return onnxruntime


def convert(model: SeqPose, example: StepArrays, folder: Path) -> tuple[str, ...]:
    """Convert a model to ``folder``/step.onnx, for inputs with the shapes of ``example``; returns the output names.

    :raises RuntimeUnavailableError: if the package onnx is missing.
    """
    try:
        import onnx  # noqa: F401 (torch.onnx needs it)
    except ImportError as error:
        raise _missing(error) from error
    import torch

    from seqpose_core.model.step_graph import export_graph, output_names

    inputs, names = input_names(model.config), output_names(model.config)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns that shapes become constants, which is intended
        torch.onnx.export(
            export_graph(model),
            tuple(torch.from_numpy(getattr(example, name)) for name in inputs),
            str(folder / FILE),
            dynamo=False,
            opset_version=_OPSET,
            input_names=list(inputs),
            output_names=list(names),
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *names)},
        )
    return names


class OnnxEngine:
    """A converted model in ONNX Runtime, with the number of CPU threads of :mod:`seqpose_core.threads`."""

    def __init__(
        self, folder: Path, config: SeqPoseConfig, outputs: tuple[str, ...], device: str = "cpu", tensorrt: bool = False
    ) -> None:
        """:raises RuntimeUnavailableError: if ONNX Runtime or its provider for the device is not installed.

        :raises seqpose_core.weights.CheckpointError: if the file is missing or damaged, or the network is of another
            configuration.
        """
        runtime = import_onnxruntime()
        self.config, self.device, self.runtime = config, device, "tensorrt" if tensorrt else "onnx"
        providers = ["CPUExecutionProvider"]
        cuda = device.startswith("cuda")
        if cuda:
            index = {"device_id": int(device.partition(":")[2] or 0)}
            providers = [("CUDAExecutionProvider", index), *providers]  # type: ignore[list-item]
            if tensorrt:
                providers = [("TensorrtExecutionProvider", index), *providers]  # type: ignore[list-item]
        available = runtime.get_available_providers()
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if first not in available or (tensorrt and not cuda):
            raise RuntimeUnavailableError(
                f"ONNX Runtime has {', '.join(available)}, and {device} needs "
                f"{'TensorrtExecutionProvider on a cuda device' if tensorrt else first}: install onnxruntime-gpu"
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads.get_threads(), 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.threads = int(options.intra_op_num_threads)
        try:
            self._session = runtime.InferenceSession(str(folder / FILE), options, providers=providers)
        except Exception as error:  # the exceptions of ONNX Runtime have no common base class
            raise CheckpointError(f"{folder / FILE} cannot be loaded: {error}") from error
        self._inputs, self._outputs = [item.name for item in self._session.get_inputs()], outputs
        check_inputs(len(self._inputs), config, folder / FILE)

    def compiled(self) -> bytes:
        """Empty: ONNX Runtime compiles the network at each start."""
        return b""

    def __call__(self, step: StepArrays) -> dict[str, np.ndarray]:
        results = self._session.run(list(self._outputs), {name: getattr(step, name) for name in self._inputs})
        return dict(zip(self._outputs, results, strict=True))
