# SPDX-License-Identifier: Apache-2.0
"""EVA-02 with weights in timm's layout: features equal those of an independent implementation, and of timm itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from encoders_rig import EVA02, features, network
from safetensors.torch import save_file
from tiny import HEIGHT, WIDTH, frames
from torch import Tensor

from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.encoder_weights import load_pretrained
from seqpose_core.weights import CheckpointError


def timm_tensors(width: int, depth: int, side: int, fused: bool) -> dict[str, Tensor]:
    """Random tensors by timm's names: ``fused`` as in the small model, else as in base and large."""
    generator, hidden = torch.Generator().manual_seed(5), int(width * 8 / 3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * (0.3 if len(shape) == 1 else shape[-1] ** -0.5)

    tensors = {
        "cls_token": draw(1, 1, width),
        "pos_embed": draw(1, 1 + side * side, width),
        "patch_embed.proj.weight": 0.04 * torch.randn(width, 3, 14, 14, generator=generator),
        "patch_embed.proj.bias": draw(width),
        "fc_norm.weight": draw(width),
        "fc_norm.bias": draw(width),
    }
    for i in range(depth):
        block = {f"norm{n}.{part}": (part == "weight") + draw(width) for n in (1, 2) for part in ("weight", "bias")}
        block |= {"attn.proj.weight": draw(width, width), "attn.proj.bias": draw(width)}
        block |= {"mlp.fc2.weight": draw(width, hidden), "mlp.fc2.bias": draw(width)}
        if fused:
            block |= {"attn.qkv.weight": draw(3 * width, width), "attn.q_bias": draw(width), "attn.v_bias": draw(width)}
            block |= {"mlp.fc1.weight": draw(2 * hidden, width), "mlp.fc1.bias": draw(2 * hidden)}
        else:
            block |= {f"attn.{p}_proj.weight": draw(width, width) for p in "qkv"}
            block |= {f"attn.{p}_proj.bias": draw(width) for p in "qv"}
            block |= {f"mlp.fc1_{p}.weight": draw(hidden, width) for p in "gx"}
            block |= {f"mlp.fc1_{p}.bias": draw(hidden) for p in "gx"}
            block |= {"mlp.norm.weight": 1 + draw(hidden), "mlp.norm.bias": draw(hidden)}
        tensors |= {f"blocks.{i}.{name}": tensor for name, tensor in block.items()}
    return tensors


def write_folder(folder: Path, tensors: dict[str, Tensor], architecture: str = "eva02_small_patch14_224") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"architecture": architecture}))
    save_file(tensors, folder / "model.safetensors")
    return folder


