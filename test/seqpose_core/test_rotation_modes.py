# SPDX-License-Identifier: Apache-2.0
"""Several rotation hypotheses per query: the nearest is trained, the most probable rotation is published."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from tiny import frames, targets, tiny_config
from torch import Tensor

from seqpose_core import SeqPose
from seqpose_core.categories import CATEGORIES
from seqpose_core.losses.criterion import Criterion, CriterionConfig, object_losses
from seqpose_core.losses.matching import Matches, MatchingWeights, match
from seqpose_core.losses.rotation_modes import mode_losses
from seqpose_core.losses.symmetry import CANONICAL, PoseDistance
from seqpose_core.model.config import HeadConfig
from seqpose_core.model.pose_head import ObjectPrediction, PoseHead, densest_mode, mode_rotations
from seqpose_core.model.projection import Pinhole
from seqpose_core.selection import pose_covariance

TYPICAL_SIZES = np.array([c.typical_size for c in CATEGORIES])  # (6, 3) metres
SIX = HeadConfig(rotation_modes=6)
PINHOLE = Pinhole(torch.tensor([[[90.0, 0, 56], [0, 90.0, 42], [0, 0, 1]]]), torch.tensor([112.0, 84.0]))


def about_y(degrees: float) -> Tensor:
    return torch.tensor(Rotation.from_euler("y", degrees, degrees=True).as_matrix(), dtype=torch.float32)


def with_modes(modes: list[Tensor], logits: list[float]) -> ObjectPrediction:
    """One query one metre ahead with these hypotheses."""
    best = int(np.argmax(logits))
    return ObjectPrediction(
        logits=torch.zeros(1, 1, 6),
        translation=torch.tensor([[[0.0, 0.0, 1.0]]]),
        rotation=modes[best][None, None],
        size=torch.ones(1, 1, 3),
        log_scale=torch.full((1, 1, 6), math.log(0.1)),
        modes=torch.stack(modes)[None, None],
        mode_logits=torch.tensor([[logits]]),
    )


def test_modes_start_at_equally_spaced_yaws_of_a_standing_object() -> None:
    rotations = mode_rotations(6).double().numpy()
    elevation = math.radians(40)
    # Seen from 40 degrees above, up is (0, -cos 40, -sin 40) in the optical frame (x right, y down, z forward).
    expected = np.tile([0, -math.cos(elevation), -math.sin(elevation)], (6, 1))
    np.testing.assert_allclose(rotations[:, :, 1], expected, atol=1e-6)
    np.testing.assert_allclose(rotations[0, :, 0], [1, 0, 0], atol=1e-6)
    for first, second in zip(rotations, np.roll(rotations, -1, axis=0), strict=True):
        step = Rotation.from_matrix(first.T @ second).as_rotvec(degrees=True)
        np.testing.assert_allclose(step, [0, 60, 0], atol=1e-4)


def test_modes_near_one_rotation_outweigh_a_mode_with_a_higher_score() -> None:
    """40 % at 0 degrees; 30 % each at 100 and 110, whose distance 4/3 · sin 5° = 0.116 leaves 68 % of their support."""
    modes = torch.stack([about_y(0), about_y(100), about_y(110)])[None, None]
    logits = torch.tensor([0.4, 0.31, 0.29]).log()[None, None]
    assert densest_mode(modes, logits).tolist() == [[1]]
    sure = torch.tensor([0.7, 0.16, 0.14]).log()[None, None]
    assert densest_mode(modes, sure).tolist() == [[0]]


def test_a_new_head_predicts_its_starting_modes_and_publishes_one_of_them() -> None:
    torch.manual_seed(0)
    head = PoseHead(SIX, 16, 100.0, TYPICAL_SIZES)
    with torch.no_grad():
        head.regress[2].weight.zero_()
        prediction = head(torch.randn(1, 9, 16), torch.tensor([0.0, 0.0, 1.0]).expand(1, 9, 3), PINHOLE)
    assert prediction.modes is not None and prediction.mode_logits is not None
    torch.testing.assert_close(prediction.modes, mode_rotations(6).expand(1, 9, 6, 3, 3), atol=1e-6, rtol=0)
    same = (prediction.rotation[0, :, None] == prediction.modes[0]).all(-1).all(-1)
    assert same.sum(1).tolist() == [1] * 9
    # The starting modes are equally spaced, so a mode with nearly all the probability is the densest.
    sure = 10 * F.one_hot(torch.tensor([3, 0]), 6).float()[None]
    assert densest_mode(mode_rotations(6).expand(1, 2, 6, 3, 3), sure).tolist() == [[3, 0]]


def test_a_plain_head_has_neither_modes_nor_their_weights() -> None:
    head = PoseHead(HeadConfig(), 16, 100.0, TYPICAL_SIZES)
    assert not any("mode" in name for name in head.state_dict())
    prediction = head(torch.randn(1, 2, 16), torch.tensor([0.0, 0.0, 1.0]).expand(1, 2, 3), PINHOLE)
    assert prediction.modes is None and prediction.mode_logits is None


def test_losses_of_two_modes_equal_a_hand_calculation() -> None:
    """A yaw of 90 degrees moves the tips of x and z by √2 each and leaves y: 2√2/3 on average.

    The scores are to be softmax(0, -10 · 2√2/3): the far mode gets 8e-5.
    """
    modes = torch.stack([about_y(0), about_y(90)])[None]
    logits = torch.tensor([[1.0, 3.0]])
    losses = mode_losses(modes, logits, about_y(0)[None], torch.tensor([False]), CANONICAL)
    far = 2 * math.sqrt(2) / 3
    torch.testing.assert_close(losses.regression, torch.tensor([0.95 * 0 + 0.05 * far / 2]))
    wanted = 1 / (1 + math.exp(10 * far))  # of the far mode
    scores = math.exp(1) / (math.exp(1) + math.exp(3)), math.exp(3) / (math.exp(1) + math.exp(3))
    divergence = (1 - wanted) * math.log((1 - wanted) / scores[0]) + wanted * math.log(wanted / scores[1])
    torch.testing.assert_close(losses.selection, torch.tensor([divergence]))
    assert torch.equal(losses.nearest[0], about_y(0))


def test_scores_of_equally_near_modes_are_trained_to_be_equal() -> None:
    modes = torch.stack([about_y(-20), about_y(20), about_y(180)])[None]
    target = about_y(0)[None]
    equal = mode_losses(modes, torch.tensor([[5.0, 5.0, -20.0]]), target, torch.tensor([False]), CANONICAL)
    sure = mode_losses(modes, torch.tensor([[9.0, 5.0, -20.0]]), target, torch.tensor([False]), CANONICAL)
    assert float(equal.selection) == pytest.approx(0, abs=1e-3)
    # Half of log(0.5 / p) each, for p = 1 / (1 + e^-4) and 1 / (1 + e^4).
    expected = 0.5 * (math.log(0.5 * (1 + math.exp(-4))) + math.log(0.5 * (1 + math.exp(4))))
    assert float(sure.selection) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("distance", [CANONICAL, PoseDistance(invariant=True)])
def test_scores_are_not_trained_on_symmetric_objects(distance: PoseDistance) -> None:
    modes = torch.stack([about_y(0), about_y(90)])[None].repeat(2, 1, 1, 1)
    logits = torch.zeros(2, 2, requires_grad=True)
    losses = mode_losses(modes, logits, about_y(80)[None].repeat(2, 1, 1), torch.tensor([True, False]), distance)
    losses.selection.sum().backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == [0, 0]
    torch.testing.assert_close(logits.grad[1], torch.tensor([0.5, -0.5]), atol=1e-3, rtol=0)


def test_the_uncertainty_is_trained_within_the_nearest_mode() -> None:
    """The published mode is 180 degrees off, the other one exact: all errors of the pair are zero."""
    ground_truth = replace(targets(1, [1], padded_to=1), symmetric=torch.tensor([[False]]))
    prediction = with_modes([ground_truth.rotation[0, 0] @ about_y(180), ground_truth.rotation[0, 0]], [2.0, 0.0])
    prediction = replace(prediction, translation=ground_truth.translation)
    zero = torch.zeros(1, dtype=torch.long)
    losses = object_losses(
        prediction, torch.ones(1, 1, dtype=torch.bool), ground_truth, Matches(zero, zero, zero), PINHOLE
    )
    # Laplace with error 0 and b = 0.1 in six components: 6 log 0.1.
    torch.testing.assert_close(losses["uncertainty"], torch.tensor([6 * math.log(0.1)]), atol=1e-2, rtol=0)
    # 180 degrees of yaw are a distance of 4/3: the target is 1 - exp(-13) for the second mode, whose logit is 0.
    torch.testing.assert_close(losses["rotation_mode"], torch.tensor([math.log(1 + math.exp(2.0))]), atol=1e-3, rtol=0)


def test_matching_by_rotation_takes_the_nearest_mode() -> None:
    ground_truth = replace(
        targets(1, [1], padded_to=1), rotation=about_y(120)[None, None], symmetric=torch.tensor([[False]])
    )
    near = with_modes([about_y(0), about_y(115)], [5.0, 0.0])  # its published mode is 120 degrees off
    far = with_modes([about_y(90), about_y(95)], [5.0, 0.0])  # published 30 degrees off, nearest 25
    both = ObjectPrediction(
        **{f.name: None if (v := getattr(far, f.name)) is None else torch.cat([v, getattr(near, f.name)], 1)
           for f in fields(far)}
    )  # fmt: skip
    weights = MatchingWeights(0, 0, 0, 0, rotation=1.0, log_size=0)
    assert match(both, torch.ones(1, 2, dtype=torch.bool), ground_truth, PINHOLE, weights).query.tolist() == [1]


def as_arrays(prediction: ObjectPrediction) -> dict[str, np.ndarray]:
    """The first sample of a prediction, as a step returns it."""
    return {name: value[0].numpy() for name, value in vars(prediction).items() if value is not None}


def test_the_covariance_contains_the_spread_of_the_modes() -> None:
    """Two equally likely modes 0.8 rad of yaw apart: 0.5·0.8² about the object's y axis, plus 2·0.1² about each."""
    tilted = torch.tensor(Rotation.from_euler("x", 30, degrees=True).as_matrix(), dtype=torch.float32)
    modes = [tilted, tilted @ about_y(math.degrees(0.8))]
    found = pose_covariance(as_arrays(with_modes(modes, [0.0, 0.0])))[0, 3:, 3:]
    expected = tilted @ torch.diag(torch.tensor([0.02, 0.02 + 0.32, 0.02])) @ tilted.T
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5, rtol=1e-4)
    sure = pose_covariance(as_arrays(with_modes(modes, [20.0, -20.0])))[0, 3:, 3:]
    np.testing.assert_allclose(sure, 0.02 * np.eye(3), atol=1e-5, rtol=1e-4)


