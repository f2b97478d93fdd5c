# SPDX-License-Identifier: Apache-2.0
"""Properties of the network: samples are independent, and the past enters only through the memory."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tiny import camera_poses, frames, tiny_config, tiny_model
from torch import Tensor

from seqpose_core import QueryMemory, SeqPose
from seqpose_core.model.config import DecoderConfig, DenseConfig, HeadConfig, QueryConfig
from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.memory import FrameMotion, view_from
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.projection import Pinhole
from seqpose_core.model.stsq import CONDITION_WIDTH, DeformableAttention, ImageFeatures, PoseAwareLayerNorm

OUTPUTS = ("logits", "translation", "rotation", "size", "log_scale")


def sample_of(memory: QueryMemory, index: int) -> QueryMemory:
    return QueryMemory(*(getattr(memory, f.name)[index : index + 1] for f in fields(memory)))


def assert_close(first: ObjectPrediction, second: ObjectPrediction, tolerance: float = 1e-5) -> None:
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if a is None and b is None:
            continue
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=lambda m, n=field.name: f"{n}: {m}")


def prediction_of(prediction: ObjectPrediction, index: int) -> ObjectPrediction:
    return replace(prediction, **{k: None if v is None else v[index : index + 1] for k, v in vars(prediction).items()})


def filled_memory(model: SeqPose, batch: int, steps: int = 2) -> QueryMemory:
    memory = None
    with torch.no_grad():
        for step in range(steps):
            images, intrinsics = frames(batch, seed=100 + step)
            stamp = torch.full((batch,), 0.1 * step, dtype=torch.float64)
            _, memory = model(images, intrinsics, memory, camera_poses(batch, seed=step), stamp)
    assert memory is not None
    return memory


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
def test_reset_touches_only_its_own_sample() -> None:
    model = tiny_model()
    memory = filled_memory(model, 3)
    images, intrinsics = frames(3)
    kept, _ = model(images, intrinsics, memory)
    after, _ = model(images, intrinsics, memory.reset(torch.tensor([False, True, False])))
    for sample in (0, 2):
        for name in OUTPUTS:
            a, b = getattr(kept.objects, name)[sample], getattr(after.objects, name)[sample]
            assert torch.equal(a, b), name
    assert not torch.equal(kept.objects.translation[1], after.objects.translation[1])


@torch.no_grad()
def test_reset_sample_equals_sample_without_memory() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    reset = filled_memory(model, 1).reset(torch.tensor([True]))
    assert_close(model(images, intrinsics, reset)[0].objects, model(images, intrinsics)[0].objects, 1e-6)


@torch.no_grad()
def test_empty_memory_gives_single_frame_result() -> None:
    model = tiny_model()
    single = SeqPose(tiny_config(memory_frames=0)).eval()
    single.load_state_dict(model.state_dict())
    images, intrinsics = frames(2)
    empty, _ = model(images, intrinsics)
    single_frame, memory = single(images, intrinsics)
    queries = single_frame.objects.logits.shape[1]
    for name in OUTPUTS:
        a, b = getattr(empty.objects, name)[:, :queries], getattr(single_frame.objects, name)
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    assert memory.valid.shape == (2, 0)
    assert (empty.objects.logits[:, queries:].sigmoid() == 0).all(), "queries of empty slots have score 0"


@torch.no_grad()
def test_content_of_invalid_slots_has_no_effect() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    memory = filled_memory(model, 1, steps=1)
    garbage = torch.where(memory.valid[..., None], memory.embedding, torch.full_like(memory.embedding, 1e4))
    perturbed = replace(memory, embedding=garbage)
    a, _ = model(images, intrinsics, memory, camera_poses(1))
    b, _ = model(images, intrinsics, perturbed, camera_poses(1))
    assert_close(a.objects, b.objects, 1e-6)


@torch.no_grad()
def test_memory_changes_result_and_holds_n_frames() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    alone, _ = model(images, intrinsics)
    for steps, slots in ((1, 4), (2, 8), (3, 12), (5, 12)):
        memory = filled_memory(model, 1, steps)
        assert int(memory.valid.sum()) == slots
        prediction, _ = model(images, intrinsics, memory)
        assert not torch.allclose(prediction.objects.translation[:, :14], alone.objects.translation[:, :14])


@torch.no_grad()
def test_newest_frame_is_first_and_oldest_is_dropped() -> None:
    model = tiny_model()
    memory = filled_memory(model, 1, steps=5)
    assert memory.stamp[0].tolist() == pytest.approx([0.4] * 4 + [0.3] * 4 + [0.2] * 4)


@torch.no_grad()
def test_choice_of_world_frame_has_no_effect() -> None:
    """Only the relative camera motion counts."""
    model = tiny_model()
    images, intrinsics = frames(1)
    world = camera_poses(1, seed=77)[0]

    def run(world_from_other: Tensor) -> ObjectPrediction:
        memory = None
        for step in range(3):
            prediction, memory = model(images, intrinsics, memory, world_from_other @ camera_poses(1, seed=step))
        return prediction.objects

    assert_close(run(torch.eye(4)), run(world), 2e-4)


@torch.no_grad()
def test_camera_far_from_the_world_origin_keeps_references_exact() -> None:
    """10 km away, the camera moves 1 cm to the right: a point of the past is 1 cm further left."""
    model = tiny_model()
    _, memory = model(*frames(1), None, _at(10_000.0))
    view = view_from(memory, FrameMotion.from_optional(_at(10_000.01), None, memory))
    expected = memory.reference - torch.tensor([0.01, 0.0, 0.0])
    torch.testing.assert_close(view.reference[:, :4], expected[:, :4], atol=1e-6, rtol=0)


def _at(x: float) -> Tensor:
    pose = torch.eye(4, dtype=torch.float64)[None]
    pose[0, 0, 3] = x
    return pose


@torch.no_grad()
def test_unknown_poses_equal_no_motion() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    still = torch.eye(4)[None]
    unknown = torch.full((1, 4, 4), torch.nan)
    results = []
    for pose in (None, unknown, still):
        _, memory = model(images, intrinsics, None, pose)
        results.append(model(images, intrinsics, memory, pose)[0].objects)
    assert_close(results[0], results[1], 0.0)
    assert_close(results[0], results[2], 1e-6)


@torch.no_grad()
def test_nan_pose_and_stamp_are_unknown_for_their_sample_only() -> None:
    model = tiny_model()
    images, intrinsics = frames(2)
    memory = filled_memory(model, 2)
    poses, stamp = camera_poses(2, seed=9), torch.tensor([0.3, 0.4], dtype=torch.float64)
    known, _ = model(images, intrinsics, memory, poses, stamp)
    unknown, _ = model(images, intrinsics, memory)
    poses[1], stamp[1] = torch.nan, torch.nan
    mixed, _ = model(images, intrinsics, memory, poses, stamp)
    assert_close(prediction_of(mixed.objects, 0), prediction_of(known.objects, 0), 1e-6)
    assert_close(prediction_of(mixed.objects, 1), prediction_of(unknown.objects, 1), 1e-6)
    assert not torch.allclose(known.objects.translation[1], unknown.objects.translation[1])


@torch.no_grad()
def test_network_input_is_finite_float32_where_poses_are_unknown() -> None:
    model = tiny_model()
    _, memory = model(*frames(1))
    assert not memory.pose_known.any() and not memory.stamp_known.any()
    view = view_from(memory, FrameMotion.from_optional(camera_poses(1), torch.tensor([1.0]), memory))
    assert not view.motion.any(), "unknown motion and time are zero"
    for field in fields(view):
        tensor = getattr(view, field.name)
        assert tensor.dtype in (torch.float32, torch.bool), field.name
        assert tensor.isfinite().all(), field.name


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
        encoder=EncoderConfig(
            kind="dinov2",
            width=32,
            depth=4,
            heads=2,
            neck_width=16,
            out_layers=(1, 2, 3, 4),
            reassemble_widths=(8, 16, 24, 32),
        ),
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