def reference(t: dict[str, Tensor], images: Tensor, depth: int, heads: int) -> Tensor:
    """EVA-02 written with complex numbers; the position embedding already has the grid of the images."""
    x = F.conv2d(images, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=14)
    rows, columns = x.shape[-2:]
    x = torch.cat([t["cls_token"].expand(len(x), 1, -1), x.flatten(2).mT], 1) + t["pos_embed"]
    width = x.shape[2]
    pairs = width // heads // 2
    phase = torch.zeros(rows, columns, pairs)
    for r in range(rows):
        for c in range(columns):
            for k in range(pairs // 2):
                phase[r, c, k] = 16 * r / rows / 10000 ** (k / (pairs // 2))
                phase[r, c, pairs // 2 + k] = 16 * c / columns / 10000 ** (k / (pairs // 2))
    turn = torch.cat([torch.ones(1, pairs), torch.polar(torch.ones(rows * columns, pairs), phase.flatten(0, 1))])
    for i in range(depth):
        b = {name.split(".", 2)[2]: tensor for name, tensor in t.items() if name.startswith(f"blocks.{i}.")}
        y = F.layer_norm(x, (width,), b["norm1.weight"], b["norm1.bias"], 1e-6)
        if "attn.qkv.weight" in b:
            bias = torch.cat([b["attn.q_bias"], torch.zeros(width), b["attn.v_bias"]])
            q, k, v = F.linear(y, b["attn.qkv.weight"], bias).chunk(3, -1)
        else:
            q, k, v = (F.linear(y, b[f"attn.{p}_proj.weight"], b.get(f"attn.{p}_proj.bias")) for p in "qkv")
        q, k, v = (z.unflatten(2, (heads, -1)).transpose(1, 2) for z in (q, k, v))
        q, k = (
            torch.view_as_real(torch.view_as_complex(z.unflatten(-1, (pairs, 2)).contiguous()) * turn).flatten(-2)
            for z in (q, k)
        )
        y = ((q @ k.mT / (2 * pairs) ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + F.linear(y, b["attn.proj.weight"], b["attn.proj.bias"])
        y = F.layer_norm(x, (width,), b["norm2.weight"], b["norm2.bias"], 1e-6)
        if "mlp.fc1.weight" in b:
            gate, value = F.linear(y, b["mlp.fc1.weight"], b["mlp.fc1.bias"]).chunk(2, -1)
        else:
            gate, value = (F.linear(y, b[f"mlp.fc1_{p}.weight"], b[f"mlp.fc1_{p}.bias"]) for p in "gx")
        y = gate * gate.sigmoid() * value
        if "mlp.norm.weight" in b:
            y = F.layer_norm(y, y.shape[-1:], b["mlp.norm.weight"], b["mlp.norm.bias"], 1e-6)
        x = x + F.linear(y, b["mlp.fc2.weight"], b["mlp.fc2.bias"])
    return x[:, 1:].mT.unflatten(2, (rows, columns))


@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_weights_of_timm_give_the_features_of_a_second_implementation(fused: bool, tmp_path: Path) -> None:
    encoder = replace(EVA02, size="small", width=0, depth=0, heads=0, neck_width=0) if fused else EVA02
    numbers = encoder.dimensions()
    width, depth, heads = numbers["width"], numbers["depth"], numbers["heads"]
    side = HEIGHT // 14  # a square grid; the images are square as well here, so that nothing is resampled
    model = network(encoder, height=HEIGHT, width=HEIGHT)
    tensors = timm_tensors(width, depth, side, fused)
    load_pretrained(model.encoder, write_folder(tmp_path / "eva", tensors))
    images = torch.rand(2, 3, HEIGHT, HEIGHT)
    (ours,) = model.encoder.feature_maps(images)
    expected = reference(tensors, images, depth, heads)
    assert (ours - expected).abs().max() <= 1e-4 * expected.abs().max()


@torch.no_grad()
def test_a_position_embedding_is_resampled_to_the_grid_of_the_images(tmp_path: Path) -> None:
    """An embedding that is linear in x and y stays so away from the border."""
    model = network(EVA02)
    rows, columns, side, width = HEIGHT // 14, WIDTH // 14, 16, EVA02.width
    tensors = timm_tensors(width, EVA02.depth, side, fused=False)
    y, x = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
    tensors["pos_embed"] = torch.zeros(1, 1 + side * side, width)
    tensors["pos_embed"][0, 1:, 0], tensors["pos_embed"][0, 1:, 1] = x.flatten(), y.flatten()
    load_pretrained(model.encoder, write_folder(tmp_path / "eva", tensors))
    grid = model.encoder.backbone.pos_embed[0, 1:].unflatten(0, (rows, columns))
    expected_x = ((torch.arange(columns) + 0.5) / columns).expand(rows, -1)
    expected_y = ((torch.arange(rows) + 0.5) / rows)[:, None].expand(-1, columns)
    inside = (slice(1, -1), slice(1, -1))
    torch.testing.assert_close(grid[..., 0][inside], expected_x[inside], atol=0.01, rtol=0)
    torch.testing.assert_close(grid[..., 1][inside], expected_y[inside], atol=0.01, rtol=0)


def test_four_levels_without_geometry_features() -> None:
    semantic, geometry = features(network(EVA02), *frames(1))
    assert [tuple(s.shape[1:]) for s in semantic] == [(16, 24, 32), (16, 12, 16), (16, 6, 8), (16, 3, 4)]
    assert [g.shape[1] for g in geometry] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("architecture", "missing", "message"),
    [
        ("vit_small_patch14_dinov2", "", "contains 'vit_small_patch14_dinov2'; this encoder needs a model eva02_"),
        ("eva02_base_patch14_224", "blocks.1.attn.k_proj.weight", r"1 tensors missing: blocks\.1\.attn\.k_proj"),
    ],
)
def test_other_weights_are_refused(architecture: str, missing: str, message: str, tmp_path: Path) -> None:
    tensors = timm_tensors(EVA02.width, EVA02.depth, 4, fused=False)
    tensors.pop(missing, None)
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(network(EVA02).encoder, write_folder(tmp_path / "eva", tensors, architecture))


@pytest.mark.parametrize("name", ["eva02_small_patch14_224", "eva02_base_patch14_224"])
@torch.no_grad()
def test_features_and_parameters_agree_with_timm(name: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", exc_type=ImportError)
    torch.manual_seed(1)
    theirs = timm.create_model(name, num_classes=0, img_size=(HEIGHT, WIDTH), dynamic_img_size=False).eval()
    size = "small" if "small" in name else "base"
    model = network(EncoderConfig(kind="eva02", size=size, depth_decoder=False))  # type: ignore[arg-type]
    tensors = {k: v + 0.02 * torch.randn_like(v) for k, v in theirs.state_dict().items()}
    theirs.load_state_dict(tensors)
    assert theirs.pos_embed.shape == model.encoder.backbone.pos_embed.shape
    load_pretrained(model.encoder, write_folder(tmp_path / "eva", tensors, name))
    images = torch.rand(2, 3, HEIGHT, WIDTH)
    expected = theirs.forward_intermediates(images, indices=1, norm=False, intermediates_only=True)[-1]
    (ours,) = model.encoder.feature_maps(images)
    assert (ours - expected).abs().max() <= 1e-4 * expected.abs().max()
