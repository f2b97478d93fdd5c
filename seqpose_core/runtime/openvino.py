# SPDX-License-Identifier: Apache-2.0
"""The runtime ``openvino``: Intel's and ARM's CPUs in float32 or bfloat16."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.memory import TopQueries
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.model.step_graph import StepGraph, StepInput, split_outputs
from seqpose_core.runtime.engine import RuntimeUnavailableError
from seqpose_core.weights import CheckpointError

FILE = "step.xml"  # and step.bin


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


def convert(model: SeqPose, example: StepInput, folder: Path) -> None:
    """Convert a model to ``folder``/step.xml and step.bin, for inputs with the shapes of ``example``."""
    openvino = import_openvino()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns that shapes become constants, which is intended
        try:
            converted = openvino.convert_model(StepGraph(model).eval(), example_input=tuple(example))
        except Exception as error:  # of many types, of OpenVINO and of the tracer
            raise RuntimeUnavailableError(f"OpenVINO cannot convert this model: {error}") from error
    converted.reshape({port.any_name: list(x.shape) for port, x in zip(converted.inputs, example, strict=True)})
    openvino.save_model(converted, folder / FILE, compress_to_fp16=False)


class OpenVinoEngine:
    """A converted model in OpenVINO on the CPU, with the number of threads that torch has when it is loaded."""

    def __init__(self, folder: Path, config: SeqPoseConfig, precision: str = "fp32") -> None:
        """:raises RuntimeUnavailableError: if OpenVINO is missing or the CPU does not support the precision.

        :raises seqpose_core.weights.CheckpointError: if a file is missing or damaged.
        """
        openvino = import_openvino()
        self.config, self.device, self.runtime = config, torch.device("cpu"), "openvino"
        core = openvino.Core()
        supported = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in supported:
            raise RuntimeUnavailableError(
                f"OpenVINO has no bf16 on this CPU, only {', '.join(supported)}; set precision to fp32"
            )
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            # Pinned threads of two programs can share a core while another one is idle.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = core.compile_model(core.read_model(folder / FILE), "CPU", properties)
        except RuntimeError as error:
            raise CheckpointError(f"{folder / FILE} cannot be loaded: {error}") from error
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self._request = compiled.create_infer_request()

    def __call__(self, step: StepInput) -> tuple[ObjectPrediction, TopQueries]:
        outputs = self._request.infer([tensor.contiguous().numpy() for tensor in step], share_inputs=True)
        return split_outputs(self.config, [torch.from_numpy(array) for array in outputs.values()])
