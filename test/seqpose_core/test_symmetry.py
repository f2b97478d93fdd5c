# SPDX-License-Identifier: Apache-2.0
"""Losses up to rotations about y: of bottles, bowls, cans and mugs whose handle is hidden."""

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
from tiny import frames, pinhole, targets, tiny_model
from torch import Tensor

from seqpose_core.losses.criterion import Criterion, CriterionConfig, ObjectLossOptions, object_losses
from seqpose_core.losses.matching import Matches, MatchingWeights
from seqpose_core.losses.symmetry import (
    PoseDistance,
    RotationNorm,
    extent_distance,
    rotation_distance,
    rotation_error_vector,
)
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.seqpose import Prediction

INVARIANT = ObjectLossOptions(PoseDistance(invariant=True))
ANGLES = st.floats(-3.1, 3.1)
VECTORS = st.tuples(ANGLES, ANGLES, ANGLES)


def about_y(angle: float) -> Tensor:
    return torch.tensor(Rotation.from_euler("y", angle).as_matrix(), dtype=torch.float32)


def rotation(vector: tuple[float, ...] | np.ndarray) -> Tensor:
    return torch.tensor(Rotation.from_rotvec(vector).as_matrix(), dtype=torch.float32)


@cache
def some_prediction() -> tuple[Prediction, Tensor]:
    """The prediction of a random network on one frame, and its intrinsics."""
    images, intrinsics = frames(1)
    with torch.no_grad():
        return tiny_model(memory_frames=0)(images, intrinsics)[0], intrinsics


def losses_of_one(predicted: Tensor, true: Tensor, symmetric: bool, category: int) -> dict[str, float]:
    """Losses up to symmetry of an object with rotation ``true`` that is predicted as ``predicted``."""
    ground_truth = targets(1, [1], padded_to=1)
    ground_truth = replace(
        ground_truth,
        classes=torch.tensor([[category]]),
        rotation=true[None, None],
        symmetric=torch.tensor([[symmetric]]),
    )
    prediction = ObjectPrediction(
        torch.zeros(1, 1, 6),
        ground_truth.translation + 0.01,
        predicted[None, None],
        ground_truth.size * 1.1,
        torch.zeros(1, 1, 6),
    )
    pair = Matches(*torch.zeros(3, 1, dtype=torch.long))
    valid = torch.ones(1, 1, dtype=torch.bool)
    terms = object_losses(prediction, valid, ground_truth, pair, pinhole(frames(1)[1]), INVARIANT)
    return {name: float(value) for name, value in terms.items()}


@settings(max_examples=25, deadline=None)
@given(VECTORS, VECTORS, ANGLES, st.sampled_from([0, 1, 3, 5]))
def test_rotating_a_symmetric_object_about_y_changes_no_loss(
    predicted: tuple[float, ...], true: tuple[float, ...], yaw: float, category: int
) -> None:
    """Bottle, bowl, can, and mug with hidden handle."""
    before = losses_of_one(rotation(predicted), rotation(true), True, category)
    after = losses_of_one(rotation(predicted), rotation(true) @ about_y(yaw), True, category)
    assert after == pytest.approx(before, abs=2e-3)
    rotated = losses_of_one(rotation(predicted) @ about_y(yaw), rotation(true), True, category)
    assert rotated["rotation"] == pytest.approx(before["rotation"], abs=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.lists(ANGLES, min_size=5, max_size=5))
def test_rotating_symmetric_objects_about_y_changes_neither_matching_nor_total_loss(angles: list[float]) -> None:
    prediction, intrinsics = some_prediction()
    ground_truth = targets(1, [4])
    ground_truth = replace(ground_truth, symmetric=torch.ones_like(ground_truth.symmetric))
    rotated = replace(
        ground_truth, rotation=ground_truth.rotation @ torch.stack([about_y(angle) for angle in angles])[None]
    )
    config = CriterionConfig(symmetry="invariant", matching=MatchingWeights(rotation=10.0, size=1.0))
    criterion = Criterion(config, 100.0)
    first, second = (float(criterion(prediction, t, pinhole(intrinsics))[0]) for t in (ground_truth, rotated))
    assert first == pytest.approx(second, rel=1e-4)


def test_yaw_of_a_mug_counts_only_with_visible_handle() -> None:
    visible, hidden = (losses_of_one(about_y(1.0), torch.eye(3), symmetric, 5) for symmetric in (False, True))
    # Two of three axes are a radian off: chords of 2 sin(1/2).
    assert visible["rotation"] == pytest.approx(2 * 2 * np.sin(0.5) / 3, rel=1e-4)
    assert hidden["rotation"] == pytest.approx(0, abs=1e-5)


