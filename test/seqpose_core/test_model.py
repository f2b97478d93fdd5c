# SPDX-License-Identifier: Apache-2.0
"""What the network promises: samples do not touch each other, and the past enters only through the memory."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tiny import camera_poses, frames, tiny_config, tiny_model
from torch import Tensor

from seqpose_core import QueryMemory, SeqPose
from seqpose_core.model.config import DenseConfig, HeadConfig, QueryConfig
from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.pose_head import ObjectPrediction

OUTPUTS = ("logits", "translation", "rotation", "size", "log_scale")


def sample_of(memory: QueryMemory, index: int) -> QueryMemory:
    return QueryMemory(*(getattr(memory, f.name)[index : index + 1] for f in fields(memory)))


def assert_close(first: ObjectPrediction, second: ObjectPrediction, tolerance: float = 1e-5) -> None:
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if a is None and b is None:
            continue
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=lambda m, n=field.name: f"{n}: {m}")


def row(prediction: ObjectPrediction, index: int) -> ObjectPrediction:
    return replace(prediction, **{k: None if v is None else v[index : index + 1] for k, v in vars(prediction).items()})


def warm_memory(model: SeqPose, batch: int, steps: int = 2) -> QueryMemory:
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
def test_batch_of_three_equals_three_of_one(anchors: int, proposals: int) -> None:
    model = tiny_model(anchors=anchors, proposals=proposals)
    memory = warm_memory(model, 3)
    images, intrinsics = frames(3)
    poses, stamp = camera_poses(3, seed=9), torch.tensor([0.3, 0.4, 0.5], dtype=torch.float64)
    together, memory_together = model(images, intrinsics, memory, poses, stamp)
    for i in range(3):
        one = slice(i, i + 1)
        alone, memory_alone = model(images[one], intrinsics[one], sample_of(memory, i), poses[one], stamp[one])
        assert_close(row(together.objects, i), alone.objects)
        torch.testing.assert_close(memory_together.reference[one], memory_alone.reference, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_reset_touches_only_its_own_sample() -> None:
    model = tiny_model()
    memory = warm_memory(model, 3)
    images, intrinsics = frames(3)
    kept, _ = model(images, intrinsics, memory)
    after, _ = model(images, intrinsics, memory.reset(torch.tensor([False, True, False])))
    for sample in (0, 2):
        for name in OUTPUTS:
            a, b = getattr(kept.objects, name)[sample], getattr(after.objects, name)[sample]
            assert torch.equal(a, b), name
    assert not torch.equal(kept.objects.translation[1], after.objects.translation[1])


@torch.no_grad()
def test_a_reset_sample_is_as_if_it_had_no_past() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    forgotten = warm_memory(model, 1).reset(torch.tensor([True]))
    assert_close(model(images, intrinsics, forgotten)[0].objects, model(images, intrinsics)[0].objects, 1e-6)


@torch.no_grad()
def test_an_empty_memory_gives_the_single_frame_result() -> None:
    model = tiny_model()
    single = SeqPose(tiny_config(memory_frames=0)).eval()
    single.load_state_dict(model.state_dict())
    images, intrinsics = frames(2)
    with_room, _ = model(images, intrinsics)
    without, memory = single(images, intrinsics)
    queries = without.objects.logits.shape[1]
    for name in OUTPUTS:
        a, b = getattr(with_room.objects, name)[:, :queries], getattr(without.objects, name)
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    assert memory.valid.shape == (2, 0)
    assert (with_room.objects.logits[:, queries:].sigmoid() == 0).all(), "queries without a past score nothing"


@torch.no_grad()
def test_what_invalid_slots_hold_does_not_matter() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    memory = warm_memory(model, 1, steps=1)
    garbage = torch.where(memory.valid[..., None], memory.embedding, torch.full_like(memory.embedding, 1e4))
    spoilt = replace(memory, embedding=garbage)
    a, _ = model(images, intrinsics, memory, camera_poses(1))
    b, _ = model(images, intrinsics, spoilt, camera_poses(1))
    assert_close(a.objects, b.objects, 1e-6)


@torch.no_grad()
def test_the_memory_changes_the_result_and_holds_n_frames() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    alone, _ = model(images, intrinsics)
    for steps, slots in ((1, 4), (2, 8), (3, 12), (5, 12)):
        memory = warm_memory(model, 1, steps)
        assert int(memory.valid.sum()) == slots
        prediction, _ = model(images, intrinsics, memory)
        assert not torch.allclose(prediction.objects.translation[:, :14], alone.objects.translation[:, :14])


@torch.no_grad()
def test_the_newest_frame_stands_first_and_the_oldest_falls_out() -> None:
    model = tiny_model()
    memory = warm_memory(model, 1, steps=5)
    assert memory.stamp[0].tolist() == pytest.approx([0.4] * 4 + [0.3] * 4 + [0.2] * 4)


@torch.no_grad()
def test_moving_world_and_camera_together_changes_nothing() -> None:
    """Only relative camera motion may count: the choice of the fixed frame is the user's."""
    model = tiny_model()
    images, intrinsics = frames(1)
    world = camera_poses(1, seed=77)[0]

    def run(shift: Tensor) -> ObjectPrediction:
        memory = None
        for step in range(3):
            prediction, memory = model(images, intrinsics, memory, shift @ camera_poses(1, seed=step))
        return prediction.objects

    assert_close(run(torch.eye(4)), run(world), 2e-4)


