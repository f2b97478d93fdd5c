# SPDX-License-Identifier: Apache-2.0
"""The query memory: resets, invalid slots, order, and camera motion known or not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from model_rig import OUTPUTS, assert_close, filled_memory, prediction_of
from tiny import camera_poses, frames, tiny_config, tiny_model
from torch import Tensor

from seqpose_core import SeqPose
from seqpose_core.model.memory import FrameMotion, view_from
from seqpose_core.model.pose_head import ObjectPrediction


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
