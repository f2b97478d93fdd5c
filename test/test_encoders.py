# SPDX-License-Identifier: Apache-2.0
"""Encoders by name: their features are those of transformers' own models, and weights fit whole or not at all."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tiny import HEIGHT, WIDTH, camera_poses, frames, tiny_config
from torch import Tensor, nn
from transformers import (
    AutoBackbone,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    VitDetConfig,
)

from seqpose_core import SeqPose, SeqPoseConfig, checkpoint, config_io
from seqpose_core.config_io import ConfigError
from seqpose_core.model.config import EncoderConfig
from seqpose_core.model.encoder_weights import load_pretrained
from seqpose_core.weights import CheckpointError

CONFIGS = sorted((Path(__file__).parents[1] / "config" / "model").glob("*.yaml"))
DINOV2 = EncoderConfig(
    kind="dinov2", width=32, depth=4, heads=2, neck_width=16, out_layers=(1, 2, 3, 4),
    reassemble_widths=(8, 16, 24, 32), pretrain_image_size=56,
)  # fmt: skip
REGISTERS = replace(DINOV2, kind="dinov2_registers")
VITDET = EncoderConfig(
    kind="vitdet", width=32, depth=3, heads=2, neck_width=16, pretrain_image_size=56, depth_decoder=False
)
CONV_VIT = tiny_config().encoder
KINDS = {
    "conv_vit": CONV_VIT,
    "conv_vit without decoder": replace(CONV_VIT, depth_decoder=False),
    "dinov2": DINOV2,
    "dinov2 without decoder": replace(DINOV2, depth_decoder=False),
    "dinov2 frozen": replace(DINOV2, frozen=True),
    "dinov2_registers": REGISTERS,
    "vitdet": VITDET,
    "vitdet frozen": replace(VITDET, frozen=True),
}
BACKBONE = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
    "out_indices": [1, 2, 3, 4],
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("something asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def stirred(model: nn.Module) -> Any:
    """The model in evaluation mode with every parameter moved: none is left at a 0 or 1 that hides a mistake."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def depth_anything(**backbone: Any) -> DepthAnythingForDepthEstimation:
    config = DepthAnythingConfig(
        backbone_config=Dinov2Config(**(BACKBONE | {"reshape_hidden_states": False} | backbone)),
        reassemble_hidden_size=32, patch_size=14, neck_hidden_sizes=[8, 16, 24, 32], fusion_hidden_size=16,
        head_hidden_size=8,
    )  # fmt: skip
    return stirred(DepthAnythingForDepthEstimation(config))


def network(encoder: EncoderConfig) -> SeqPose:
    torch.manual_seed(0)
    return SeqPose(replace(tiny_config(), encoder=encoder)).eval()