@torch.no_grad()
def test_unknown_poses_count_as_no_motion() -> None:
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
def test_queries_sample_where_the_projection_says() -> None:
    """One bright pixel in z_0 is felt by a query whose reference projects there, and by no other."""
    from seqpose_core.model.config import DecoderConfig
    from seqpose_core.model.stsq import DeformableAttention

    attention = DeformableAttention(DecoderConfig(width=8, heads=1, points=1), levels=1)
    attention.offsets.weight.zero_()
    attention.offsets.bias.zero_()
    intrinsics = torch.tensor([[[100.0, 0, 55.5], [0, 100.0, 41.5], [0, 0, 1]]])
    feature = torch.zeros(1, 8, 42, 56)
    feature[0, :, 10, 20] = 1.0  # cell (20, 10) of stride 2 covers pixels 40, 41 and 20, 21: its middle is (40.5, 20.5)
    z = 0.8
    hit = torch.tensor([(40.5 - 55.5) / 100 * z, (20.5 - 41.5) / 100 * z, z])
    behind, outside = -hit, torch.tensor([5.0, 0.0, 1.0])
    reference = torch.stack([hit, hit + torch.tensor([0.05, 0.0, 0.0]), behind, outside])[None]
    query = torch.zeros(1, 4, 8)
    felt = attention(query, reference, [feature], intrinsics, torch.tensor([112.0, 84.0]))
    nothing = attention(query, reference, [0 * feature], intrinsics, torch.tensor([112.0, 84.0]))
    expected = attention.out(attention.values[0](feature)[0, :, 10, 20])
    torch.testing.assert_close(felt[0, 0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(felt[0, 1], nothing[0, 1])
    torch.testing.assert_close(felt[0, 2:], attention.out.bias.expand(2, -1))


@pytest.mark.parametrize("translation", ["projected", "direct"])
@pytest.mark.parametrize("rotation", ["allocentric", "egocentric"])
@torch.no_grad()
def test_every_head_gives_proper_poses(translation: str, rotation: str) -> None:
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
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_the_papers_configuration_runs_on_transformers_encoder() -> None:
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
    assert prediction.dense.log_depth.shape == (1, 96, 128)  # finest level of the neck at 48x64, twice upscaled


def test_wrong_shapes_are_named() -> None:
    model = tiny_model()
    images, intrinsics = frames(1)
    with pytest.raises(ValueError, match=r"\(1, 3, 80, 112\).*\(B, 3, 84, 112\)"):
        model(images[:, :, :80], intrinsics)
    with pytest.raises(ValueError, match=r"intrinsics have shape \(1, 2, 3\)"):
        model(images, intrinsics[:, :2])
    with pytest.raises(ValueError, match="has batch 1"):
        model.empty_memory(1).reset(torch.tensor([True, False]))


def test_a_network_without_dense_heads_runs_and_trains() -> None:
    torch.manual_seed(0)
    bare = DenseConfig(segmentation=False, depth=False, normals=False, nocs=False)
    model = SeqPose(replace(tiny_config(), dense=bare))
    prediction, _ = model(*frames(1))
    assert prediction.dense is None
    prediction.objects.translation.sum().backward()
    assert not [name for name, _ in model.named_parameters() if "dense" in name]
