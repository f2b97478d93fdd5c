# SPDX-License-Identifier: Apache-2.0
"""Saving and loading checkpoints and configurations, and the errors for files that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import frames, tiny_model

from seqpose_core import SeqPoseConfig, checkpoint
from seqpose_core.config_io import ConfigError
from seqpose_core.weights import CheckpointError

CONFIGS = sorted((Path(__file__).parents[2] / "config" / "model").glob("*.yaml"))


def test_a_loaded_model_predicts_the_same_as_the_saved_one(tmp_path: Path) -> None:
    model = tiny_model()
    checkpoint.save(model, tmp_path)
    for source in (tmp_path, tmp_path / "model.safetensors"):
        with torch.no_grad():
            a, b = (m(*frames(1))[0].objects for m in (model, checkpoint.load(source)))
        assert torch.equal(a.translation, b.translation)


def test_the_error_names_missing_unknown_and_misshapen_tensors(tmp_path: Path) -> None:
    checkpoint.save(tiny_model(), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    missing = next(iter(tensors))
    del tensors[missing]
    tensors["unknown"] = torch.zeros(1)
    tensors["layers.0.ffn.0.bias"] = torch.zeros(3)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(tmp_path)
    for part in (f"1 tensors missing: {missing}", "unknown", "layers.0.ffn.0.bias is (3,), needs (64,)"):
        assert part in str(error.value)


def test_the_error_names_a_damaged_file(tmp_path: Path) -> None:
    checkpoint.save(tiny_model(), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        checkpoint.load(tmp_path)


def test_a_missing_checkpoint_raises_an_error_and_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        checkpoint.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="allow_download"):
        checkpoint.load("nobody/no-such-model")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_named_configurations_are_equal_after_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = SeqPoseConfig.from_yaml(path)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert SeqPoseConfig.from_yaml(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory: {frame: 3}", r"unknown key 'memory\.frame'; did you mean 'frames'"),
        ("image_width: wide", "image_width is 'wide' .*must be a int"),
        ("image_width: 100", "image_width is 100; it must be a multiple of 14"),
        ("encoder: {kind: resnet}", r"encoder\.kind is 'resnet'; it must be one of 'conv_vit', 'dinov2'"),
        ("queries: {anchors: 0, proposals: 0}", "at least one query"),
        ("memory: 3", "must be a mapping"),
        ("memory: [", "is not YAML"),
        ("decoder: {width: true}", "must be a int"),
    ],
)
def test_invalid_configurations_raise_an_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        SeqPoseConfig.from_yaml(path)
    assert str(path) in str(error.value)


def test_yaml_cannot_execute_code(tmp_path: Path) -> None:
    path = tmp_path / "unsafe.yaml"
    path.write_text("image_width: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="is not YAML"):
        SeqPoseConfig.from_yaml(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    checkpoint.save(tiny_model(), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["layers.0.ffn.0.bias"][1] = value
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 tensors have NaN or infinite values: layers\.0\.ffn\.0\.bias"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "old", "new", "reason"),
    [
        ("depth", 3, 100_000, r"encoder\.depth is 100000; it must be at most 64"),
        ("layers", 2, 10_000, r"decoder\.layers is 10000; it must be at most 32"),
        ("fusion_width", 32, 4096, r"parameters, but model\.safetensors has only"),
    ],
)
def test_a_configuration_that_would_exhaust_the_memory_is_refused(
    key: str, old: int, new: int, reason: str, tmp_path: Path
) -> None:
    checkpoint.save(tiny_model(), tmp_path)
    config = (tmp_path / "config.yaml").read_text()
    assert f"{key}: {old}\n" in config
    (tmp_path / "config.yaml").write_text(config.replace(f"{key}: {old}\n", f"{key}: {new}\n"))
    with pytest.raises(CheckpointError, match=reason):
        checkpoint.load(tmp_path)


def test_weights_have_the_read_permissions_of_the_configuration(tmp_path: Path) -> None:
    checkpoint.save(tiny_model(), tmp_path)
    modes = {(tmp_path / name).stat().st_mode & 0o777 for name in (checkpoint.WEIGHTS, checkpoint.CONFIG)}
    assert len(modes) == 1


def test_the_former_name_loads_the_checkpoint_that_replaced_it() -> None:
    assert checkpoint.resolve("seqpose-nano") == checkpoint.resolve("seqpose-lite")
