# SPDX-License-Identifier: Apache-2.0
"""Load pretrained weights of an encoder from a folder, a file or the hub: all tensors fit, or none is loaded."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from seqpose_core import weights
from seqpose_core.model.backbone import BackboneEncoder
from seqpose_core.model.efficientnet_lite import EfficientNetLiteEncoder
from seqpose_core.model.efficientnet_lite_weights import load_efficientnet_lite
from seqpose_core.model.eva02 import Eva02, Eva02Encoder
from seqpose_core.model.eva02_weights import backbone_tensors
from seqpose_core.model.published_names import read_published
from seqpose_core.weights import CheckpointError

_LOG = logging.getLogger(__name__)
_CONFIG, _WEIGHTS = "config.json", ("model.safetensors", "model.safetensors.index.json")

#: Tensors of published files that this network does not use: the mask token of DINOv2's training task, a branch
#: without input, and the head for relative depth.
_UNUSED = ("backbone.embeddings.mask_token", "neck.fusion_stage.layers.0.residual_layer1.", "head.")
_DEPTH_DECODER = ("neck.convs.", "neck.fusion_stage.")

#: Settings that change the output of a backbone but not the shapes of its weights, or not all of them.
_BACKBONE = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "mlp_ratio",
    "hidden_act",
    "layer_norm_eps",
    "qkv_bias",
    "num_channels",
    "patch_size",
    "use_swiglu_ffn",
    "num_register_tokens",
    "window_block_indices",
    "residual_block_indices",
    "use_absolute_position_embeddings",
    "use_relative_position_embeddings",
)
_TAPS = ("out_indices", "apply_layernorm")
_NECK = ("reassemble_hidden_size", "reassemble_factors", "neck_hidden_sizes", "fusion_hidden_size")


def load_pretrained(encoder: nn.Module, source: str | Path, allow_download: bool = False) -> None:
    """Initialise ``encoder`` from pretrained weights.

    Weights of Depth Anything initialise the backbone and the neck. Weights of a backbone only (DINOv2, DINOv2 with
    registers, ViTDet, EVA-02) initialise the backbone; the layers after it keep their random weights, which is logged.

    EfficientNet-Lite takes an installed package or a file, see
    :func:`seqpose_core.model.efficientnet_lite_weights.load_efficientnet_lite`.

    :param source: a folder written by transformers' ``save_pretrained``, a hub id (``owner/name``), or a .pth file as
        the authors of DINOv2 and Depth Anything V2 publish it. Such a file has no configuration, so only the names and
        shapes of its tensors are checked. For EVA-02 a folder or hub id in timm's layout.
    :param allow_download: whether a hub id may be downloaded; otherwise only a cached copy is used.
    :raises CheckpointError: naming the settings, or the missing, unknown and misshaped tensors, that do not fit; the
        encoder is then unchanged.
    """
    if isinstance(encoder, EfficientNetLiteEncoder):
        load_efficientnet_lite(encoder, source)
        return
    if not isinstance(encoder, BackboneEncoder):
        raise CheckpointError(f"a {type(encoder).__name__} is trained from scratch; it takes no weights from {source}")
    file = Path(source).expanduser()
    if file.suffix in (".pth", ".pt") and file.is_file():
        tensors, with_neck = read_published(file)
        _load(encoder, tensors, with_neck, file)
        return
    folder = _locate(source, allow_download)
    if isinstance(encoder, Eva02Encoder):
        _load_eva02(encoder, folder)
        return
    stored = _read_config(folder)
    expected: Any = encoder.backbone.config
    with_neck = stored.model_type == "depth_anything"
    backbone = stored.backbone_config if with_neck else stored
    if backbone.model_type != expected.model_type or (with_neck and expected.model_type == "vitdet"):
        name = f"{backbone.model_type} backbone{' with a Depth Anything neck' if with_neck else ''}"
        raise CheckpointError(f"{folder} contains a {name}; this encoder needs a {expected.model_type} backbone")
    names = [name for name in _BACKBONE if hasattr(expected, name)]
    # ViTDet has a separate setting for the size of its position embedding; DINOv2 does not.
    names.append("pretrain_image_size" if expected.model_type == "vitdet" else "image_size")
    differences = _differences(backbone, expected, names + list(_TAPS if with_neck else ()))
    if with_neck:
        neck: Any = encoder.neck
        differences += _differences(stored, neck.config, _NECK)
    if differences:
        raise CheckpointError(f"{folder / _CONFIG} does not fit this encoder: {'; '.join(differences)}")

    found = _weight_file(folder)
    _load(encoder, weights.read(found), with_neck, found)


def _load_eva02(encoder: Eva02Encoder, folder: Path) -> None:
    """Load the backbone from a folder in timm's layout: config.json names the architecture."""
    try:
        architecture = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))["architecture"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / _CONFIG} names no architecture of timm: {error!r}") from error
    if not str(architecture).startswith("eva02_"):
        raise CheckpointError(f"{folder} contains {architecture!r}; this encoder needs a model eva02_* of timm")
    file = _weight_file(folder)
    backbone = encoder.backbone
    assert isinstance(backbone, Eva02)
    tensors = backbone_tensors(weights.read(file), backbone.rows, backbone.columns)
    weights.load_into(backbone, tensors, f"{file} does not fit this encoder's backbone")
    _LOG.warning("%s contains a backbone only: the layers after it start from random weights", file)


