# SPDX-License-Identifier: Apache-2.0
"""Losses up to turns about y: of bottles, bowls, cans and mugs whose handle is hidden."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tiny import frames, targets, tiny_model
from torch import Tensor

from seqpose_core.losses.criterion import Criterion, CriterionConfig, object_losses
from seqpose_core.losses.matching import Matches, MatchingWeights
from seqpose_core.losses.symmetry import PoseDistance, RotationNorm, extent_difference, rotation_difference, turn_error
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.seqpose import Prediction

SIZE = torch.tensor([112.0, 84.0])
ANGLES = st.floats(-3.1, 3.1)
VECTORS = st.tuples(ANGLES, ANGLES, ANGLES)


def about_y(angle: float) -> Tensor:
    return torch.tensor(Rotation.from_euler("y", angle).as_matrix(), dtype=torch.float32)


def rotation(vector: tuple[float, ...] | np.ndarray) -> Tensor:
    return torch.tensor(Rotation.from_rotvec(vector).as_matrix(), dtype=torch.float32)


@cache
def some_prediction() -> tuple[Prediction, Tensor]:
    """Of a random network on one frame, with its intrinsics."""
    images, intrinsics = frames(1)
    with torch.no_grad():
        return tiny_model(memory_frames=0)(images, intrinsics)[0], intrinsics


def losses_of_one(said: Tensor, true: Tensor, symmetric: bool, category: int) -> dict[str, float]:
    """Losses up to symmetry of one object whose rotation is said to be ``said``."""
    truth = targets(1, [1], places=1)
    truth = replace(
        truth, classes=torch.tensor([[category]]), rotation=true[None, None], symmetric=torch.tensor([[symmetric]])
    )
    prediction = ObjectPrediction(
        torch.zeros(1, 1, 6), truth.translation + 0.01, said[None, None], truth.size * 1.1, torch.zeros(1, 1, 6)
    )
    pair = Matches(*torch.zeros(3, 1, dtype=torch.long))
    valid = torch.ones(1, 1, dtype=torch.bool)
    terms = object_losses(prediction, valid, truth, pair, frames(1)[1], SIZE, PoseDistance(invariant=True))
    return {name: float(value) for name, value in terms.items()}


@settings(max_examples=25, deadline=None)
@given(VECTORS, VECTORS, ANGLES, st.sampled_from([0, 1, 3, 5]))
def test_turning_the_truth_of_a_symmetric_object_about_y_changes_no_loss(
    said: tuple[float, ...], true: tuple[float, ...], turn: float, category: int
) -> None:
    """Bottle, bowl, can, and mug with hidden handle."""
    before = losses_of_one(rotation(said), rotation(true), True, category)
    after = losses_of_one(rotation(said), rotation(true) @ about_y(turn), True, category)
    assert after == pytest.approx(before, abs=2e-3)
    turned = losses_of_one(rotation(said) @ about_y(turn), rotation(true), True, category)
    assert turned["rotation"] == pytest.approx(before["rotation"], abs=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.lists(ANGLES, min_size=5, max_size=5))
def test_turning_symmetric_truths_changes_neither_matching_nor_the_whole_loss(turns: list[float]) -> None:
    prediction, intrinsics = some_prediction()
    truth = targets(1, [4])
    truth = replace(truth, symmetric=torch.ones_like(truth.symmetric))
    turned = replace(truth, rotation=truth.rotation @ torch.stack([about_y(turn) for turn in turns])[None])
    config = CriterionConfig(symmetry="invariant", matching=MatchingWeights(rotation=10.0, size=1.0))
    criterion = Criterion(config, 100.0)
    first, second = (float(criterion(prediction, t, intrinsics, SIZE)[0]) for t in (truth, turned))
    assert first == pytest.approx(second, rel=1e-4)


def test_the_turn_of_a_mug_whose_handle_is_seen_counts() -> None:
    seen, hidden = (losses_of_one(about_y(1.0), torch.eye(3), symmetric, 5) for symmetric in (False, True))
    # Two of three axes are a radian off: chords of 2 sin(1/2).
    assert seen["rotation"] == pytest.approx(2 * 2 * np.sin(0.5) / 3, rel=1e-4)
    assert hidden["rotation"] == pytest.approx(0, abs=1e-5)


def test_rotations_differ_by_chords_or_by_entries() -> None:
    # A quarter turn about y carries x to -z and z to x: two axes each √2 away, or 2 in the sum of entries.
    turned = about_y(np.pi / 2)
    assert float(rotation_difference(turned, torch.eye(3))) == pytest.approx(2 * np.sqrt(2) / 3, rel=1e-5)
    assert float(rotation_difference(turned, torch.eye(3), norm="l1")) == pytest.approx(4 / 3, rel=1e-5)


def test_rotations_that_descend_on_chords_come_home_and_on_l1_many_do_not() -> None:
    """The reason for the default: steepest descent on the 6D form, from no turn at all to 300 random truths."""
    true = torch.tensor(Rotation.random(300, random_state=0).as_matrix(), dtype=torch.float32)
    lost: dict[str, float] = {}
    norms: tuple[RotationNorm, ...] = ("chordal", "l1")
    for norm in norms:
        six = torch.eye(3)[:, :2].repeat(300, 1, 1).requires_grad_()
        optimizer = torch.optim.SGD([six], lr=0.1)
        for step in range(800):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 800)
            optimizer.zero_grad()
            rotation_difference(roma.special_gramschmidt(six), true, norm=norm).sum().backward()
            optimizer.step()
        ends = roma.special_gramschmidt(six.detach())
        angles = Rotation.from_matrix((ends.transpose(1, 2) @ true).numpy()).magnitude()
        lost[norm] = float((angles > np.radians(30)).mean())
    assert lost["chordal"] == 0 and lost["l1"] > 0.2


def test_a_quarter_turn_exchanges_width_and_depth_of_symmetric_objects_only() -> None:
    said, free = torch.tensor([[0.10, 0.3, 0.14]]), torch.tensor([True])
    assert float(extent_difference(said, torch.tensor([[0.14, 0.3, 0.10]]), free)) == pytest.approx(0)
    assert float(extent_difference(said, torch.tensor([[0.14, 0.3, 0.10]]), ~free)) == pytest.approx(0.08)
    # A round truth: being out of round costs, though the mean of width and depth is right.
    assert float(extent_difference(said, torch.tensor([[0.12, 0.3, 0.12]]), free)) == pytest.approx(0.04)


def test_the_switch_for_symmetry_spares_the_turn_and_is_off_by_default() -> None:
    truth, (_, intrinsics) = targets(1, [1], places=1), frames(1)
    truth = replace(truth, classes=torch.tensor([[3]]), symmetric=torch.tensor([[True]]))
    logits = torch.full((1, 1, 6), -20.0)
    logits[..., 3] = 20.0
    said = ObjectPrediction(logits, truth.translation, truth.rotation @ about_y(1.0), truth.size, torch.zeros(1, 1, 6))
    prediction = Prediction(said, (said,), torch.ones(1, 1, dtype=torch.bool), None, None)
    as_labelled, up_to_turns = (
        float(Criterion(config, 100.0)(prediction, truth, intrinsics, SIZE)[0])
        for config in (CriterionConfig(), CriterionConfig(symmetry="invariant"))
    )
    assert as_labelled > 1 and up_to_turns == pytest.approx(0, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(VECTORS, st.floats(0.0, 3.0), st.floats(-3.1, 3.1), ANGLES)
def test_the_tilt_of_a_symmetric_object_does_not_depend_on_its_turn(
    start: tuple[float, ...], angle: float, direction: float, turn: float
) -> None:
    tilt = angle * np.array([np.cos(direction), 0.0, np.sin(direction)])
    said = rotation(start)
    true = said @ rotation(tilt) @ about_y(turn)
    error = turn_error(said[None], true[None], torch.tensor([True]))
    np.testing.assert_allclose(error[0].numpy(), tilt, atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(VECTORS, VECTORS)
def test_the_turn_error_of_other_objects_is_scipys_rotation_vector(
    said: tuple[float, ...], true: tuple[float, ...]
) -> None:
    error = turn_error(rotation(said)[None], rotation(true)[None], torch.tensor([False]))[0].numpy()
    expected = Rotation.from_rotvec(said).inv() * Rotation.from_rotvec(true)
    assert (Rotation.from_rotvec(error).inv() * expected).magnitude() == pytest.approx(0, abs=2e-3)
    assert np.linalg.norm(error) == pytest.approx(expected.magnitude(), abs=2e-3)


def test_an_axis_that_points_the_opposite_way_is_half_a_turn_off() -> None:
    error = turn_error(torch.eye(3)[None], rotation((np.pi, 0, 0))[None], torch.tensor([True]))
    assert float(error.norm()) == pytest.approx(np.pi, abs=1e-3)
    assert float(rotation_difference(torch.eye(3), rotation((np.pi, 0, 0)), torch.tensor(True))) == pytest.approx(2)
