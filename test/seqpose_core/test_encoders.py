# SPDX-License-Identifier: Apache-2.0
"""Encoders with the weights of transformers models give the features of these models."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from encoders_rig import (
    BACKBONE,
    DINOV2,
    KINDS,
    REGISTERS,
    VITDET,
    copy_of,
    depth_anything,
    features,
    network,
    normalised,
    perturbed,
)
from tiny import HEIGHT, WIDTH, camera_poses, frames, tiny_config
from torch import Tensor
from transformers import AutoBackbone, Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, VitDetConfig

from seqpose_core import SeqPose
from seqpose_core.model.encoder_weights import load_pretrained

pytestmark = pytest.mark.usefixtures("no_network")


def assert_same(actual: list[Tensor], expected: list[Tensor]) -> None:
    for level, (a, b) in enumerate(zip(actual, expected, strict=True)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5, msg=lambda text, i=level: f"level {i}: {text}")


@torch.no_grad()
def test_depth_anything_weights_give_its_features_and_depth(tmp_path: Path) -> None:
    theirs = depth_anything()
    theirs.save_pretrained(tmp_path / "weights")
    ours = network(DINOV2)
    load_pretrained(ours.encoder, tmp_path / "weights")
    images, intrinsics = frames(2)
    outputs: dict[str, list[Tensor]] = {}
    theirs.neck.reassemble_stage.register_forward_hook(lambda m, i, output: outputs.update(semantic=list(output)))
    theirs.neck.register_forward_hook(lambda m, i, output: outputs.update(geometry=list(output)))
    depth = theirs(normalised(images)).predicted_depth

    semantic, geometry = features(ours, images, intrinsics)
    assert_same(geometry, outputs["geometry"][::-1])
    resized = [
        F.interpolate(s, g.shape[-2:], mode="bilinear") for s, g in zip(outputs["semantic"], geometry, strict=True)
    ]
    assert_same(semantic, resized)
    assert depth.std() > 0.01, "a constant depth would make the comparison meaningless"
    ours_depth = theirs.head(geometry[::-1], HEIGHT // 14, WIDTH // 14)
    torch.testing.assert_close(ours_depth, depth, atol=1e-5, rtol=1e-5)

    without_decoder = network(replace(DINOV2, depth_decoder=False))
    load_pretrained(without_decoder.encoder, tmp_path / "weights")
    semantic, geometry = features(without_decoder, images, intrinsics)
    assert_same(semantic, outputs["semantic"])
    assert [g.shape[1] for g in geometry] == [0, 0, 0, 0]


@torch.no_grad()
def test_dinov2_weights_initialise_the_backbone_only_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = perturbed(Dinov2Model(Dinov2Config(**BACKBONE)))
    theirs.save_pretrained(tmp_path)
    ours = network(DINOV2)
    neck = copy_of(ours.encoder.neck.state_dict())
    load_pretrained(ours.encoder, tmp_path)
    images = frames(2)[0]
    # The features of every layer are normalised by the final layer norm.
    hidden = theirs(images, output_hidden_states=True).hidden_states
    assert_same(ours.encoder.feature_maps(images), [theirs.layernorm(h) for h in hidden[1:]])
    assert all(torch.equal(neck[name], tensor) for name, tensor in ours.encoder.neck.state_dict().items())
    assert "start from random weights" in caplog.text


@torch.no_grad()
def test_feature_maps_exclude_register_tokens(tmp_path: Path) -> None:
    theirs = perturbed(AutoBackbone.from_config(Dinov2WithRegistersConfig(**BACKBONE)))  # maps without registers
    theirs.save_pretrained(tmp_path)
    neck = depth_anything().neck
    ours = network(REGISTERS)
    load_pretrained(ours.encoder, tmp_path)
    ours.encoder.neck.load_state_dict(neck.state_dict(), strict=False)
    images, intrinsics = frames(2)
    maps = theirs(normalised(images)).feature_maps
    expected = [layer(m) for layer, m in zip(neck.reassemble_stage.layers, maps, strict=True)]
    fused = neck.fusion_stage([conv(s) for conv, s in zip(neck.convs, expected, strict=True)])[::-1]
    semantic, geometry = features(ours, images, intrinsics)
    assert_same(geometry, fused)
    assert_same(
        semantic, [F.interpolate(s, g.shape[-2:], mode="bilinear") for s, g in zip(expected, fused, strict=True)]
    )


@pytest.mark.parametrize("patch", [14, 16])
@torch.no_grad()
def test_vitdet_weights_give_its_features_on_four_levels(patch: int, tmp_path: Path) -> None:
    pretrain, height, width = 4 * patch, 6 * patch, 8 * patch
    config = VitDetConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, patch_size=patch, pretrain_image_size=pretrain
    )
    theirs = perturbed(AutoBackbone.from_config(config))
    theirs.save_pretrained(tmp_path)
    encoder = replace(VITDET, patch_size=patch, pretrain_image_size=pretrain)
    ours = SeqPose(replace(tiny_config(), image_height=height, image_width=width, encoder=encoder)).eval()
    load_pretrained(ours.encoder, tmp_path)
    images, intrinsics = torch.rand(2, 3, height, width), frames(2)[1]
    assert_same(ours.encoder.feature_maps(images), list(theirs(images).feature_maps))
    semantic, geometry = features(ours, images, intrinsics)
    assert [tuple(s.shape[1:]) for s in semantic] == [(16, 24, 32), (16, 12, 16), (16, 6, 8), (16, 3, 4)]
    assert [g.shape[1] for g in geometry] == [0, 0, 0, 0]


@pytest.mark.parametrize("name", KINDS)
def test_gradient_reaches_every_parameter_of_every_kind(name: str) -> None:
    """Except those of a frozen backbone."""
    model = perturbed(network(KINDS[name])).train()
    images, intrinsics = frames(2)
    _, memory = model(images, intrinsics, None, camera_poses(2), torch.zeros(2, dtype=torch.float64))
    prediction, _ = model(images, intrinsics, memory, camera_poses(2, 5), torch.ones(2, dtype=torch.float64))
    parts = [getattr(layer, f.name) for layer in prediction.layers for f in fields(layer)]
    parts += [*vars(prediction.dense).values(), *vars(prediction.centre).values()]
    sum(part.square().mean() for part in parts if part is not None).backward()  # type: ignore[union-attr]
    missing = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    backbone = [key for key, _ in model.named_parameters() if key.startswith("encoder.backbone.")]
    assert missing == (backbone if KINDS[name].frozen else [])


@pytest.mark.parametrize("name", ["dinov2 frozen", "eva02 frozen", "vitdet frozen"])
def test_frozen_backbone_keeps_its_weights_and_evaluation_mode(name: str) -> None:
    model = network(KINDS[name]).train()
    assert model.training and model.encoder.training
    assert not any(module.training for module in model.encoder.backbone.modules())
    before = copy_of(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    prediction, _ = model(*frames(1))
    prediction.objects.translation.square().mean().backward()
    optimizer.step()
    after = model.state_dict()
    moved = {key.split(".")[1] for key in after if "encoder." in key and not torch.equal(before[key], after[key])}
    assert moved == {"neck" if "dinov2" in name else "pyramid"}


@pytest.mark.parametrize("name", ["dinov2", "dinov2_registers", "eva02", "vitdet"])
@torch.no_grad()
def test_bfloat16_features_are_within_5_percent(name: str) -> None:
    model = network(KINDS[name])
    exact = features(model, *frames(1))
    with torch.autocast("cpu", torch.bfloat16):
        rough = features(model, *frames(1))
        assert model(*frames(1))[0].objects.translation.isfinite().all()
    for a, b in zip(rough[0] + rough[1], exact[0] + exact[1], strict=True):
        assert (a.float() - b).norm() <= 0.05 * b.norm()
