# SPDX-License-Identifier: Apache-2.0
"""Weights in the files and names that the authors of DINOv2 and Depth Anything V2 publish."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from encoders_rig import DINOV2, copy_of, depth_anything, network
from torch import Tensor

from seqpose_core.model.encoder_weights import load_pretrained
from seqpose_core.weights import CheckpointError, published_name


def dinov2_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of github.com/facebookresearch/dinov2 for a backbone of transformers."""
    out = {
        "cls_token": state["embeddings.cls_token"],
        "mask_token": state["embeddings.mask_token"],
        "pos_embed": state["embeddings.position_embeddings"],
        "patch_embed.proj.weight": state["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": state["embeddings.patch_embeddings.projection.bias"],
    }
    for kind in ("weight", "bias"):
        out[f"norm.{kind}"] = state[f"layernorm.{kind}"]
        for i in range(4):
            old, new = f"encoder.layer.{i}.", f"blocks.{i}."
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                out[f"{new}{name}.{kind}"] = state[f"{old}{name}.{kind}"]
            parts = [state[f"{old}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            out[f"{new}attn.qkv.{kind}"] = torch.cat(parts)
            out[f"{new}attn.proj.{kind}"] = state[f"{old}attention.output.dense.{kind}"]
            out[f"{new}ls1.gamma"] = state[f"{old}layer_scale1.lambda1"]
            out[f"{new}ls2.gamma"] = state[f"{old}layer_scale2.lambda1"]
    return out


def depth_anything_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of github.com/DepthAnything/Depth-Anything-V2."""
    backbone = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    out = {f"pretrained.{name}": tensor for name, tensor in dinov2_names(backbone).items()}
    for i in range(4):
        out[f"depth_head.scratch.layer{i + 1}_rn.weight"] = state[f"neck.convs.{i}.weight"]
        for kind in ("weight", "bias"):
            stage = f"neck.reassemble_stage.layers.{i}."
            out[f"depth_head.projects.{i}.{kind}"] = state[f"{stage}projection.{kind}"]
            if i != 2:  # the third map keeps its resolution
                out[f"depth_head.resize_layers.{i}.{kind}"] = state[f"{stage}resize.{kind}"]
            new, old = f"depth_head.scratch.refinenet{4 - i}.", f"neck.fusion_stage.layers.{i}."
            out[f"{new}out_conv.{kind}"] = state[f"{old}projection.{kind}"]
            for unit in (1, 2):
                for conv in (1, 2):
                    published = f"{new}resConfUnit{unit}.conv{conv}.{kind}"
                    out[published] = state[f"{old}residual_layer{unit}.convolution{conv}.{kind}"]
            out[f"depth_head.scratch.output_conv{1 if i == 0 else f'2.{2 * (i - 1)}'}.{kind}"] = torch.zeros(1)
    return out


def published_state() -> dict[str, Tensor]:
    theirs = depth_anything()
    return {published_name(name): tensor.clone() for name, tensor in theirs.state_dict().items()}


def loaded(source: Path) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = network(DINOV2)
    load_pretrained(model.encoder, source)
    return copy_of(model.state_dict())


def test_depth_anything_loads_from_the_published_file_as_from_transformers(tmp_path: Path) -> None:
    theirs = depth_anything()
    theirs.save_pretrained(tmp_path / "folder")
    state = {published_name(name): tensor for name, tensor in theirs.state_dict().items()}
    torch.save(depth_anything_names(state), tmp_path / "depth_anything_v2_vits.pth")
    expected, actual = loaded(tmp_path / "folder"), loaded(tmp_path / "depth_anything_v2_vits.pth")
    assert all(torch.equal(expected[name], actual[name]) for name in expected if name.startswith("encoder."))


def test_dinov2_loads_from_the_published_file_as_from_transformers(tmp_path: Path) -> None:
    theirs = depth_anything()
    theirs.backbone.save_pretrained(tmp_path / "folder")
    state = {published_name(name): tensor for name, tensor in theirs.backbone.state_dict().items()}
    torch.save(dinov2_names(state), tmp_path / "dinov2_vits14_pretrain.pth")
    expected, actual = loaded(tmp_path / "folder"), loaded(tmp_path / "dinov2_vits14_pretrain.pth")
    assert all(torch.equal(expected[name], actual[name]) for name in expected if "backbone" in name)


def test_a_misfit_is_named(tmp_path: Path) -> None:
    state = depth_anything_names(published_state())
    state["pretrained.pos_embed"] = torch.zeros(1, 5, 32)
    del state["depth_head.projects.1.bias"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError) as error:
        loaded(tmp_path / "other.pth")
    assert "1 tensors missing: neck.reassemble_stage.layers.1.projection.bias" in str(error.value)
    assert "backbone.embeddings.position_embeddings is (1, 5, 32), needs (1, 17, 32)" in str(error.value)


def test_a_file_that_is_not_a_file_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "code.pth"
    path.write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(CheckpointError, match="damaged or holds more than tensors"):
        loaded(path)
    torch.save({"fc.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="neither DINOv2's tensor cls_token"):
        loaded(path)
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(CheckpointError, match=r"code\.pth is"):
        loaded(path)
