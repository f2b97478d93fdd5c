# SPDX-License-Identifier: Apache-2.0
"""The step that runtimes run equals the straightforward formulation of the equations, which is written out here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import camera_poses, frames, pinhole, step_input, tiny_config, tiny_model
from torch import Tensor, nn

from seqpose_core import SeqPose
from seqpose_core.model import stsq
from seqpose_core.model.config import HeadConfig, QueryConfig, SeqPoseConfig
from seqpose_core.model.folding import fold_projections
from seqpose_core.model.memory import FrameMotion, MemoryView
from seqpose_core.model.pose_head import PoseHead
from seqpose_core.model.sampling import sample_levels
from seqpose_core.model.step_graph import StepGraph, output_names


def sample_by_index(values: list[Tensor], position: Tensor, weights: Tensor) -> Tensor:
    """Eq. 8's sampling as a sum over the four cells around each point, which are read by their indices."""
    batch, queries, heads = weights.shape[:3]
    sample = torch.arange(batch)[:, None, None, None]
    head = torch.arange(heads)[:, None]
    mixed = torch.zeros(batch, queries, heads, values[0].shape[1] // heads)
    for level, value in enumerate(values):
        rows, columns = value.shape[2:]
        maps = value.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 2)  # (B, heads, H, W, C/heads)
        x, y = position[..., 0] * columns - 0.5, position[..., 1] * rows - 0.5
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            j, i = x.floor() + column, y.floor() + row
            right, below = x - x.floor(), y - y.floor()
            share = (right if column else 1 - right) * (below if row else 1 - below)
            inside = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
            cell = maps[sample, head, i.clamp(0, rows - 1).long(), j.clamp(0, columns - 1).long()]
            mixed = mixed + (cell * (share * inside * weights[..., level])[..., None]).sum(-2)
    return mixed.flatten(2)


def sampling_inputs() -> tuple[list[Tensor], Tensor, Tensor]:
    """Maps of two levels, positions in and outside the image, and weights that are 0 outside."""
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(2, 12, *size, generator=generator) for size in ((5, 7), (2, 3))]
    position = 1.4 * torch.rand(2, 9, 3, 4, 2, generator=generator) - 0.2
    position[0, 0, 0] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]])  # corners and centre
    inside = ((position >= 0) & (position <= 1)).all(-1)
    assert inside.any() and not inside.all()
    weights = torch.rand(2, 9, 3, 4, 2, generator=generator) * inside[..., None]
    return values, position, weights


