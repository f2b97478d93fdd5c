# SPDX-License-Identifier: Apache-2.0
"""decoder.guided: estimated depth and normals change the attention of Eq. 8."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny import HEIGHT, WIDTH, frames, pinhole, tiny_config, tiny_model
from torch import nn

from seqpose_core import SeqPose
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.dense_heads import DensePrediction
from seqpose_core.model.guidance import GeometryGuide, geometry_map


def guided_config() -> SeqPoseConfig:
    config = tiny_config()
    return replace(config, decoder=replace(config.decoder, guided=True))


def test_points_are_described_by_their_distance_to_the_estimated_surface_and_its_normal() -> None:
    """A surface at 1 m in the left half of the image and at 2 m in the right half."""
    intrinsics = torch.tensor([[[100.0, 0, WIDTH / 2 - 0.5], [0, 100.0, HEIGHT / 2 - 0.5], [0, 0, 1]]])
    depth = torch.ones(1, 1, 20, 40)
    depth[..., 20:] = 2.0
    normals = torch.zeros(1, 3, 20, 40)
    normals[:, 0, :, :20], normals[:, 2, :, 20:] = 1.0, -1.0
    left, right = [-0.2, 0.0], [0.2, 0.0]  # x/z, y/z
    at = [(left, 1.0), (left, 1.5), (right, 1.5), (right, 9.0)]
    points = torch.tensor([[x * z, y * z, z] for (x, y), z in at]).reshape(1, 2, 1, 2, 3)
    guide = GeometryGuide()
    guide.network = nn.Identity()  # type: ignore[assignment]
    distance = guide(points, torch.cat([depth.log(), normals], 1), pinhole(intrinsics))
    assert distance.shape == (1, 2, 1, 2)
    expected = [0.0, math.log(1.5), math.log(1.5 / 2.0), 1.0]  # the last one is limited
    torch.testing.assert_close(distance.flatten(), torch.tensor(expected), atol=1e-5, rtol=0)


def test_the_geometry_map_holds_metres_for_any_focal_length() -> None:
    canonical, metres = 100.0, 0.8
    intrinsics = torch.eye(3).repeat(2, 1, 1)
    intrinsics[0, 0, 0] = intrinsics[0, 1, 1] = 100.0
    intrinsics[1, 0, 0] = intrinsics[1, 1, 1] = 250.0
    log_depth = torch.tensor([math.log(metres), math.log(metres * canonical / 250.0)])[:, None, None].expand(2, 4, 5)
    dense = DensePrediction(None, log_depth, torch.zeros(2, 3, 4, 5), None)
    depth = geometry_map(dense, pinhole(intrinsics), canonical)[:, 0].exp()
    torch.testing.assert_close(depth, torch.full((2, 4, 5), metres))


@torch.no_grad()
def test_an_untrained_guide_changes_nothing_and_a_trained_one_does() -> None:
    plain, guided = tiny_model(), SeqPose(guided_config()).eval()
    missing, unknown = guided.load_state_dict(plain.state_dict(), strict=False)
    assert not unknown and all(".guide." in name for name in missing)
    before, after = plain(*frames(2))[0], guided(*frames(2))[0]
    assert torch.equal(before.objects.translation, after.objects.translation)
    # Estimator and export leave out the dense maps; a guided decoder computes them.
    without_maps = guided(*frames(2), dense=False)[0]
    assert torch.equal(after.objects.translation, without_maps.objects.translation)
    for name, parameter in guided.named_parameters():
        if ".guide." in name:
            parameter.add_(0.5)
    assert not torch.allclose(guided(*frames(2))[0].objects.translation, after.objects.translation)


def test_the_guide_is_trained_and_the_dense_heads_are_not_trained_by_it() -> None:
    model = SeqPose(guided_config()).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model(*frames(2))[0].objects.translation.square().mean().backward()
    guides = [p for name, p in model.named_parameters() if ".guide." in name]
    assert guides and all(p.grad is not None and p.grad.abs().sum() > 0 for p in guides)
    assert all(p.grad is None for p in model.dense_heads.parameters())


@pytest.mark.parametrize("head", ["depth", "normals"])
def test_a_guided_decoder_needs_depth_and_normals(head: str) -> None:
    config = guided_config()
    with pytest.raises(ValueError, match=r"decoder\.guided is true, but there is no head for depth and normals"):
        replace(config, dense=replace(config.dense, **{head: False}))
