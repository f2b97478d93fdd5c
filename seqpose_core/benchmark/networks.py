# SPDX-License-Identifier: Apache-2.0
"""The networks that a step is compared with: stock Depth Anything V2 Small, and the model's own encoder with neck."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqpose_core import SeqPose
from seqpose_core.runtime.onnx import import_onnxruntime
from seqpose_core.runtime.openvino import import_openvino

_STOCK_SIZE = (238, 322)  # rows, columns


def build_stock() -> Callable[[], object]:
    """A function that runs stock Depth Anything V2 Small once, with random weights in eager torch."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=384,
        num_attention_heads=6,
        image_size=518,
        patch_size=14,
        out_indices=[3, 6, 9, 12],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=384,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
    )
    network, image = DepthAnythingForDepthEstimation(config).eval(), torch.rand(1, 3, *_STOCK_SIZE)
    return lambda: network(image)


class EncoderGraph(nn.Module):
    """Encoder with neck (Eq. 1 and 2) of a model, from the image of a step to all s_i and g_i that have channels."""

    def __init__(self, model: SeqPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, intrinsics: Tensor) -> tuple[Tensor, ...]:
        """image (B, H, W, 3) uint8, intrinsics (B, 3, 3)."""
        pixels = image.permute(0, 3, 1, 2).float() / 255.0
        levels = self.model.encoder((pixels - self.model.pixel_mean) / self.model.pixel_std, intrinsics)
        return tuple(z for maps in levels for z in maps if z.shape[1])


def build_encoder_run(model: SeqPose, runtime: str, image: Tensor, intrinsics: Tensor) -> Callable[[], object]:
    """A function that runs the encoder with neck once, in ``eager``, ``openvino`` or ``onnx``, float32 on the CPU."""
    graph, inputs = EncoderGraph(model).eval(), (image, intrinsics)
    if runtime == "eager":
        return lambda: graph(*inputs)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns that shapes become constants, which is intended
        return _openvino_run(graph, inputs) if runtime == "openvino" else _onnx_run(graph, inputs)


def _openvino_run(graph: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    openvino: Any = import_openvino()
    converted = openvino.convert_model(graph, example_input=inputs)
    converted.reshape({port.any_name: list(x.shape) for port, x in zip(converted.inputs, inputs, strict=True)})
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(converted, "CPU", properties).create_infer_request()
    arrays = [x.contiguous().numpy() for x in inputs]
    return lambda: request.infer(arrays, share_inputs=True)


def _onnx_run(graph: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    runtime: Any = import_onnxruntime()
    file: Any = io.BytesIO()
    torch.onnx.export(graph, inputs, file, dynamo=False, opset_version=17, input_names=["image", "intrinsics"])
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    named = dict(zip(("image", "intrinsics"), (x.contiguous().numpy() for x in inputs), strict=True))
    # An encoder that does not use the intrinsics has one input.
    arrays = {port.name: named[port.name] for port in session.get_inputs()}
    return lambda: session.run(None, arrays)
