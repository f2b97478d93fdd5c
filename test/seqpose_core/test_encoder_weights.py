# SPDX-License-Identifier: Apache-2.0
"""Encoder weights are loaded completely or not at all, and downloaded only if allowed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from encoders_rig import CONV_VIT, DINOV2, REGISTERS, copy_of, depth_anything, network
from safetensors.torch import load_file, save_file
from tiny import frames

from seqpose_core import checkpoint
from seqpose_core.model.encoder_weights import load_pretrained
from seqpose_core.weights import CheckpointError
from train.fit.config import TrainConfig
from train.fit.initial_weights import load_initial_weights

pytestmark = pytest.mark.usefixtures("no_network")


#: Names of DINOv2's attention on disk, and in memory in recent versions of transformers.
NAMES = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def rename(file: Path, names: dict[str, str]) -> int:
    """Rename the tensors of ``file`` whose names contain a key of ``names``; returns their number."""
    tensors, renamed = load_file(file), {}
    for name, tensor in tensors.items():
        for old, new in names.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    save_file(renamed, file)
    return len(renamed.keys() - tensors.keys())


def test_weights_load_with_old_and_new_tensor_names(tmp_path: Path) -> None:
    theirs = depth_anything()
    theirs.save_pretrained(tmp_path)
    states = []
    for names in (NAMES, {new: old for old, new in NAMES.items()}):
        rename(tmp_path / "model.safetensors", names)
        model = network(DINOV2)
        load_pretrained(model.encoder, tmp_path)
        states.append(copy_of(model.state_dict()))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@torch.no_grad()
def test_checkpoint_needs_no_pretrained_folder_and_uses_published_names(tmp_path: Path) -> None:
    depth_anything().save_pretrained(tmp_path / "weights")
    model = network(replace(DINOV2, pretrained=str(tmp_path / "weights"), frozen=True))
    load_pretrained(model.encoder, tmp_path / "weights")
    checkpoint.save(model, tmp_path / "trained")
    shutil.rmtree(tmp_path / "weights")
    expected = model(*frames(1))[0].objects.translation
    assert torch.equal(checkpoint.load(tmp_path / "trained")(*frames(1))[0].objects.translation, expected)
    # Four projections in each of four layers, with weight and bias.
    assert rename(tmp_path / "trained" / "model.safetensors", NAMES) == 32
    assert torch.equal(checkpoint.load(tmp_path / "trained")(*frames(1))[0].objects.translation, expected)


def drop_and_distort(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["neck.convs.2.weight"]
    tensors["neck.stray"] = torch.zeros(1)
    tensors["backbone.layernorm.bias"] = torch.zeros(31)
    save_file(tensors, folder / "model.safetensors")


def set_config(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for name, value in values.items():
            (config["backbone_config"] if name in config["backbone_config"] else config)[name] = value
        (folder / "config.json").write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (
            drop_and_distort,
            [
                "1 tensors missing: neck.convs.2.weight",
                "1 tensors not known to this configuration: neck.stray",
                "1 tensors of another shape: backbone.layernorm.bias is (31,), needs (32,)",
            ],
        ),
        # Equal shapes, other outputs: detected by the configuration only.
        (set_config(num_attention_heads=4), ["num_attention_heads is 4, needs 2"]),
        (set_config(layer_norm_eps=1e-5), ["layer_norm_eps is 1e-05, needs 1e-06"]),
        (set_config(reassemble_factors=[4, 2, 1, 1]), ["reassemble_factors is [4, 2, 1, 1], needs [4, 2, 1, 0.5]"]),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "resnet"}'),
            ["model_type 'resnet'; it must be one of depth_anything, dinov2"],
        ),
        (lambda folder: (folder / "config.json").unlink(), ["config.json does not exist"]),
        (lambda folder: (folder / "config.json").write_text("{"), ["is not a transformers configuration"]),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            ["neither model.safetensors nor model.safetensors.index.json; no other format is read"],
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), ["is damaged or not a safetensors file"]),
    ],
)
def test_error_names_weights_that_do_not_fit_and_none_is_loaded(
    damage: Callable[[Path], Any], messages: list[str], tmp_path: Path
) -> None:
    depth_anything().save_pretrained(tmp_path)
    damage(tmp_path)
    encoder = network(DINOV2).encoder
    before = copy_of(encoder.state_dict())
    with pytest.raises(CheckpointError) as error:
        load_pretrained(encoder, tmp_path)
    for message in messages:
        assert message in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_weights_of_another_encoder_raise(tmp_path: Path) -> None:
    depth_anything().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"contains a dinov2 backbone .*this encoder needs a dinov2_with_reg"):
        load_pretrained(network(REGISTERS).encoder, tmp_path)
    with pytest.raises(CheckpointError, match=r"out_indices is \[1, 2, 3, 4\], needs \[1, 2, 3, 5\]"):
        load_pretrained(network(replace(DINOV2, depth=5, out_layers=(1, 2, 3, 5))).encoder, tmp_path)
    with pytest.raises(CheckpointError, match="ConvVitEncoder is trained from scratch"):
        load_pretrained(network(CONV_VIT).encoder, tmp_path)


def test_sharded_weights_load_completely_or_not_at_all(tmp_path: Path) -> None:
    theirs = depth_anything()
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    ours = network(DINOV2)
    load_pretrained(ours.encoder, tmp_path)
    torch.testing.assert_close(ours.encoder.neck.convs[3].weight, theirs.neck.convs[3].weight)
    shards[-1].unlink()
    ours = network(DINOV2)
    before = copy_of(ours.encoder.state_dict())
    with pytest.raises(CheckpointError, match=shards[-1].name):
        load_pretrained(ours.encoder, tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.encoder.state_dict().items())


def test_hub_id_is_read_from_the_cache_and_downloaded_only_if_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture no_network turns any network access into an error."""
    theirs = depth_anything()
    encoder = network(DINOV2).encoder
    with pytest.raises(CheckpointError, match=r"'owner/weights' are not a folder.*--download"):
        load_pretrained(encoder, "owner/weights")

    local_only: list[bool] = []
    theirs.save_pretrained(tmp_path / "fetched")

    def fetch(name: str, local_files_only: bool, allow_patterns: list[str]) -> str:
        local_only.append(local_files_only)
        assert "*.bin" not in allow_patterns
        return str(tmp_path / "fetched")

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "snapshot_download", fetch)
        load_pretrained(encoder, "owner/weights", allow_download=True)
    assert local_only == [False]

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match="hub model 'owner/weights' could not be downloaded"):
            load_pretrained(encoder, "owner/weights", allow_download=True)

    # The cache layout of huggingface_hub.
    copy = tmp_path / "hub" / "models--owner--weights"
    (copy / "refs").mkdir(parents=True)
    (copy / "refs" / "main").write_text("0" * 40)
    theirs.save_pretrained(copy / "snapshots" / ("0" * 40))
    encoder = network(DINOV2).encoder
    load_pretrained(encoder, "owner/weights")
    torch.testing.assert_close(encoder.neck.convs[0].weight, theirs.neck.convs[0].weight)


def test_training_starts_from_encoder_weights_and_a_frozen_encoder_needs_them(tmp_path: Path) -> None:
    theirs = depth_anything()
    theirs.save_pretrained(tmp_path)
    model = network(replace(DINOV2, frozen=True))
    with pytest.raises(ValueError, match=r"encoder\.frozen is true.*set encoder\.pretrained or init_from"):
        load_initial_weights(model, TrainConfig(model=model.config))
    named = replace(model.config, encoder=replace(DINOV2, frozen=True, pretrained=str(tmp_path)))
    load_initial_weights(model, TrainConfig(model=named))
    torch.testing.assert_close(model.encoder.neck.convs[0].weight, theirs.neck.convs[0].weight)