def normalised(images: Tensor) -> Tensor:
    """As ImageNet's models expect it."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def features(model: SeqPose, images: Tensor, intrinsics: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """s_i and g_i as SeqPose itself computes them on its way from images in [0, 1]."""
    kept: list[Any] = []
    hook = model.encoder.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        model.encode(images, intrinsics)
    hook.remove()
    return kept[0]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for level, (a, b) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5, msg=lambda text, i=level: f"level {i}: {text}")


def copy_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


@torch.no_grad()
def test_a_depth_anything_folder_gives_its_features_and_its_depth(tmp_path: Path) -> None:
    theirs = depth_anything()
    theirs.save_pretrained(tmp_path / "weights")
    ours = network(DINOV2)
    load_pretrained(ours.encoder, tmp_path / "weights")
    images, intrinsics = frames(2)
    kept: dict[str, list[Tensor]] = {}
    theirs.neck.reassemble_stage.register_forward_hook(lambda m, i, output: kept.update(semantic=list(output)))
    theirs.neck.register_forward_hook(lambda m, i, output: kept.update(geometry=list(output)))
    depth = theirs(normalised(images)).predicted_depth

    semantic, geometry = features(ours, images, intrinsics)
    assert_same(geometry, kept["geometry"][::-1])
    resized = [
        F.interpolate(s, g.shape[-2:], mode="bilinear") for s, g in zip(kept["semantic"], geometry, strict=True)
    ]
    assert_same(semantic, resized)
    assert depth.std() > 0.01, "a constant depth would prove nothing"
    ours_depth = theirs.head(geometry[::-1], HEIGHT // 14, WIDTH // 14)
    torch.testing.assert_close(ours_depth, depth, atol=1e-5, rtol=1e-5)

    bare = network(replace(DINOV2, depth_decoder=False))
    load_pretrained(bare.encoder, tmp_path / "weights")
    semantic, geometry = features(bare, images, intrinsics)
    assert_same(semantic, kept["semantic"])
    assert [g.shape[1] for g in geometry] == [0, 0, 0, 0]


@torch.no_grad()
def test_a_dinov2_folder_fills_the_backbone_alone_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = stirred(Dinov2Model(Dinov2Config(**BACKBONE)))
    theirs.save_pretrained(tmp_path)
    ours = network(DINOV2)
    neck = copy_of(ours.encoder.neck.state_dict())
    load_pretrained(ours.encoder, tmp_path)
    images = frames(2)[0]
    # DINOv2's features of a layer are normalised by the norm that follows the last one.
    hidden = theirs(images, output_hidden_states=True).hidden_states
    assert_same(ours.encoder.feature_maps(images), [theirs.layernorm(h) for h in hidden[1:]])
    assert all(torch.equal(neck[name], tensor) for name, tensor in ours.encoder.neck.state_dict().items())
    assert "starts from random weights" in caplog.text


@torch.no_grad()
def test_registers_are_left_out_of_the_maps(tmp_path: Path) -> None:
    theirs = stirred(AutoBackbone.from_config(Dinov2WithRegistersConfig(**BACKBONE)))  # maps without registers
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
def test_a_vitdet_folder_gives_its_features_on_four_levels(patch: int, tmp_path: Path) -> None:
    pretrain, height, width = 4 * patch, 6 * patch, 8 * patch
    config = VitDetConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, patch_size=patch, pretrain_image_size=pretrain
    )
    theirs = stirred(AutoBackbone.from_config(config))
    theirs.save_pretrained(tmp_path)
    encoder = replace(VITDET, patch_size=patch, pretrain_image_size=pretrain)
    ours = SeqPose(replace(tiny_config(), image_height=height, image_width=width, encoder=encoder)).eval()
    load_pretrained(ours.encoder, tmp_path)
    images, intrinsics = torch.rand(2, 3, height, width), frames(2)[1]
    assert_same(ours.encoder.feature_maps(images), list(theirs(images).feature_maps))
    semantic, geometry = features(ours, images, intrinsics)
    assert [tuple(s.shape[1:]) for s in semantic] == [(16, 24, 32), (16, 12, 16), (16, 6, 8), (16, 3, 4)]
    assert [g.shape[1] for g in geometry] == [0, 0, 0, 0]


#: DINOv2's attention on disk, and as recent versions of transformers call it in memory.
NAMES = {
    "attention.attention.query": "attention.q_proj", "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj", "attention.output.dense": "attention.o_proj",
}  # fmt: skip


def rename(file: Path, names: dict[str, str]) -> int:
    """Rename the tensors of ``file`` that contain a key of ``names``; returns how many."""
    tensors, renamed = load_file(file), {}
    for name, tensor in tensors.items():
        for old, new in names.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    save_file(renamed, file)
    return len(renamed.keys() - tensors.keys())


def test_weights_fit_whichever_names_transformers_gives_them(tmp_path: Path) -> None:
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
def test_a_checkpoint_needs_no_pretrained_folder_and_has_published_names(tmp_path: Path) -> None:
    depth_anything().save_pretrained(tmp_path / "weights")
    model = network(replace(DINOV2, pretrained=str(tmp_path / "weights"), frozen=True))
    load_pretrained(model.encoder, tmp_path / "weights")
    checkpoint.save(model, tmp_path / "trained")
    shutil.rmtree(tmp_path / "weights")
    expected = model(*frames(1))[0].objects.translation
    assert torch.equal(checkpoint.load(tmp_path / "trained")(*frames(1))[0].objects.translation, expected)
    # Four projections in each of four layers have a weight and a bias.
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
    ("spoil", "messages"),
    [
        (
            drop_and_distort,
            [
                "1 tensors missing: neck.convs.2.weight", "1 tensors not known to this configuration: neck.stray",
                "1 tensors of another shape: backbone.layernorm.bias is (31,), needs (32,)",
            ],
        ),
        # Equal shapes, other results: only the configuration tells.
        (set_config(num_attention_heads=4), ["num_attention_heads is 4, needs 2"]),
        (set_config(layer_norm_eps=1e-5), ["layer_norm_eps is 1e-05, needs 1e-06"]),
        (set_config(reassemble_factors=[4, 2, 1, 1]), ["reassemble_factors is [4, 2, 1, 1], needs [4, 2, 1, 0.5]"]),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "resnet"}'),
            ["model_type 'resnet'; it must be one of depth_anything, dinov2"],
        ),
        (lambda folder: (folder / "config.json").unlink(), ["config.json does not exist"]),
        (lambda folder: (folder / "config.json").write_text("{"), ["is not transformers' JSON"]),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            ["neither model.safetensors nor model.safetensors.index.json; no other format is read"],
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), ["is damaged or no safetensors file"]),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named_and_nothing_is_loaded(
    spoil: Callable[[Path], Any], messages: list[str], tmp_path: Path
) -> None:
    depth_anything().save_pretrained(tmp_path)
    spoil(tmp_path)
    encoder = network(DINOV2).encoder
    before = copy_of(encoder.state_dict())
    with pytest.raises(CheckpointError) as error:
        load_pretrained(encoder, tmp_path)
    for message in messages:
        assert message in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    depth_anything().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds a dinov2 backbone .*this encoder is around a dinov2_with_reg"):
        load_pretrained(network(REGISTERS).encoder, tmp_path)
    with pytest.raises(CheckpointError, match=r"out_indices is \[1, 2, 3, 4\], needs \[1, 2, 3, 5\]"):
        load_pretrained(network(replace(DINOV2, depth=5, out_layers=(1, 2, 3, 5))).encoder, tmp_path)
    with pytest.raises(CheckpointError, match="ConvVitEncoder is trained from scratch"):
        load_pretrained(network(CONV_VIT).encoder, tmp_path)


def test_weights_in_shards_are_read_whole_or_not_at_all(tmp_path: Path) -> None:
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


def test_a_hub_id_is_read_from_the_cache_and_fetched_only_when_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture above makes any use of the network an error."""
    theirs = depth_anything()
    encoder = network(DINOV2).encoder
    with pytest.raises(CheckpointError, match=r"'owner/weights' are no folder.*--download"):
        load_pretrained(encoder, "owner/weights")

    asked: list[bool] = []
    theirs.save_pretrained(tmp_path / "fetched")

    def fetch(name: str, local_files_only: bool, allow_patterns: list[str]) -> str:
        asked.append(local_files_only)
        assert "*.bin" not in allow_patterns
        return str(tmp_path / "fetched")

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "snapshot_download", fetch)
        load_pretrained(encoder, "owner/weights", allow_download=True)
    assert asked == [False]

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match="hub model 'owner/weights' could not be downloaded"):
            load_pretrained(encoder, "owner/weights", allow_download=True)

    # The hub's own layout of a downloaded copy.
    copy = tmp_path / "hub" / "models--owner--weights"
    (copy / "refs").mkdir(parents=True)
    (copy / "refs" / "main").write_text("0" * 40)
    theirs.save_pretrained(copy / "snapshots" / ("0" * 40))
    encoder = network(DINOV2).encoder
    load_pretrained(encoder, "owner/weights")
    torch.testing.assert_close(encoder.neck.convs[0].weight, theirs.neck.convs[0].weight)


