# SPDX-License-Identifier: Apache-2.0
"""Learning rate and weight decay of each parameter, and the schedule."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoders_rig import CONV_VIT, DINOV2, EVA02, REGISTERS, VITDET
from tiny import tiny_config

from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.seqpose import SeqPose
from train.fit.config import OptimizerConfig
from train.fit.optimizer import encoder_depths, make_optimizer, parameter_groups, rate_at

ENCODERS = {"conv_vit": CONV_VIT, "dinov2": DINOV2, "registers": REGISTERS, "eva02": EVA02, "vitdet": VITDET}


def network(encoder: EncoderConfig) -> SeqPose:
    return SeqPose(replace(tiny_config(), encoder=encoder))


@pytest.mark.parametrize("kind", ENCODERS)
def test_depth_increases_from_patches_through_the_blocks_to_the_neck(kind: str) -> None:
    encoder = ENCODERS[kind]
    depths = encoder_depths(network(encoder))
    blocks = encoder.dimensions()["depth"]
    of = {level: [name for name, depth in depths.items() if depth == level] for level in range(blocks + 2)}
    assert sum(len(names) for names in of.values()) == len(depths)
    patches = {"conv_vit": "stem", "eva02": "patch_embed"}.get(kind, "embeddings")
    assert any(patches in name for name in of[0]) and not any("norm1" in name for name in of[0])
    for level in range(1, blocks + 1):
        assert all(f".{level - 1}." in name for name in of[level]) and any("mlp" in name for name in of[level])
        assert len(of[level]) == len(of[1])
    behind = {"conv_vit": "lateral", "eva02": "pyramid", "vitdet": "pyramid"}.get(kind, "neck")
    assert any(behind in name for name in of[blocks + 1]) and not any(behind in name for name in of[0] + of[blocks])


def test_learning_rates_decrease_per_block_and_only_weights_of_linear_maps_decay() -> None:
    model = network(ENCODERS["conv_vit"])  # 3 blocks: the stem has depth 0, the neck 4
    config = OptimizerConfig(learning_rate=1.0, encoder_rate=0.5, layer_decay=0.1, weight_decay=0.2)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(model, config)
        for parameter in group["params"]
    }
    assert set(found) == set(names.values())
    assert found["encoder.stem.0.weight"] == (pytest.approx(0.5e-4), 0.2)
    assert found["encoder.position"] == (pytest.approx(0.5e-4), 0.0)
    assert found["encoder.blocks.0.mlp.0.weight"] == (pytest.approx(0.5e-3), 0.2)
    assert found["encoder.blocks.2.mlp.0.bias"] == (pytest.approx(0.05), 0.0)
    assert found["encoder.blocks.2.norm1.weight"] == (pytest.approx(0.05), 0.0)
    assert found["encoder.lateral.0.weight"] == (0.5, 0.2)
    assert found["heads.0.classify.weight"] == (1.0, 0.2)
    for name in ("anchor_reference", "anchor_embedding", "proposal_class.weight", "proposal_norm.weight"):
        assert found[name] == (1.0, 0.0), name


def test_neck_and_backbone_have_rates_of_their_own() -> None:
    model = network(ENCODERS["dinov2"])
    config = OptimizerConfig(learning_rate=1.0, encoder_rate=0.5, backbone_rate=0.1, neck_rate=3.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in parameter_groups(model, config) for p in group["params"]}
    for prefix, expected in (("encoder.backbone.", 0.5 * 0.1), ("encoder.neck.", 0.5 * 3.0)):
        assert {round(rate, 9) for name, rate in rates.items() if name.startswith(prefix)} == {expected}
    assert {rate for name, rate in rates.items() if not name.startswith("encoder.")} == {1.0}


def test_frozen_parameters_are_left_out() -> None:
    model = network(replace(DINOV2, frozen=True))
    optimizer, _ = make_optimizer(model, OptimizerConfig(), 10)
    optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert optimized == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert not any(id(parameter) in optimized for parameter in model.encoder.backbone.parameters())


def test_learning_rate_warms_up_and_then_follows_half_a_cosine() -> None:
    config = OptimizerConfig(warmup_steps=4, final_rate=0.1)
    assert [rate_at(step, 12, config) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate_at(4, 12, config) == 1.0
    assert rate_at(8, 12, config) == pytest.approx(0.55)  # half of the way between 1 and 0.1
    assert rate_at(12, 12, config) == rate_at(99, 12, config) == pytest.approx(0.1)
    assert rate_at(0, 10, replace(config, warmup_steps=0)) == 1.0


def test_the_schedule_scales_all_groups_by_the_same_factor() -> None:
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 2), "heads": torch.nn.Linear(2, 2)})
    config = OptimizerConfig(learning_rate=1.0, encoder_rate=0.1, warmup_steps=2)
    optimizer, schedule = make_optimizer(model, config, 10)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([0.05, 0.5])
    optimizer.step()
    schedule.step()
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([0.1, 1.0])
