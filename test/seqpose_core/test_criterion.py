# SPDX-License-Identifier: Apache-2.0
"""Matching and losses: invariant to order, defined for empty scenes, zero for perfect predictions."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import camera_poses, frames, pinhole, targets, tiny_model

from seqpose_core.losses.criterion import Criterion, CriterionConfig, LossWeights, focal_loss, object_losses
from seqpose_core.losses.dense import centre_losses
from seqpose_core.losses.matching import MatchingWeights, match, matching_cost
from seqpose_core.losses.targets import Targets
from seqpose_core.model.dense_heads import CentrePrediction
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.proposals import select_proposals
from seqpose_core.model.seqpose import Prediction
from train.fit.config import load

PAPER = Path(__file__).parents[2] / "config/train/paper.yaml"
CRITERION = Criterion(CriterionConfig(), canonical_focal=100.0)
PER_OBJECT = ("classes", "rotation", "translation", "size", "symmetric")


@cache
def some_prediction() -> tuple[Prediction, torch.Tensor]:
    """14 queries of a random network on two frames, and their intrinsics."""
    model = tiny_model(memory_frames=0)
    images, intrinsics = frames(2)
    with torch.no_grad():
        prediction, _ = model(images, intrinsics)
    return prediction, intrinsics


def perfect(ground_truth: Targets) -> ObjectPrediction:
    """A query for each target that predicts it exactly."""
    logits = torch.full((*ground_truth.classes.shape, 6), -20.0)
    logits.scatter_(
        2, ground_truth.classes.clamp_min(0)[..., None], torch.where(ground_truth.present, 20.0, -20.0)[..., None]
    )
    return ObjectPrediction(
        logits,
        ground_truth.translation,
        ground_truth.rotation,
        ground_truth.size,
        torch.zeros(*ground_truth.classes.shape, 6),
    )


def test_perfect_prediction_has_no_loss() -> None:
    ground_truth, (_, intrinsics) = targets(2, [3, 5]), frames(2)
    prediction, valid = perfect(ground_truth), torch.ones(2, 5, dtype=torch.bool)
    matches = match(prediction, valid, ground_truth, pinhole(intrinsics), MatchingWeights())
    assert torch.equal(matches.query, matches.target)
    terms = object_losses(prediction, valid, ground_truth, matches, pinhole(intrinsics))
    names = (
        "classification",
        "centre_uv",
        "log_depth",
        "position",
        "rotation",
        "log_size",
        "angular_size",
        "uncertainty",
    )
    for name in names:
        assert float(terms[name]) == pytest.approx(0, abs=2e-3), name


def test_assignment_has_the_lowest_total_cost() -> None:
    """Compared with brute force over all assignments."""
    model, ground_truth = tiny_model(), targets(1, [3])
    images, intrinsics = frames(1)
    with torch.no_grad():
        prediction, _ = model(images, intrinsics)
    some = prediction.objects.select(torch.arange(5))
    valid, weights = torch.ones(1, 5, dtype=torch.bool), MatchingWeights()
    cost = matching_cost(some, ground_truth, pinhole(intrinsics), weights)[0]
    matches = match(some, valid, ground_truth, pinhole(intrinsics), weights)
    best = min(sum(float(cost[q, t]) for t, q in enumerate(p)) for p in permutations(range(5), 3))
    assert float(cost[matches.query, matches.target].sum()) == pytest.approx(best, rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(14)), st.permutations(range(5)), st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_loss_is_invariant_to_order_of_queries_and_targets(
    queries: list[int], order_of_targets: list[int], counts: tuple[int, int]
) -> None:
    prediction, intrinsics = some_prediction()
    ground_truth = targets(2, list(counts), seed=sum(counts))
    total, terms = CRITERION(prediction, ground_truth, pinhole(intrinsics))
    order = torch.tensor(queries)
    layers = tuple(layer.select(order) for layer in prediction.layers)
    valid = tuple(usable[:, order] for usable in prediction.layer_valid)
    shuffled = replace(prediction, layers=layers, objects=layers[-1], layer_valid=valid)
    moved = replace(ground_truth, **{name: getattr(ground_truth, name)[:, order_of_targets] for name in PER_OBJECT})
    again, terms_again = CRITERION(shuffled, moved, pinhole(intrinsics))
    assert float(again) == pytest.approx(float(total), rel=1e-4)
    for name, value in terms.items():
        assert float(terms_again[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-5), name


def test_matching_of_a_sample_and_layer_does_not_depend_on_the_others() -> None:
    prediction, intrinsics = some_prediction()
    ground_truth, weights = targets(2, [4, 2]), MatchingWeights()
    layers = ObjectPrediction.concatenate(prediction.layers)
    matches = match(layers, prediction.valid, ground_truth, pinhole(intrinsics), weights)
    for index, layer in enumerate(prediction.layers):
        for sample in (0, 1):
            one = slice(sample, sample + 1)
            single = replace(layer, **{k: None if v is None else v[one] for k, v in vars(layer).items()})
            single_ground_truth = replace(
                ground_truth, **{name: getattr(ground_truth, name)[one] for name in vars(ground_truth)}
            )
            alone = match(single, prediction.valid[one], single_ground_truth, pinhole(intrinsics[one]), weights)
            here = matches.sample == 2 * index + sample
            assert torch.equal(matches.query[here], alone.query)
            assert torch.equal(matches.target[here], alone.target)


def test_terms_of_a_layer_do_not_depend_on_the_other_layers() -> None:
    prediction, intrinsics = some_prediction()
    ground_truth, valid, view = targets(2, [4, 2]), prediction.valid, pinhole(intrinsics)
    layers = ObjectPrediction.concatenate(prediction.layers)
    matches = match(layers, valid, ground_truth, view, MatchingWeights())
    together = object_losses(layers, valid, ground_truth, matches, view)
    for index, layer in enumerate(prediction.layers):
        alone = object_losses(
            layer, valid, ground_truth, match(layer, valid, ground_truth, view, MatchingWeights()), view
        )
        for name, value in alone.items():
            assert float(together[name][index]) == pytest.approx(float(value), rel=1e-5), name


def test_costs_of_all_layers_leave_the_device_in_one_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, intrinsics = some_prediction()
    transfers: list[torch.Size] = []

    def counted(tensor: torch.Tensor) -> torch.Tensor:
        transfers.append(tensor.shape)
        return tensor

    monkeypatch.setattr(torch.Tensor, "cpu", counted)
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, n=name, **__: pytest.fail(f"{n} waits for the device"))
    CRITERION(prediction, targets(2, [3, 1]), pinhole(intrinsics))
    assert len(transfers) == 1


@pytest.mark.parametrize("counts", [[0, 3], [0, 0], [1, 0], [1, 1]])
def test_scenes_with_few_or_no_objects_give_finite_gradients(counts: list[int]) -> None:
    model = tiny_model().train()
    images, intrinsics = frames(2)
    prediction, _ = model(images, intrinsics)
    total, terms = CRITERION(prediction, targets(2, counts), pinhole(intrinsics))
    total.backward()
    assert total.isfinite()
    assert all(value.isfinite() for value in terms.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_more_objects_than_queries_raise() -> None:
    model, ground_truth = tiny_model(anchors=0, proposals=4, memory_frames=0), targets(1, [5])
    images, intrinsics = frames(1)
    with pytest.raises(ValueError, match=r"5 objects but the model has only 4 queries; raise queries\.anchors"):
        CRITERION(model(images, intrinsics)[0], ground_truth, pinhole(intrinsics))


def test_angular_size_has_no_loss_for_a_larger_object_farther_away() -> None:
    """Twice the size at twice the distance looks the same; at the same distance the ratio is off by log 2."""
    ground_truth, (_, intrinsics) = targets(1, [1]), frames(1)
    valid = torch.ones(1, 5, dtype=torch.bool)
    larger = replace(perfect(ground_truth), size=2 * ground_truth.size)
    farther = replace(larger, translation=2 * ground_truth.translation)
    for prediction, expected in ((farther, 0.0), (larger, 0.693147)):
        matches = match(prediction, valid, ground_truth, pinhole(intrinsics), MatchingWeights())
        term = object_losses(prediction, valid, ground_truth, matches, pinhole(intrinsics))["angular_size"]
        assert float(term) == pytest.approx(expected, abs=1e-5)


def test_invalid_queries_are_never_matched() -> None:
    ground_truth, (_, intrinsics) = targets(1, [2]), frames(1)
    valid = torch.tensor([[False, True, True, True, False]])
    matches = match(perfect(ground_truth), valid, ground_truth, pinhole(intrinsics), MatchingWeights())
    assert 0 not in matches.query


def test_objects_beyond_the_number_of_valid_queries_are_not_matched() -> None:
    """Queries 1 and 3 predict objects 1 and 3 exactly; objects 0 and 2 have no query left."""
    ground_truth, (_, intrinsics) = targets(1, [4]), frames(1)
    valid = torch.tensor([[False, True, False, True, False]])
    matches = match(perfect(ground_truth), valid, ground_truth, pinhole(intrinsics), MatchingWeights())
    assert matches.query.tolist() == [1, 3]
    assert matches.target.tolist() == [1, 3]


def test_invalid_queries_have_no_loss() -> None:
    ground_truth, (_, intrinsics) = targets(1, [2]), frames(1)
    valid = torch.tensor([[True, True, False, False, False]])
    prediction = perfect(ground_truth)
    matches = match(prediction, valid, ground_truth, pinhole(intrinsics), MatchingWeights())
    wrong = replace(prediction, logits=torch.where(valid[..., None], prediction.logits, 5.0))
    terms = object_losses(wrong, valid, ground_truth, matches, pinhole(intrinsics))
    assert float(terms["classification"]) == pytest.approx(0, abs=1e-4)


def test_focal_loss_by_hand() -> None:
    """At probability 0.5: alpha · 0.25 · ln 2 for a positive, (1 - alpha) · 0.25 · ln 2 for a negative."""
    loss = focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert loss.tolist() == pytest.approx([0.25 * 0.25 * 0.693147, 0.75 * 0.25 * 0.693147], rel=1e-5)


def test_uncertainty_of_symmetric_object_ignores_rotation_about_y() -> None:
    ground_truth, (_, intrinsics) = targets(1, [1]), frames(1)
    ground_truth = replace(ground_truth, symmetric=torch.ones_like(ground_truth.symmetric))
    prediction, valid = perfect(ground_truth), torch.ones(1, 5, dtype=torch.bool)
    matches = match(prediction, valid, ground_truth, pinhole(intrinsics), MatchingWeights())
    angle = torch.tensor(1.0)
    about_y = torch.eye(3)
    about_y[0, 0] = about_y[2, 2] = angle.cos()
    about_y[0, 2], about_y[2, 0] = angle.sin(), -angle.sin()
    rotated = replace(prediction, rotation=prediction.rotation @ about_y)
    value = object_losses(rotated, valid, ground_truth, matches, pinhole(intrinsics))["uncertainty"]
    assert float(value) == pytest.approx(0, abs=1e-4)


def test_perfect_centre_map_has_no_loss() -> None:
    """An object whose centre projects onto the centre of cell (row 6, column 9) of a 24x32 map."""
    (_, intrinsics), ground_truth = frames(1), targets(1, [1])
    u, v, z = (9 + 0.5) * 3.5 - 0.5, (6 + 0.5) * 3.5 - 0.5, 0.8
    k = intrinsics[0]
    centre = torch.tensor([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z])
    ground_truth.translation[0, 0] = centre
    heat = torch.full((1, 6, 24, 32), -20.0)
    heat[0, ground_truth.classes[0, 0], 6, 9] = 20.0
    log_depth = torch.zeros(1, 24, 32)
    log_depth[0, 6, 9] = torch.log(z * 100.0 / k[0, 0])
    perfect_map = CentrePrediction(heat, log_depth, torch.zeros(1, 2, 24, 32))
    losses = centre_losses(perfect_map, ground_truth, pinhole(intrinsics), canonical_focal=100.0)
    assert float(losses["heat"]) == pytest.approx(0, abs=1e-4)
    assert float(losses["centre"]) == pytest.approx(0, abs=1e-4)
    wrong = centre_losses(
        replace(perfect_map, heat=heat.flip(1)), ground_truth, pinhole(intrinsics), canonical_focal=100.0
    )
    assert float(wrong["heat"]) > 10


def test_an_object_with_its_centre_outside_the_image_has_its_peak_at_the_border() -> None:
    """The centre is 5 cells left of the first column of a 24x32 map, in the middle of row 6."""
    (_, intrinsics), ground_truth = frames(1), targets(1, [1])
    u, v, z = (-5 + 0.5) * 3.5 - 0.5, (6 + 0.5) * 3.5 - 0.5, 0.8
    k = intrinsics[0]
    ground_truth.translation[0, 0] = torch.tensor([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z])
    heat = torch.full((1, 6, 24, 32), -20.0)
    heat[0, ground_truth.classes[0, 0], 6, 0] = 20.0
    log_depth, offset = torch.zeros(1, 24, 32), torch.zeros(1, 2, 24, 32)
    log_depth[0, 6, 0] = torch.log(z * 100.0 / k[0, 0])
    offset[0, 0, 6, 0] = -5
    losses = centre_losses(CentrePrediction(heat, log_depth, offset), ground_truth, pinhole(intrinsics), 100.0)
    assert float(losses["heat"]) == pytest.approx(0, abs=1e-4)
    assert float(losses["centre"]) == pytest.approx(0, abs=1e-4)
    found = select_proposals(CentrePrediction(heat, log_depth, offset), 1, pinhole(intrinsics), 100.0)
    torch.testing.assert_close(found.reference[0, 0], ground_truth.translation[0, 0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("counts", [[3, 5], [0, 0], [1, 0]])
def test_bfloat16_training_gives_finite_losses_and_gradients(counts: list[int]) -> None:
    model = tiny_model().train()
    ground_truth, poses = targets(2, counts), camera_poses(2)
    with torch.autocast("cpu", torch.bfloat16):
        memory = None
        total = torch.zeros(())
        for step in range(2):
            images, intrinsics = frames(2, seed=step)
            prediction, memory = model(images, intrinsics, memory, poses, torch.full((2,), 0.1 * step))
            loss, terms = CRITERION(prediction, ground_truth, pinhole(intrinsics))
            assert all(value.isfinite() for value in terms.values()), terms
            total = total + loss
    total.backward()
    assert total.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_paper_criterion_is_equation_10() -> None:
    """An object predicted with a 3 cm offset, 90° about z, 2 cm too high, at a score of 0.5 for its class."""
    ground_truth, (_, intrinsics) = targets(1, [1], padded_to=1), frames(1)
    predicted = perfect(ground_truth)
    about_z = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    ground_truth = replace(ground_truth, rotation=torch.eye(3).expand(1, 1, 3, 3))
    predicted = replace(
        predicted,
        logits=torch.where(predicted.logits > 0, 0.0, -20.0),
        translation=ground_truth.translation + torch.tensor([0.02, 0.0, -0.01]),
        rotation=about_z.expand(1, 1, 3, 3),
        size=ground_truth.size + torch.tensor([0.0, 0.02, 0.0]),
    )
    paper = load(PAPER)
    config = replace(paper.criterion, weights=replace(paper.criterion.weights, uncertainty=0.0))
    assert vars(config.weights).items() >= {"segmentation": 1.0, "depth": 1.0, "normals": 1.0}.items()
    assert not paper.model.dense.nocs and not paper.model.queries.proposals, "terms that are not in Eq. 10"
    prediction = Prediction(predicted, (predicted,), (torch.ones(1, 1, dtype=torch.bool),), None, None)
    total, _ = Criterion(config, canonical_focal=100.0)(prediction, ground_truth, pinhole(intrinsics))
    # Two of the three axes have a chord of √2.
    assert float(total) == pytest.approx(0.25 * 0.25 * 0.693147 + 0.03 + 10 * 2 * 2**0.5 / 3 + 0.02, rel=1e-4)


def test_uncertainty_loss_trains_the_uncertainty_only() -> None:
    gradients = []
    for weight in (0.0, 5.0):
        model = tiny_model().train()
        images, intrinsics = frames(2)
        criterion = Criterion(CriterionConfig(weights=LossWeights(uncertainty=weight)), canonical_focal=100.0)
        prediction, _ = model(images, intrinsics)
        criterion(prediction, targets(2, [3, 2]), pinhole(intrinsics))[0].backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]) != (".uncertain." in name), name
