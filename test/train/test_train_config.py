# SPDX-License-Identifier: Apache-2.0
"""Training configurations: the shipped files, models by name, and invalid values."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from encoders_rig import DINOV2
from nocs_tree import write_tree
from tiny import tiny_config

from seqpose_core import config_io
from seqpose_core.model.config import SeqPoseConfig
from train.data.sampler import Stage
from train.fit import __main__ as fit
from train.fit.config import DataConfig, OptimizerConfig, SetConfig, TrainConfig, expand_encoder_size, load

CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = sorted((CONFIG / "train").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_equal_their_printed_form(path: Path, tmp_path: Path) -> None:
    config = load(path)
    (tmp_path / "printed.yaml").write_text(config_io.dump_yaml(config))
    assert load(tmp_path / "printed.yaml") == config


@pytest.mark.parametrize("name", ["real275", "real275-sf", "camera25", "paper"])
def test_paper_configurations_have_the_papers_schedule(name: str) -> None:
    config = load(CONFIG / "train" / f"{name}.yaml")
    (stage,) = config.stages
    assert (stage.epochs, stage.batch_clips, config.optimizer.learning_rate) == (24, 16, 4e-4)
    weights = config.criterion.weights
    assert (weights.position, weights.rotation, weights.size) == (1, 10, 1)
    matching = config.criterion.matching
    assert matching.position >= 10 * matching.rotation > 0, "queries are matched mainly by position"
    assert {weights.classification, weights.segmentation, weights.depth, weights.normals} == {1}
    assert (config.model.image_height, config.model.image_width, config.model.queries.anchors) == (238, 322, 600)
    assert config.model.memory.frames == (0 if name in ("camera25", "real275-sf") else 3)


def test_a_model_is_a_file_or_a_changed_file(tmp_path: Path) -> None:
    nano = SeqPoseConfig.from_yaml(CONFIG / "model/nano.yaml")
    named, changed = tmp_path / "named.yaml", tmp_path / "changed.yaml"
    named.write_text(yaml.safe_dump({"model": str(CONFIG / "model/nano.yaml")}))
    changed.write_text(yaml.safe_dump({"model": {"from": str(CONFIG / "model/nano.yaml"), "memory": {"frames": 5}}}))
    assert load(named).model == nano
    assert load(changed).model.memory.frames == 5
    assert load(changed).model.memory.top_k == nano.memory.top_k and load(changed).model.encoder == nano.encoder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: {lerning_rate: 1.0}", r"bad\.yaml: unknown key 'optimizer\.lerning_rate'; did you mean 'learn"),
        ("data: {train: [{splitt: train}]}", r"unknown key 'data\.train\[0\]\.splitt'; did you mean 'split'"),
        ("data: {train: [{split: a, labels: raw}]}", r"labels is 'raw'; it must be one of 'gts', 'relabelled'"),
        ("data: {train: [{split: a, weight: 0}]}", "weight of a is 0.0; it must be positive"),
        ("data: {val: []}", "each needs at least one"),
        ("stages: [{clip_length: 2}]", "give one"),
        ("model: nowhere.yaml", r"model is 'nowhere\.yaml', but there is no file"),
        ("model: {from: other.yaml, memry: {}}", r"unknown key 'model\.memry'; did you mean 'memory'"),
        ("precision: bf16", "must be one of '32-true', 'bf16-mixed'"),
        ("model: [", "is not YAML"),
    ],
)
def test_errors_name_the_key_and_the_expected_value(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "other.yaml").write_text("memory: {frames: 2}\n")
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(config_io.ConfigError, match=message):
        load(tmp_path / "bad.yaml")


def test_the_command_prints_the_full_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = CONFIG / "train/real275.yaml"
    monkeypatch.setattr(sys, "argv", ["fit", "--config", str(path), "--data", "/data/nocs", "--print-config"])
    fit.main()
    printed = config_io.from_dict(TrainConfig, yaml.safe_load(capsys.readouterr().out))
    assert printed.data.root == "/data/nocs" and printed.optimizer == load(path).optimizer
    assert expand_encoder_size(printed) == expand_encoder_size(
        replace(load(path), data=replace(load(path).data, root="/data/nocs"))
    )


def test_expanding_the_encoder_size_gives_its_numbers() -> None:
    config = load(CONFIG / "train/real275.yaml")
    encoder = config_io.to_dict(expand_encoder_size(config))["model"]["encoder"]
    # DINOv2 S and the neck of Depth Anything V2 Small, as published.
    assert (encoder["width"], encoder["depth"], encoder["heads"], encoder["neck_width"]) == (384, 12, 6, 64)
    assert (encoder["out_layers"], encoder["reassemble_widths"]) == ([3, 6, 9, 12], [48, 96, 192, 384])
    assert encoder["pretrain_image_size"] == 518
    # Nothing else differs, and expanding twice changes nothing.
    assert replace(expand_encoder_size(config), model=config.model) == config
    assert expand_encoder_size(expand_encoder_size(config)) == expand_encoder_size(config)


def test_sets_without_a_root_use_the_common_root() -> None:
    data = DataConfig(root="a", train=(SetConfig("train"), SetConfig("real_train", "b", "relabelled", 3.0)))
    assert [part.root or data.root for part in data.train] == ["a", "b"]
    with pytest.raises(ValueError, match="layer_decay is 0"):
        OptimizerConfig(layer_decay=0)


def test_the_single_frame_configuration_differs_from_real275_in_memory_and_sampling_only() -> None:
    multi, single = (load(CONFIG / "train" / f"{name}.yaml") for name in ("real275", "real275-sf"))
    assert single.stages == (Stage(epochs=24, clip_length=1, batch_clips=16),)
    model = replace(single.model, memory=multi.model.memory)
    data = replace(single.data, val_frames=multi.data.val_frames)
    assert replace(single, model=model, data=data, stages=multi.stages) == multi


def test_a_missing_weight_file_ends_the_command_with_one_sentence(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", "train", clips=2, frames=1)
    write_tree(tmp_path / "data", "val", clips=2, frames=1)
    encoder = replace(DINOV2, pretrained=str(tmp_path / "weights"))
    config = TrainConfig(
        model=replace(tiny_config(), encoder=encoder),
        data=DataConfig(root=str(tmp_path / "data"), label_size=(24, 32), workers=0),
        stages=(Stage(1, 1, 1),),
    )
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(config))
    command = ["--config", str(tmp_path / "train.yaml"), "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match=r"^fit: encoder weights '.*weights': .*config\.json does not exist$"):
        fit.main(command)
    with pytest.raises(SystemExit, match=r"^fit: .*nowhere/train is not a folder"):
        fit.main([*command, "--data", str(tmp_path / "nowhere")])