def test_an_ambiguous_yaw_gives_two_modes_and_not_their_mean() -> None:
    """The target of one query has a yaw of 70 degrees in half of the samples and of -70 in the other half."""
    torch.manual_seed(0)
    head = PoseHead(SIX, 16, 100.0, TYPICAL_SIZES)
    query, reference = torch.randn(1, 1, 16).expand(2, 1, 16), torch.tensor([0.0, 0.0, 1.0]).expand(2, 1, 3)
    standing = mode_rotations(1)[0]
    ground_truth = torch.stack([standing @ about_y(70), standing @ about_y(-70)])
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(150):
        prediction = head(query, reference, PINHOLE)
        assert prediction.modes is not None and prediction.mode_logits is not None
        losses = mode_losses(
            prediction.modes[:, 0],
            prediction.mode_logits[:, 0],
            ground_truth,
            torch.zeros(2, dtype=torch.bool),
            CANONICAL,
        )
        optimizer.zero_grad()
        (3 * losses.regression + 4 * losses.selection).sum().backward()
        optimizer.step()
    published = Rotation.from_matrix(prediction.rotation[0, 0].detach().double().numpy())
    errors = [(published.inv() * Rotation.from_matrix(t.double().numpy())).magnitude() for t in ground_truth]
    assert math.degrees(min(errors)) < 5
    # Several modes may end near the same yaw and share its probability.
    found = Rotation.from_matrix(prediction.modes[0, 0].detach().double().numpy())
    probability = prediction.mode_logits[0, 0].detach().softmax(-1).double().numpy()
    for wanted in ground_truth:
        near = (found.inv() * Rotation.from_matrix(wanted.double().numpy())).magnitude() < math.radians(20)
        assert probability[near].sum() == pytest.approx(0.5, abs=0.1)


