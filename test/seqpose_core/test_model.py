# SPDX-License-Identifier: Apache-2.0
"""Properties of the network: samples are independent, and the past enters only through the memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoders_rig import DINOV2
from model_rig import OUTPUTS, assert_close, filled_memory, prediction_of, sample_of
from tiny import camera_poses, frames, tiny_config, tiny_model

from seqpose_core import SeqPose
from seqpose_core.model.config import DecoderConfig, DenseConfig, HeadConfig, QueryConfig
from seqpose_core.model.projection import Pinhole
from seqpose_core.model.stsq import CONDITION_WIDTH, DeformableAttention, ImageFeatures, PoseAwareLayerNorm


@pytest.mark.parametrize(("anchors", "proposals"), [(6, 8), (10, 0), (0, 10)])
@torch.no_grad()
def test_batch_of_three_equals_three_single_samples(anchors: int, proposals: int) -> None:
    model = tiny_model(anchors=anchors, proposals=proposals)
    memory = filled_memory(model, 3)
    images, intrinsics = frames(3)
    poses, stamp = camera_poses(3, seed=9), torch.tensor([0.3, 0.4, 0.5], dtype=torch.float64)
    together, memory_together = model(images, intrinsics, memory, poses, stamp)
    for i in range(3):
        one = slice(i, i + 1)
        alone, memory_alone = model(images[one], intrinsics[one], sample_of(memory, i), poses[one], stamp[one])
        assert_close(prediction_of(together.objects, i), alone.objects)
        torch.testing.assert_close(memory_together.reference[one], memory_alone.reference, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_deformable_attention_samples_at_projected_reference() -> None:
    """A single nonzero pixel of z_0 changes only the query whose reference projects onto it."""
    attention = DeformableAttention(DecoderConfig(width=8, heads=1, points=1), levels=1)
    attention.offsets.weight.zero_()
    attention.offsets.bias.zero_()
    intrinsics = torch.tensor([[[100.0, 0, 55.5], [0, 100.0, 41.5], [0, 0, 1]]])
    pinhole = Pinhole(intrinsics, torch.tensor([112.0, 84.0]))
    feature = torch.zeros(1, 8, 42, 56)
    feature[0, :, 10, 20] = 1.0  # cell (20, 10) of stride 2 covers pixels 40, 41 and 20, 21: its centre is (40.5, 20.5)
    z = 0.8
    hit = torch.tensor([(40.5 - 55.5) / 100 * z, (20.5 - 41.5) / 100 * z, z])
    behind, outside = -hit, torch.tensor([5.0, 0.0, 1.0])
    reference = torch.stack([hit, hit + torch.tensor([0.05, 0.0, 0.0]), behind, outside])[None]
    query = torch.zeros(1, 4, 8)
    sampled = attention(query, reference, ImageFeatures([feature], pinhole))
    zero = attention(query, reference, ImageFeatures([0 * feature], pinhole))
    expected = attention.out(attention.values[0](feature)[0, :, 10, 20])
    torch.testing.assert_close(sampled[0, 0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sampled[0, 1], zero[0, 1])
    torch.testing.assert_close(sampled[0, 2:], attention.out.bias.expand(2, -1))


def test_untrained_condition_does_not_change_the_layer_norm() -> None:
    x, condition = torch.randn(2, 3, 16), torch.randn(2, 3, CONDITION_WIDTH)
    expected = torch.nn.functional.layer_norm(x, (16,))
    torch.testing.assert_close(PoseAwareLayerNorm(16)(x, condition), expected)


@pytest.mark.parametrize("translation", ["projected", "direct"])
@pytest.mark.parametrize("rotation", ["allocentric", "egocentric"])
@torch.no_grad()
def test_every_head_predicts_rotation_matrices_and_positive_sizes(translation: str, rotation: str) -> None:
    torch.manual_seed(0)
    model = SeqPose(replace(tiny_config(), head=HeadConfig(translation, rotation))).eval()  # type: ignore[arg-type]
    objects = model(*frames(2))[0].objects
    identity = torch.eye(3).expand_as(objects.rotation)
    torch.testing.assert_close(objects.rotation @ objects.rotation.mT, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(objects.rotation), torch.ones(objects.rotation.shape[:2]))
    assert (objects.size > 0).all()


def test_gradient_reaches_every_parameter() -> None:
    model = tiny_model().train()
    images, intrinsics = frames(2)
    _, memory = model(images, intrinsics, None, camera_poses(2), torch.zeros(2, dtype=torch.float64))
    prediction, _ = model(images, intrinsics, memory, camera_poses(2, 5), torch.ones(2, dtype=torch.float64))
    parts = [getattr(layer, name) for layer in prediction.layers for name in OUTPUTS]
    parts += [v for v in vars(prediction.dense).values()] + [v for v in vars(prediction.centre).values()]
    sum(part.square().mean() for part in parts).backward()  # type: ignore[union-attr]
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []


def test_paper_configuration_runs_with_transformers_encoder() -> None:
    config = replace(
        tiny_config(anchors=20, proposals=0),
        encoder=DINOV2,
        queries=QueryConfig(anchors=20, proposals=0),
    )
    torch.manual_seed(0)
    model = SeqPose(config).eval()
    with torch.no_grad():
        prediction, memory = model(*frames(1))
        prediction, memory = model(*frames(1, seed=1), memory)
    assert prediction.objects.translation.shape == (1, 24, 3)
    assert prediction.dense is not None and prediction.dense.log_depth is not None
    assert prediction.dense.log_depth.shape == (1, 96, 128)  # finest level of the neck, 48x64, upscaled by 2


def test_errors_name_wrong_shapes() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    with pytest.raises(ValueError, match=r"\(1, 3, 80, 112\).*\(B, 3, 84, 112\)"):
        model(images[:, :, :80], intrinsics)
    with pytest.raises(ValueError, match=r"intrinsics have shape \(1, 2, 3\)"):
        model(images, intrinsics[:, :2])
    with pytest.raises(ValueError, match="has batch 1"):
        model.empty_memory(1).reset(torch.tensor([True, False]))


def test_network_without_dense_heads_runs_and_trains() -> None:
    torch.manual_seed(0)
    bare = DenseConfig(segmentation=False, depth=False, normals=False, nocs=False)
    model = SeqPose(replace(tiny_config(), dense=bare))
    prediction, _ = model(*frames(1))
    assert prediction.dense is None
    prediction.objects.translation.sum().backward()
    assert not [name for name, _ in model.named_parameters() if "dense" in name]


def test_position_in_head_starts_without_effect_and_then_depends_on_the_reference() -> None:
    """With equal weights elsewhere, a network with untrained position layers predicts what one without them does."""
    plain, config = tiny_model(memory_frames=0), tiny_config(memory_frames=0)
    positioned = SeqPose(replace(config, decoder=replace(config.decoder, position_in_head=True))).eval()
    missing, unexpected = positioned.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and missing == ["head_positions.0.weight", "head_positions.1.weight"]
    images, intrinsics = frames(1)
    with torch.no_grad():
        expected, _ = plain(images, intrinsics)
        same, _ = positioned(images, intrinsics)
        positioned.head_positions[1].weight.normal_(std=0.1)
        changed, _ = positioned(images, intrinsics)
    torch.testing.assert_close(same.objects.translation, expected.objects.translation)
    assert (changed.layers[0].translation == expected.layers[0].translation).all()
    assert ((changed.objects.size - expected.objects.size).abs().amax(-1) > 1e-4)[expected.valid].all()