def test_rotation_distance_by_hand() -> None:
    # 90° about y maps x to -z and z to x: two chords of √2, or two sums of absolute differences of 2.
    rotated = about_y(np.pi / 2)
    assert float(rotation_distance(rotated, torch.eye(3))) == pytest.approx(2 * np.sqrt(2) / 3, rel=1e-5)
    assert float(rotation_distance(rotated, torch.eye(3), norm="l1")) == pytest.approx(4 / 3, rel=1e-5)


def test_gradient_descent_converges_on_chordal_distance_and_often_not_on_l1() -> None:
    """The reason for the default: gradient descent on the 6D representation, from the identity to 300 rotations."""
    true = torch.tensor(Rotation.random(300, random_state=0).as_matrix(), dtype=torch.float32)
    far: dict[str, float] = {}
    norms: tuple[RotationNorm, ...] = ("chordal", "l1")
    for norm in norms:
        six = torch.eye(3)[:, :2].repeat(300, 1, 1).requires_grad_()
        optimizer = torch.optim.SGD([six], lr=0.1)
        for step in range(800):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 800)
            optimizer.zero_grad()
            rotation_distance(roma.special_gramschmidt(six), true, norm=norm).sum().backward()
            optimizer.step()
        ends = roma.special_gramschmidt(six.detach())
        angles = Rotation.from_matrix((ends.transpose(1, 2) @ true).numpy()).magnitude()
        far[norm] = float((angles > np.radians(30)).mean())
    assert far["chordal"] == 0 and far["l1"] > 0.2


def test_width_and_depth_may_be_exchanged_for_symmetric_objects_only() -> None:
    predicted, symmetric = torch.tensor([[0.10, 0.3, 0.14]]), torch.tensor([True])
    assert float(extent_distance(predicted, torch.tensor([[0.14, 0.3, 0.10]]), symmetric)) == pytest.approx(0)
    assert float(extent_distance(predicted, torch.tensor([[0.14, 0.3, 0.10]]), ~symmetric)) == pytest.approx(0.08)
    # A round object: different width and depth count, though their mean is right.
    assert float(extent_distance(predicted, torch.tensor([[0.12, 0.3, 0.12]]), symmetric)) == pytest.approx(0.04)


def test_invariant_symmetry_ignores_yaw_and_is_off_by_default() -> None:
    ground_truth, (_, intrinsics) = targets(1, [1], padded_to=1), frames(1)
    ground_truth = replace(ground_truth, classes=torch.tensor([[3]]), symmetric=torch.tensor([[True]]))
    logits = torch.full((1, 1, 6), -20.0)
    logits[..., 3] = 20.0
    predicted = ObjectPrediction(
        logits, ground_truth.translation, ground_truth.rotation @ about_y(1.0), ground_truth.size, torch.zeros(1, 1, 6)
    )
    prediction = Prediction(predicted, (predicted,), (torch.ones(1, 1, dtype=torch.bool),), None, None)
    canonical, invariant = (
        float(Criterion(config, 100.0)(prediction, ground_truth, pinhole(intrinsics))[0])
        for config in (CriterionConfig(), CriterionConfig(symmetry="invariant"))
    )
    assert canonical > 1 and invariant == pytest.approx(0, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(VECTORS, st.floats(0.0, 3.0), st.floats(-3.1, 3.1), ANGLES)
def test_tilt_error_of_a_symmetric_object_does_not_depend_on_yaw(
    start: tuple[float, ...], angle: float, direction: float, yaw: float
) -> None:
    tilt = angle * np.array([np.cos(direction), 0.0, np.sin(direction)])
    predicted = rotation(start)
    true = predicted @ rotation(tilt) @ about_y(yaw)
    error = rotation_error_vector(predicted[None], true[None], torch.tensor([True]))
    np.testing.assert_allclose(error[0].numpy(), tilt, atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(VECTORS, VECTORS)
def test_rotation_error_of_other_objects_equals_scipy_rotation_vector(
    predicted: tuple[float, ...], true: tuple[float, ...]
) -> None:
    error = rotation_error_vector(rotation(predicted)[None], rotation(true)[None], torch.tensor([False]))[0].numpy()
    expected = Rotation.from_rotvec(predicted).inv() * Rotation.from_rotvec(true)
    assert (Rotation.from_rotvec(error).inv() * expected).magnitude() == pytest.approx(0, abs=2e-3)
    assert np.linalg.norm(error) == pytest.approx(expected.magnitude(), abs=2e-3)


def test_opposite_y_axes_differ_by_180_degrees() -> None:
    error = rotation_error_vector(torch.eye(3)[None], rotation((np.pi, 0, 0))[None], torch.tensor([True]))
    assert float(error.norm()) == pytest.approx(np.pi, abs=1e-3)
    assert float(rotation_distance(torch.eye(3), rotation((np.pi, 0, 0)), torch.tensor(True))) == pytest.approx(2)
