# SPDX-License-Identifier: Apache-2.0
"""Matching and losses: order does not matter, empty scenes work, perfect answers cost nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import permutations

import pytest
import torch
from tiny import frames, targets, tiny_model

from seqpose_core.losses.criterion import Criterion, CriterionConfig, focal_loss, object_losses
from seqpose_core.losses.dense import centre_losses
from seqpose_core.losses.matching import MatchingWeights, match, matching_cost
from seqpose_core.losses.targets import Targets
from seqpose_core.model.dense_heads import CentrePrediction
from seqpose_core.model.pose_head import ObjectPrediction

CRITERION = Criterion(CriterionConfig(), canonical_focal=100.0)


def reorder(prediction: ObjectPrediction, order: torch.Tensor) -> ObjectPrediction:
    return ObjectPrediction(*(getattr(prediction, f.name)[:, order] for f in fields(prediction)))


def perfect(truth: Targets) -> ObjectPrediction:
    """One query for each place, saying the truth."""
    logits = torch.full((*truth.classes.shape, 6), -20.0)
    logits.scatter_(2, truth.classes.clamp_min(0)[..., None], torch.where(truth.present, 20.0, -20.0)[..., None])
    return ObjectPrediction(
        logits, truth.translation, truth.rotation, truth.size, torch.zeros(*truth.classes.shape, 6)
    )


def test_a_perfect_prediction_costs_nothing() -> None:
    truth, (_, intrinsics), size = targets(2, [3, 5]), frames(2), torch.tensor([112.0, 84.0])
    prediction, valid = perfect(truth), torch.ones(2, 5, dtype=torch.bool)
    matches = match(prediction, valid, truth, intrinsics, size, MatchingWeights())
    assert torch.equal(matches.query, matches.target)
    terms = object_losses(prediction, valid, truth, matches, intrinsics, size)
    for name in ("classification", "centre_uv", "log_depth", "position", "rotation", "log_size", "uncertainty"):
        assert float(terms[name]) == pytest.approx(0, abs=2e-3), name


def test_the_assignment_is_the_cheapest_of_all() -> None:
    """Against brute force over every assignment."""
    model, truth = tiny_model(), targets(1, [3])
    images, intrinsics = frames(1)
    with torch.no_grad():
        prediction, _ = model(images, intrinsics)
    some = reorder(prediction.objects, torch.arange(5))
    valid, size, weights = torch.ones(1, 5, dtype=torch.bool), torch.tensor([112.0, 84.0]), MatchingWeights()
    cost = matching_cost(some, truth, intrinsics, size, weights)[0]
    matches = match(some, valid, truth, intrinsics, size, weights)
    best = min(sum(float(cost[q, t]) for t, q in enumerate(p)) for p in permutations(range(5), 3))
    assert float(cost[matches.query, matches.target].sum()) == pytest.approx(best, rel=1e-5)


def test_the_order_of_queries_and_targets_does_not_matter() -> None:
    model, truth = tiny_model(), targets(2, [4, 2])
    images, intrinsics = frames(2)
    with torch.no_grad():
        prediction, _ = model(images, intrinsics)
    total, terms = CRITERION(prediction, truth, intrinsics, model.image_size)

    queries = torch.randperm(prediction.objects.logits.shape[1], generator=torch.Generator().manual_seed(1))
    layers = tuple(reorder(layer, queries) for layer in prediction.layers)
    shuffled = replace(prediction, layers=layers, objects=layers[-1], valid=prediction.valid[:, queries])
    places = torch.tensor([3, 1, 4, 0, 2])
    per_object = ("classes", "rotation", "translation", "size", "symmetric")
    moved = replace(truth, **{name: getattr(truth, name)[:, places] for name in per_object})
    again, terms_again = CRITERION(shuffled, moved, intrinsics, model.image_size)
    assert float(again) == pytest.approx(float(total), rel=1e-5)
    for name, value in terms.items():
        assert float(terms_again[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("counts", [[0, 3], [0, 0], [1, 0]])
def test_scenes_without_objects_train(counts: list[int]) -> None:
    model = tiny_model().train()
    images, intrinsics = frames(2)
    prediction, _ = model(images, intrinsics)
    total, terms = CRITERION(prediction, targets(2, counts), intrinsics, model.image_size)
    total.backward()
    assert total.isfinite()
    assert all(value.isfinite() for value in terms.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_more_objects_than_queries_are_refused() -> None:
    model, truth = tiny_model(anchors=0, proposals=4), targets(1, [5])
    images, intrinsics = frames(1)
    with pytest.raises(ValueError, match=r"5 objects but the model only 4 queries; raise queries\.anchors"):
        CRITERION(model(images, intrinsics)[0], truth, intrinsics, model.image_size)


def test_queries_that_do_not_exist_are_never_matched() -> None:
    truth, (_, intrinsics), size = targets(1, [2]), frames(1), torch.tensor([112.0, 84.0])
    valid = torch.tensor([[False, True, True, True, False]])
    matches = match(perfect(truth), valid, truth, intrinsics, size, MatchingWeights())
    assert 0 not in matches.query


def test_focal_loss_by_hand() -> None:
    """At probability 0.5: alpha · 0.25 · ln 2 for a positive, (1 - alpha) · 0.25 · ln 2 for a negative."""
    loss = focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert loss.tolist() == pytest.approx([0.25 * 0.25 * 0.693147, 0.75 * 0.25 * 0.693147], rel=1e-5)


def test_the_turn_of_a_symmetric_object_does_not_enter_its_uncertainty() -> None:
    truth, (_, intrinsics), size = targets(1, [1]), frames(1), torch.tensor([112.0, 84.0])
    truth = replace(truth, symmetric=torch.ones_like(truth.symmetric))
    prediction, valid = perfect(truth), torch.ones(1, 5, dtype=torch.bool)
    matches = match(prediction, valid, truth, intrinsics, size, MatchingWeights())
    angle = torch.tensor(1.0)
    turn = torch.eye(3)
    turn[0, 0] = turn[2, 2] = angle.cos()
    turn[0, 2], turn[2, 0] = angle.sin(), -angle.sin()
    turned = replace(prediction, rotation=prediction.rotation @ turn)
    value = object_losses(turned, valid, truth, matches, intrinsics, size)["uncertainty"]
    assert float(value) == pytest.approx(0, abs=1e-4)


def test_a_right_centre_map_costs_nothing() -> None:
    """One object whose centre falls on the middle of cell (row 6, column 9) of a 24x32 map."""
    (_, intrinsics), truth, size = frames(1), targets(1, [1]), torch.tensor([112.0, 84.0])
    u, v, z = (9 + 0.5) * 3.5 - 0.5, (6 + 0.5) * 3.5 - 0.5, 0.8
    k = intrinsics[0]
    place = torch.tensor([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z])
    truth.translation[0, 0] = place
    heat = torch.full((1, 6, 24, 32), -20.0)
    heat[0, truth.classes[0, 0], 6, 9] = 20.0
    log_depth = torch.zeros(1, 24, 32)
    log_depth[0, 6, 9] = torch.log(z * 100.0 / k[0, 0])
    right = CentrePrediction(heat, log_depth, torch.zeros(1, 2, 24, 32))
    losses = centre_losses(right, truth, intrinsics, size, canonical_focal=100.0)
    assert float(losses["heat"]) == pytest.approx(0, abs=1e-4)
    assert float(losses["centre"]) == pytest.approx(0, abs=1e-4)
    wrong = centre_losses(replace(right, heat=heat.flip(1)), truth, intrinsics, size, canonical_focal=100.0)
    assert float(wrong["heat"]) > 10