def test_a_run_starts_from_the_encoders_weights_and_refuses_a_frozen_encoder_without(tmp_path: Path) -> None:
    from train.config import TrainConfig
    from train.initial import initialise

    theirs = depth_anything()
    theirs.save_pretrained(tmp_path)
    model = network(replace(DINOV2, frozen=True))
    with pytest.raises(ValueError, match=r"encoder\.frozen is true.*set encoder\.pretrained or init_from"):
        initialise(model, TrainConfig(model=model.config))
    named = replace(model.config, encoder=replace(DINOV2, frozen=True, pretrained=str(tmp_path)))
    initialise(model, TrainConfig(model=named))
    torch.testing.assert_close(model.encoder.neck.convs[0].weight, theirs.neck.convs[0].weight)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_learns_in_every_parameter(name: str) -> None:
    """A frozen backbone has none to train; there is no other exception."""
    model = stirred(network(KINDS[name])).train()
    images, intrinsics = frames(2)
    _, memory = model(images, intrinsics, None, camera_poses(2), torch.zeros(2, dtype=torch.float64))
    prediction, _ = model(images, intrinsics, memory, camera_poses(2, 5), torch.ones(2, dtype=torch.float64))
    parts = [getattr(layer, f.name) for layer in prediction.layers for f in fields(layer)]
    parts += [*vars(prediction.dense).values(), *vars(prediction.centre).values()]
    sum(part.square().mean() for part in parts if part is not None).backward()  # type: ignore[union-attr]
    without = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    backbone = [key for key, _ in model.named_parameters() if key.startswith("encoder.backbone.")]
    assert without == (backbone if KINDS[name].frozen else [])


