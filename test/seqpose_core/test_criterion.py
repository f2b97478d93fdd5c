# SPDX-License-Identifier: Apache-2.0
"""Matching and losses: order does not matter, empty scenes work, perfect answers cost nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import camera_poses, frames, targets, tiny_model

from seqpose_core.losses.criterion import Criterion, CriterionConfig, LossWeights, focal_loss, object_losses
from seqpose_core.losses.dense import centre_losses
from seqpose_core.losses.matching import MatchingWeights, match, match_layers, matching_cost
from seqpose_core.losses.targets import Targets
from seqpose_core.model.dense_heads import CentrePrediction
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.seqpose import Prediction
from train.fit.config import load

PAPER = Path(__file__).parents[2] / "config/train/paper.yaml"
CRITERION = Criterion(CriterionConfig(), canonical_focal=100.0)
SIZE = torch.tensor([112.0, 84.0])
PER_OBJECT = ("classes", "rotation", "translation", "size", "symmetric")


@cache
def some_prediction() -> tuple[Prediction, torch.Tensor]:
    """Of a random network on two frames, with their intrinsics; 14 queries."""
    model = tiny_model(memory_frames=0)
    images, intrinsics = frames(2)
    with torch.no_grad():
        prediction, _ = model(images, intrinsics)
    return prediction, intrinsics


def perfect(truth: Targets) -> ObjectPrediction:
    """One query for each place, saying the truth."""
    logits = torch.full((*truth.classes.shape, 6), -20.0)
    logits.scatter_(2, truth.classes.clamp_min(0)[..., None], torch.where(truth.present, 20.0, -20.0)[..., None])
    return ObjectPrediction(logits, truth.translation, truth.rotation, truth.size, torch.zeros(*truth.classes.shape, 6))


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
    some = prediction.objects.queries(torch.arange(5))
    valid, size, weights = torch.ones(1, 5, dtype=torch.bool), torch.tensor([112.0, 84.0]), MatchingWeights()
    cost = matching_cost(some, truth, intrinsics, size, weights)[0]
    matches = match(some, valid, truth, intrinsics, size, weights)
    best = min(sum(float(cost[q, t]) for t, q in enumerate(p)) for p in permutations(range(5), 3))
    assert float(cost[matches.query, matches.target].sum()) == pytest.approx(best, rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(14)), st.permutations(range(5)), st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_the_order_of_queries_and_targets_does_not_matter(
    queries: list[int], places: list[int], counts: tuple[int, int]
) -> None:
    prediction, intrinsics = some_prediction()
    truth = targets(2, list(counts), seed=sum(counts))
    total, terms = CRITERION(prediction, truth, intrinsics, SIZE)
    order = torch.tensor(queries)
    layers = tuple(layer.queries(order) for layer in prediction.layers)
    shuffled = replace(prediction, layers=layers, objects=layers[-1], valid=prediction.valid[:, order])
    moved = replace(truth, **{name: getattr(truth, name)[:, places] for name in PER_OBJECT})
    again, terms_again = CRITERION(shuffled, moved, intrinsics, SIZE)
    assert float(again) == pytest.approx(float(total), rel=1e-4)
    for name, value in terms.items():
        assert float(terms_again[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-5), name


def test_a_sample_is_matched_alone_as_in_a_batch_and_a_layer_as_among_layers() -> None:
    prediction, intrinsics = some_prediction()
    truth, weights = targets(2, [4, 2]), MatchingWeights()
    together = match_layers(prediction.layers, prediction.valid, truth, intrinsics, SIZE, weights)
    for layer, matches in zip(prediction.layers, together, strict=True):
        for sample in (0, 1):
            one = slice(sample, sample + 1)
            said = replace(layer, **{k: None if v is None else v[one] for k, v in vars(layer).items()})
            alone_truth = replace(truth, **{name: getattr(truth, name)[one] for name in vars(truth)})
            alone = match(said, prediction.valid[one], alone_truth, intrinsics[one], SIZE, weights)
            here = matches.sample == sample
            assert torch.equal(matches.query[here], alone.query)
            assert torch.equal(matches.target[here], alone.target)


def test_costs_leave_an_accelerator_once_for_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, intrinsics = some_prediction()
    transfers: list[torch.Size] = []

    def counted(tensor: torch.Tensor) -> torch.Tensor:
        transfers.append(tensor.shape)
        return tensor

    monkeypatch.setattr(torch.Tensor, "cpu", counted)
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, n=name, **__: pytest.fail(f"{n} waits for the device"))
    CRITERION(prediction, targets(2, [3, 1]), intrinsics, SIZE)
    assert len(transfers) == 1


@pytest.mark.parametrize("counts", [[0, 3], [0, 0], [1, 0], [1, 1]])
def test_scenes_with_few_or_no_objects_train(counts: list[int]) -> None:
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


@pytest.mark.parametrize("counts", [[3, 5], [0, 0], [1, 0]])
def test_bfloat16_training_gives_finite_losses_and_gradients(counts: list[int]) -> None:
    model = tiny_model().train()
    truth, poses = targets(2, counts), camera_poses(2)
    with torch.autocast("cpu", torch.bfloat16):
        memory = None
        total = torch.zeros(())
        for step in range(2):
            images, intrinsics = frames(2, seed=step)
            prediction, memory = model(images, intrinsics, memory, poses, torch.full((2,), 0.1 * step))
            loss, terms = CRITERION(prediction, truth, intrinsics, model.image_size)
            assert all(value.isfinite() for value in terms.values()), terms
            total = total + loss
    total.backward()
    assert total.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_papers_criterion_is_equation_10() -> None:
    """One object, found 3 cm off, a quarter turn about z wrong, 2 cm too high, at a score of one half for its class."""
    truth, (_, intrinsics) = targets(1, [1], places=1), frames(1)
    said = perfect(truth)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    truth = replace(truth, rotation=torch.eye(3).expand(1, 1, 3, 3))
    said = replace(
        said,
        logits=torch.where(said.logits > 0, 0.0, -20.0),
        translation=truth.translation + torch.tensor([0.02, 0.0, -0.01]),
        rotation=quarter.expand(1, 1, 3, 3),
        size=truth.size + torch.tensor([0.0, 0.02, 0.0]),
    )
    paper = load(PAPER)
    config = replace(paper.criterion, weights=replace(paper.criterion.weights, uncertainty=0.0))
    assert vars(config.weights).items() >= {"segmentation": 1.0, "depth": 1.0, "normals": 1.0}.items()
    assert not paper.model.dense.nocs and not paper.model.queries.proposals, "terms that Eq. 10 does not have"
    prediction = Prediction(said, (said,), torch.ones(1, 1, dtype=torch.bool), None, None)
    total, _ = Criterion(config, canonical_focal=100.0)(prediction, truth, intrinsics, SIZE)
    # Two of the three axes end √2 from where they belong.
    assert float(total) == pytest.approx(0.25 * 0.25 * 0.693147 + 0.03 + 10 * 2 * 2**0.5 / 3 + 0.02, rel=1e-4)


def test_the_uncertaintys_weight_trains_the_uncertainty_alone() -> None:
    gradients = []
    for weight in (0.0, 5.0):
        model = tiny_model().train()
        images, intrinsics = frames(2)
        criterion = Criterion(CriterionConfig(weights=LossWeights(uncertainty=weight)), canonical_focal=100.0)
        prediction, _ = model(images, intrinsics)
        criterion(prediction, targets(2, [3, 2]), intrinsics, model.image_size)[0].backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]) != (".uncertain." in name), name