def test_samples_equal_sums_over_indexed_cells_with_gradients() -> None:
    results = []
    for sample in (sample_levels, sample_by_index):
        values, position, weights = sampling_inputs()
        inputs = [*values, position, weights]
        for tensor in inputs:
            tensor.requires_grad_()
        output = sample(values, position, weights)
        gradients = torch.autograd.grad(output.square().sum(), inputs)
        # The gradient of the weight of a point outside has no effect: that weight is a constant 0.
        results.append([output, *gradients[:-1], gradients[-1] * (weights > 0)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_sample_at_the_centre_of_a_cell_is_its_value() -> None:
    value = torch.arange(12.0).reshape(1, 1, 3, 4)
    position = torch.tensor([[(column + 0.5) / 4, (row + 0.5) / 3] for row in range(3) for column in range(4)])
    sampled = sample_levels([value], position.reshape(1, 12, 1, 1, 2), torch.ones(1, 12, 1, 1, 1))
    torch.testing.assert_close(sampled.flatten(), torch.arange(12.0))


def moved_model(config: SeqPoseConfig) -> SeqPose:
    """Random weights of which none is zero."""
    torch.manual_seed(0)
    model = SeqPose(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def fast_config() -> SeqPoseConfig:
    """All switches of small-fast: of 18 queries 9 are kept after the first layer, then 5."""
    config = tiny_config()
    return replace(
        config, decoder=replace(config.decoder, layers=3, kept_queries=(9, 5), shared_values=True, finest_level=1)
    )


def guided(config: SeqPoseConfig) -> SeqPoseConfig:
    return replace(config, decoder=replace(config.decoder, guided=True))


def configurations() -> dict[str, SeqPoseConfig]:
    config, modes = tiny_config(), HeadConfig(rotation_modes=3)
    per_category = HeadConfig("direct", "allocentric", per_category=True)
    return {
        "proposals": replace(config, head=modes),
        "anchors only": replace(tiny_config(proposals=0), head=per_category),
        "other decoder width": replace(tiny_config(proposals=0), fusion_width=48),
        "narrow fusion": replace(config, fusion_width=8),
        "references not refined": replace(config, decoder=replace(config.decoder, refine=False)),
        "fast": fast_config(),
        "fast, anchors only": replace(fast_config(), queries=QueryConfig(anchors=14, proposals=0)),
        "guided": guided(config),
        "guided, anchors only": guided(tiny_config(proposals=0)),
        "guided, other decoder width": guided(replace(tiny_config(proposals=0), fusion_width=48)),
        "guided, fast, anchors only": guided(replace(fast_config(), queries=QueryConfig(anchors=14, proposals=0))),
    }


@pytest.mark.parametrize("name", configurations())
@torch.no_grad()
def test_step_equals_the_straightforward_formulation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frames: with indexed cells, the modulation per slot, separate convolutions and all heads of all layers."""
    model = moved_model(configurations()[name])
    graph = StepGraph(model)
    images, intrinsics = frames(2)
    _, memory = model(images, intrinsics, None, camera_poses(2), torch.zeros(2, dtype=torch.float64))
    stamp = torch.full((2,), 0.1, dtype=torch.float64)
    frame = FrameMotion.from_optional(camera_poses(2, seed=5), stamp, memory)
    pixels = (255 * frames(2, seed=1)[0]).round()
    actual = graph(*step_input(pixels, intrinsics, memory, frame))

    monkeypatch.setattr(stsq, "sample_levels", sample_by_index)
    monkeypatch.setattr(MemoryView, "frame_motion", lambda view, top_k: view.motion)
    prediction, pushed = model(pixels / 255, intrinsics, memory, frame.camera_pose, frame.stamp)
    assert len(prediction.layers) == model.config.decoder.layers
    top_k = model.config.memory.top_k
    expected = [value for value in vars(prediction.objects).values() if value is not None]
    expected += [pushed.embedding[:, :top_k], pushed.reference[:, :top_k], pushed.valid[:, :top_k]]
    for output, a, b in zip(output_names(model.config), actual, expected, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4, msg=lambda m, n=output: f"{n}: {m}")


def test_cheaper_projections_are_folded_and_the_others_shared() -> None:
    model = tiny_model(proposals=0)
    folded = fold_projections(model)
    assert all(isinstance(convolution, nn.Identity) for convolution in folded.fusion.convolutions)
    assert all(isinstance(convolution, nn.Conv2d) for convolution in model.fusion.convolutions)
    first, second = model.layers[0].deformable, folded.layers[0].deformable
    assert second.values[0].in_channels == model.fusion.convolutions[0].in_channels
    assert second.out.weight is first.out.weight and folded.encoder is model.encoder
    # With proposals, the finest fused map is needed as well.
    assert fold_projections(tiny_model()).fusion.convolutions[0].out_channels == 32
    # Six layers of width 32 read 100 channels: separate convolutions are cheaper.
    config = tiny_config(proposals=0)
    config = replace(config, fusion_width=4, decoder=replace(config.decoder, layers=6, width=4, heads=2))
    assert not any(isinstance(c, nn.Identity) for c in fold_projections(SeqPose(config)).fusion.convolutions)


@pytest.mark.parametrize("head", [HeadConfig(), HeadConfig("direct"), HeadConfig(rotation_modes=3)], ids=str)
@torch.no_grad()
def test_the_centre_alone_equals_that_of_the_full_prediction(head: HeadConfig) -> None:
    torch.manual_seed(0)
    module = PoseHead(head, 32, 103.0, np.full((6, 3), 0.1))
    nn.init.normal_(module.regress[2].weight)
    query, reference = torch.randn(2, 7, 32), torch.rand(2, 7, 3) + 0.3
    camera = pinhole(frames(2)[1])
    expected = module(query, reference, camera).translation
    torch.testing.assert_close(module.translation(query, reference, camera), expected)


def test_motion_of_a_frame_is_that_of_its_valid_slots() -> None:
    motion = torch.tensor([[-3.0], [0.0], [2.0], [2.0], [0.0], [0.0]]).expand(6, 13)[None]
    valid = torch.tensor([[True, False, True, True, False, False]])
    view = MemoryView(torch.zeros(1, 6, 4), torch.zeros(1, 6, 3), motion, valid)
    assert view.frame_motion(2)[0, :, 0].tolist() == [-3.0, 2.0, 0.0]


@torch.no_grad()
def test_only_kept_queries_are_decoded_further() -> None:
    """The second layer by hand on the rows of the 9 highest scores, against the network that keeps 9 of 18."""
    config = tiny_config()
    every = moved_model(config)
    some = SeqPose(replace(config, decoder=replace(config.decoder, kept_queries=(9,)))).eval()
    some.load_state_dict(every.state_dict())
    images, intrinsics = frames(1)
    _, memory = every(images, intrinsics)
    inputs: list[tuple] = []  # type: ignore[type-arg]
    handle = every.layers[1].register_forward_pre_hook(lambda module, arguments: inputs.append(arguments))
    full, _ = every(images, intrinsics, memory)
    handle.remove()
    (queries, past, bias, reference, features) = inputs[0]
    score = full.layers[0].logits[0].amax(-1)
    kept = sorted(range(18), key=lambda query: float(score[query]))[-9:]
    columns = kept + list(range(18, bias.shape[-1]))
    tokens = replace(queries, embedding=queries.embedding[:, kept], position=queries.position[:, kept])
    decoded = every.layers[1](tokens, past, bias[..., columns], reference[:, kept], features)
    expected = every.heads[1](decoded, reference[:, kept], features.pinhole)

    actual, _ = some(images, intrinsics, memory)
    assert [layer.logits.shape[1] for layer in actual.layers] == [18, 9]
    assert [valid.shape[1] for valid in actual.layer_valid] == [18, 9]
    assert int(actual.valid.sum()) == int(full.valid[0, kept].sum()) > 0
    nearest = torch.cdist(expected.translation, actual.objects.translation)[0].argmin(1)
    assert sorted(nearest.tolist()) == list(range(9))
    torch.testing.assert_close(actual.objects.translation[0, nearest], expected.translation[0])
    torch.testing.assert_close(actual.objects.rotation[0, nearest], expected.rotation[0])


@torch.no_grad()
def test_the_finest_level_can_be_left_out() -> None:
    model = moved_model(replace(fast_config(), queries=QueryConfig(anchors=14, proposals=0)))
    before = model(*frames(1))[0].objects
    model.fusion.convolutions[0].weight.add_(1.0)
    torch.testing.assert_close(model(*frames(1))[0].objects.translation, before.translation, atol=0, rtol=0)
    model.fusion.convolutions[1].weight.add_(1.0)
    assert not torch.allclose(model(*frames(1))[0].objects.translation, before.translation)


def test_shared_values_are_one_set_of_projections() -> None:
    names = SeqPose(fast_config()).state_dict()
    assert {name for name in names if "values" in name} == {
        f"values.{level}.{part}" for level in range(3) for part in ("weight", "bias")
    }