@pytest.mark.parametrize("name", ["dinov2 frozen", "vitdet frozen"])
def test_a_frozen_backbone_neither_moves_nor_decays_nor_leaves_evaluation_mode(name: str) -> None:
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


@pytest.mark.parametrize("name", ["dinov2", "dinov2_registers", "vitdet"])
@torch.no_grad()
def test_half_precision_gives_nearly_the_same(name: str) -> None:
    model = network(KINDS[name])
    exact = features(model, *frames(1))
    with torch.autocast("cpu", torch.bfloat16):
        rough = features(model, *frames(1))
        assert model(*frames(1))[0].objects.translation.isfinite().all()
    for a, b in zip(rough[0] + rough[1], exact[0] + exact[1], strict=True):
        assert (a.float() - b).norm() <= 0.05 * b.norm()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: dinov2, size: small, width: 768}", "width is 768, but size 'small' of dinov2 has 384; leave width"),
        ("{kind: dinov2, size: giant}", r"encoder\.size is 'giant'; it must be one of 'small', 'base', 'large'"),
        ("{kind: dinov2, width: 384, depth: 12}", "dinov2 needs a size .*not given: heads, neck_width, out_layers"),
        ("{kind: conv_vit, size: small}", "conv_vit has no named sizes"),
        ("{kind: conv_vit, frozen: true}", "frozen is True, but conv_vit is always trained from scratch"),
        ("{kind: vitdet, size: small}", "vitdet has none; it needs depth_decoder: false"),
        ("{kind: dinov2, size: small, patch_size: 16}", "patch_size is 16; dinov2 has 14"),
        ("{kind: vitdet, size: small, depth_decoder: false, patch_size: 8}", "vitdet has 14 or 16"),
        ("{kind: conv_vit, width: 100}", "width 100 is not a multiple of heads 3"),
    ],
)
def test_encoders_that_do_not_exist_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(f"encoder: {text}")
    with pytest.raises(ConfigError, match=message):
        SeqPoseConfig.from_yaml(tmp_path / "model.yaml")


def test_rows_of_table_2_are_a_few_words_away_from_the_whole_model() -> None:
    whole = config_io.to_dict(EncoderConfig(kind="dinov2", size="small", frozen=True, pretrained="owner/weights"))
    bare = config_io.from_dict(EncoderConfig, whole | {"depth_decoder": False})
    assert bare.resolved().reassemble_widths == (48, 96, 192, 384)
    change = {"kind": "vitdet", "depth_decoder": False, "frozen": False, "pretrained": None}
    vitdet = config_io.from_dict(EncoderConfig, whole | change).resolved()
    assert (vitdet.width, vitdet.depth, vitdet.heads, vitdet.neck_width) == (384, 12, 6, 256)
    nano = config_io.to_dict(SeqPoseConfig.from_yaml(CONFIGS[0].with_name("nano.yaml")).encoder)
    vitdet = config_io.from_dict(EncoderConfig, nano | {"kind": "vitdet", "depth_decoder": False}).resolved()
    assert (vitdet.width, vitdet.depth, vitdet.heads, vitdet.neck_width) == (160, 6, 5, 64)


def test_images_that_patches_do_not_tile_are_refused() -> None:
    encoder = replace(VITDET, patch_size=16, pretrain_image_size=64)
    with pytest.raises(ValueError, match="image_height is 84; it must be a multiple of 16"):
        replace(tiny_config(), encoder=encoder)


#: Parameters of DINOv2 S, B and L with 14-pixel patches, as its authors' code counts them (mask token included).
DINOV2_PARAMETERS = {"small": 22_056_576, "base": 86_580_480, "large": 304_368_640}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_named_configuration_builds(path: Path) -> None:
    config = SeqPoseConfig.from_yaml(path)
    with torch.device("meta"):
        model = SeqPose(config)
    encoder = config.encoder.resolved()
    assert config_io.from_dict(SeqPoseConfig, config_io.to_dict(config)) == config
    if encoder.kind == "dinov2":
        assert encoder.size == path.stem
        backbone = sum(p.numel() for p in model.encoder.backbone.parameters())
        assert backbone + encoder.width == DINOV2_PARAMETERS[path.stem], "the mask token is left out"
        assert (config.image_height, config.image_width) == (238, 322)
        assert (config.queries.anchors, config.memory.frames, encoder.frozen) == (600, 3, True)