def _weight_file(folder: Path) -> Path:
    found = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder} has neither {' nor '.join(_WEIGHTS)}; no other format is read")
    return found


def _load(encoder: BackboneEncoder, tensors: dict[str, Tensor], with_neck: bool, file: Path) -> None:
    """Copy the tensors into the encoder; without a neck, into its backbone."""
    if not with_neck:
        tensors = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    unused = _UNUSED if getattr(encoder, "depth_decoder", False) else _UNUSED + _DEPTH_DECODER
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(unused)}
    if with_neck:
        weights.load_into(encoder, tensors, f"{file} does not fit this encoder")
    else:
        tensors = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
        weights.load_into(encoder.backbone, tensors, f"{file} does not fit this encoder's backbone")
        _LOG.warning("%s contains a backbone only: the layers after it start from random weights", file)


def _locate(source: str | Path, allow_download: bool) -> Path:
    folder: Path | None = Path(source).expanduser()
    if weights.is_hub_id(source):
        folder = weights.from_hub(str(source), [_CONFIG, "*.safetensors", _WEIGHTS[1]], allow_download)
        if folder is None:
            raise CheckpointError(
                f"encoder weights {str(source)!r} are not a folder, and no hub model of that name is in the cache; "
                f"give a local folder, or allow the download (--download, or allow_download=True in Python)"
            )
    assert folder is not None
    if not (folder / _CONFIG).is_file():
        raise CheckpointError(f"encoder weights {str(source)!r}: {folder / _CONFIG} does not exist")
    return folder


def _read_config(folder: Path) -> Any:
    """The transformers configuration of a folder."""
    from transformers import DepthAnythingConfig, Dinov2Config, Dinov2WithRegistersConfig, VitDetConfig

    known = {c.model_type: c for c in (DepthAnythingConfig, Dinov2Config, Dinov2WithRegistersConfig, VitDetConfig)}
    try:
        data = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        kind = data.get("model_type")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / _CONFIG} is not a transformers configuration: {error}") from error
    if kind not in known:
        raise CheckpointError(f"{folder / _CONFIG} has model_type {kind!r}; it must be one of {', '.join(known)}")
    return known[kind].from_dict(data)


def _differences(stored: Any, expected: Any, names: list[str] | tuple[str, ...]) -> list[str]:
    values = [(name, _plain(getattr(stored, name, None)), _plain(getattr(expected, name, None))) for name in names]
    return [f"{name} is {have}, needs {need}" for name, have, need in values if have != need]


def _plain(value: Any) -> Any:
    """Tuples as lists, and two equal sides as one number."""
    if isinstance(value, (list, tuple)):
        value = list(value)
        return value[0] if len(value) == 2 and value[0] == value[1] else value
    return value