def test_the_criterion_trains_the_scores_of_every_layer() -> None:
    torch.manual_seed(0)
    model = SeqPose(replace(tiny_config(), head=SIX))
    images, intrinsics = frames(2)
    prediction, _ = model(images, intrinsics)
    criterion = Criterion(CriterionConfig(), model.config.canonical_focal)
    ground_truth = replace(targets(2, [3, 2]), symmetric=torch.zeros(2, 5, dtype=torch.bool))
    loss, terms = criterion(prediction, ground_truth, Pinhole(intrinsics, model.image_size))
    loss.backward()
    assert terms["rotation_mode"] > 0
    for head in model.heads:
        assert head.score_modes is not None
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.score_modes.parameters())


def test_a_head_with_modes_is_exported_as_one_graph() -> None:
    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = PoseHead(SIX, 16, 100.0, TYPICAL_SIZES)

        def forward(self, query: Tensor, reference: Tensor) -> tuple[Tensor | None, ...]:
            objects = self.head(query, reference, PINHOLE)
            return objects.rotation, objects.modes, objects.mode_logits

    torch.manual_seed(0)
    head = Head().eval()
    reference = torch.tensor([0.0, 0.0, 1.0]).expand(1, 9, 3).contiguous()
    exported = torch.export.export(head, (torch.randn(1, 9, 16), reference), strict=False).module()
    query = torch.randn(1, 9, 16)
    for a, b in zip(exported(query, reference), head(query, reference), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def test_modes_and_poses_per_category_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="rotation_modes is 6; it must be 1 where per_category is true"):
        HeadConfig(per_category=True, rotation_modes=6)
