# SPDX-License-Identifier: Apache-2.0
"""Denoising queries: noised ground truth that is trained with the other queries and has no effect on them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import camera_poses, frames, pinhole, targets, tiny_config, tiny_model
from torch import Tensor

from seqpose_core import QueryMemory, SeqPose
from seqpose_core.losses.criterion import Criterion, CriterionConfig, LossWeights
from seqpose_core.losses.targets import Targets
from seqpose_core.model.denoising import DenoisingQueries
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.seqpose import Prediction
from train.fit.config import TrainConfig
from train.fit.module import SeqPoseModule

GROUPS, OBJECTS = 3, 5


def denoising_model() -> SeqPose:
    torch.manual_seed(0)
    config = tiny_config()
    model = SeqPose(replace(config, queries=replace(config.queries, denoising=GROUPS)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def noised_queries(ground_truth: Targets, groups: int = GROUPS) -> DenoisingQueries:
    torch.manual_seed(1)
    return DenoisingQueries.sample(ground_truth.classes, ground_truth.translation, ground_truth.size, groups, 6)


@torch.no_grad()
def decode(
    model: SeqPose, denoising: DenoisingQueries | None, with_memory: bool = True
) -> tuple[Prediction, QueryMemory]:
    """The second of two frames, or the same frame without memory."""
    memory = None
    images, intrinsics = frames(2)
    poses, stamp = camera_poses(2), torch.zeros(2, dtype=torch.float64)
    if with_memory:
        _, memory = model(images.flip(-1), intrinsics, None, camera_poses(2, seed=3), stamp)
    return model.decode(model.encode(images, intrinsics), intrinsics, memory, poses, stamp + 0.1, denoising)


def assert_same(first: ObjectPrediction, second: ObjectPrediction, where: slice | Tensor = slice(None)) -> None:
    for name in ("logits", "translation", "rotation", "size", "log_scale"):
        a, b = getattr(first, name)[:, where], getattr(second, name)[:, where]
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_noise_is_bounded_and_replaces_a_fifth_of_the_classes() -> None:
    ground_truth = targets(2, [5, 3])
    queries = noised_queries(ground_truth, groups=400)
    assert queries.classes.shape == queries.present.shape == (2, 400 * OBJECTS)
    present = queries.present.unflatten(1, (400, OBJECTS))
    assert (present == ground_truth.present[:, None]).all()
    shift = (queries.reference.unflatten(1, (400, OBJECTS)) - ground_truth.translation[:, None]).abs()
    reach = ground_truth.size.norm(dim=-1)[:, None, :, None] / 2
    assert (shift <= reach + 1e-6).all()
    assert float((shift / reach).mean()) == pytest.approx(0.5, abs=0.02), "uniform over the reach"
    wrong = (queries.classes.unflatten(1, (400, OBJECTS)) != ground_truth.classes[:, None])[present]
    # A fifth is replaced by one of six classes at random, one of which is the right one.
    assert float(wrong.float().mean()) == pytest.approx(0.2 * 5 / 6, abs=0.03)


def test_prediction_and_memory_do_not_depend_on_denoising_queries() -> None:
    model = denoising_model().eval()
    without, memory_without = decode(model, None)
    prediction, memory = decode(model, noised_queries(targets(2, [3, 0])))
    for a, b in zip(without.layers, prediction.layers, strict=True):
        assert_same(a, b)
    for name in ("embedding", "reference"):
        torch.testing.assert_close(getattr(memory, name), getattr(memory_without, name), atol=1e-5, rtol=1e-5)
    assert without.denoising is None and without.denoised == ()
    assert torch.equal(prediction.valid, without.valid)


def test_denoising_queries_attend_neither_to_memory_nor_to_other_queries() -> None:
    model = denoising_model().eval()
    queries = noised_queries(targets(2, [3, 2]))
    with_past, _ = decode(model, queries)
    alone, _ = decode(model, queries, with_memory=False)
    with torch.no_grad():
        model.anchor_embedding.add_(1.0)
        model.proposal_class.weight.add_(1.0)
    other, _ = decode(model, queries)
    assert not torch.allclose(other.objects.translation, with_past.objects.translation)
    for a, b, c in zip(with_past.denoised, alone.denoised, other.denoised, strict=True):
        assert_same(a, b, queries.present[0])
        assert_same(a, c, queries.present[0])


def test_denoising_groups_attend_only_to_themselves() -> None:
    model = denoising_model().eval()
    queries = noised_queries(targets(2, [5, 5]))
    moved = queries.reference.clone()
    moved[:, OBJECTS] += 0.1  # the first query of the second group
    before = decode(model, queries)[0].denoised[-1]
    after = decode(model, replace(queries, reference=moved))[0].denoised[-1]
    second = torch.zeros(GROUPS * OBJECTS, dtype=torch.bool)
    second[OBJECTS : 2 * OBJECTS] = True
    assert_same(before, after, ~second)
    changed = (before.logits - after.logits).abs().amax(-1) > 1e-6
    assert changed[:, second].all(), "queries of a group attend to each other"


@pytest.mark.parametrize("counts", [[3, 1], [0, 2], [0, 0]])
def test_denoising_trains_with_any_number_of_objects(counts: list[int]) -> None:
    model = denoising_model().train()
    images, intrinsics = frames(2)
    ground_truth = targets(2, counts)
    prediction, _ = model.decode(model.encode(images, intrinsics), intrinsics, denoising=noised_queries(ground_truth))
    total, terms = Criterion(CriterionConfig(), 100.0)(prediction, ground_truth, pinhole(intrinsics))
    total.backward()
    loss = float(terms["denoising"].detach())
    assert total.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    gradient = model.denoising_class.weight.grad
    assert gradient is not None
    if sum(counts):
        assert loss > 0 and gradient.abs().sum() > 0
    else:
        assert loss == 0


def test_denoising_loss_compares_each_query_with_its_own_object_and_leaves_uncertainty_out() -> None:
    """Perfect predictions have no loss; with the objects of one group exchanged they have one."""
    ground_truth, (_, intrinsics) = targets(1, [2], padded_to=2), frames(1)
    queries = noised_queries(ground_truth, groups=2)
    twice = torch.tensor([0, 1, 0, 1])
    logits = torch.full((1, 4, 6), -20.0).scatter(2, ground_truth.classes[:, twice, None], 20.0)
    log_scale = torch.zeros(1, 4, 6, requires_grad=True)
    right = ObjectPrediction(
        logits,
        ground_truth.translation[:, twice],
        ground_truth.rotation[:, twice],
        ground_truth.size[:, twice],
        log_scale,
    )
    own = replace(right.select(slice(2)), log_scale=torch.zeros(1, 2, 6))
    criterion = Criterion(CriterionConfig(weights=LossWeights(uncertainty=0.0)), 100.0)
    prediction = Prediction(own, (own,), (torch.ones(1, 2, dtype=torch.bool),), None, None, (right,), queries)
    total, terms = criterion(prediction, ground_truth, pinhole(intrinsics))
    assert float(terms["denoising"]) == pytest.approx(0, abs=1e-4)
    assert not total.requires_grad, "only the uncertainty could be trained, and it is left out"
    exchanged = replace(prediction, denoised=(right.select(torch.tensor([0, 1, 3, 2])),))
    assert float(criterion(exchanged, ground_truth, pinhole(intrinsics))[1]["denoising"]) > 0.1


def test_denoising_queries_are_used_in_training_only() -> None:
    config = tiny_config()
    module = SeqPoseModule(TrainConfig(model=replace(config, queries=replace(config.queries, denoising=GROUPS))))
    images, intrinsics = frames(2)
    ground_truth = targets(2, [2, 3])
    batch = {name: value[:, None] for name, value in vars(ground_truth).items()} | {
        "image": (images * 255).to(torch.uint8)[:, None],
        "intrinsics": intrinsics[:, None],
        "camera_pose": camera_poses(2)[:, None],
        "stamp": torch.zeros(2, 1, dtype=torch.float64),
    }
    assert module.run_clips(batch)[0][0].denoising is None
    queries = module.run_clips(batch, denoise=True)[0][0].denoising
    assert queries is not None and queries.present.shape == (2, GROUPS * OBJECTS)


def test_model_without_denoising_has_no_weights_for_it_and_refuses_its_queries() -> None:
    model = tiny_model()
    assert not [name for name in model.state_dict() if "denoising" in name]
    with pytest.raises(ValueError, match=r"queries\.denoising is 0"):
        decode(model, noised_queries(targets(2, [1, 1])))
    with pytest.raises(ValueError, match="denoising=-1"):
        replace(tiny_config().queries, denoising=-1)
