# SPDX-License-Identifier: Apache-2.0
"""The runtime ``openvino``: Intel's and ARM's CPUs in float32 or bfloat16."""

from __future__ import annotations

import io
import sys
import threading
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

FILE, WEIGHTS = "step.xml", "step.bin"


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry. :raises RuntimeUnavailableError: if it is not installed."""
    # OpenVINO's converter sends usage statistics unless the package openvino_telemetry cannot be imported.
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"runtime openvino needs the package openvino ({error}): pip install 'seqpose[openvino]'"
        ) from error
    return openvino


def convert(model: SeqPose, example: StepArrays, folder: Path) -> tuple[str, ...]:
    """Convert a model to ``folder``/step.xml and step.bin, for inputs with the shapes of ``example``.

    :return: names of the outputs.
    :raises OSError: if the files cannot be written.
    """
    import torch

    from seqpose_core.model.step_graph import export_graph, output_names

    openvino = import_openvino()
    tensors = tuple(torch.from_numpy(getattr(example, name)) for name in input_names(model.config))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns that shapes become constants, which is intended
        try:
            converted = openvino.convert_model(export_graph(model), example_input=tensors)
        except Exception as error:  # of many types, of OpenVINO and of the tracer
            raise RuntimeUnavailableError(f"OpenVINO cannot convert this model: {error}") from error
    converted.reshape({port.any_name: list(x.shape) for port, x in zip(converted.inputs, tensors, strict=True)})
    try:
        openvino.save_model(converted, folder / FILE, compress_to_fp16=False)
    except RuntimeError as error:  # for example on a full disk
        raise OSError(f"{folder / FILE} cannot be written: {error}") from error
    return output_names(model.config)


class OpenVinoEngine:
    """A converted model in OpenVINO on the CPU, with the number of threads of :mod:`seqpose_core.threads`."""

    def __init__(
        self,
        folder: Path,
        config: SeqPoseConfig,
        outputs: tuple[str, ...],
        precision: str = "fp32",
        compiled: bytes | None = None,
    ) -> None:
        """:param outputs: names of the outputs. :param compiled: of an earlier engine; None: the model is compiled.

        :raises RuntimeUnavailableError: if OpenVINO is missing or the CPU does not support the precision.
        :raises seqpose_core.weights.CheckpointError: if a file is missing or damaged, or the network is of another
            configuration.
        """
        openvino = import_openvino()
        self.config, self.device, self.runtime = config, "cpu", "openvino"
        core = openvino.Core()
        supported = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in supported:
            raise RuntimeUnavailableError(
                f"OpenVINO has no bf16 on this CPU, only {', '.join(supported)}; set precision to fp32"
            )
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads.get_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            # Pinned threads of two programs can share a core while another one is idle.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            if compiled:
                self._compiled = core.import_model(io.BytesIO(compiled), "CPU", properties)
            else:
                self._compiled = core.compile_model(core.read_model(folder / FILE), "CPU", properties)
        except RuntimeError as error:
            raise CheckpointError(f"{folder / FILE} cannot be loaded: {error}") from error
        self.threads = int(self._compiled.get_property("INFERENCE_NUM_THREADS"))
        self._inputs, self._outputs = len(self._compiled.inputs), outputs
        check_inputs(self._inputs, config, folder / FILE)
        self._request = self._compiled.create_infer_request()
        self._lock = threading.Lock()  # a request runs one step at a time

    def compiled(self) -> bytes:
        """The compiled network, for another engine on this machine."""
        stream = io.BytesIO()
        self._compiled.export_model(stream)
        return stream.getvalue()

    def __call__(self, step: StepArrays) -> dict[str, np.ndarray]:
        # One sample after the other: on a CPU a batch is not faster, and it would need a second compiled model.
        rows = [self._infer([array[i : i + 1] for array in step[: self._inputs]]) for i in range(len(step.image))]
        outputs = rows[0] if len(rows) == 1 else [np.concatenate(arrays) for arrays in zip(*rows, strict=True)]
        return dict(zip(self._outputs, outputs, strict=True))

    def _infer(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        with self._lock:
            return list(self._request.infer([np.ascontiguousarray(a) for a in inputs], share_inputs=True).values())
