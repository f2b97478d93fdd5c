# SPDX-License-Identifier: Apache-2.0
"""Denoising queries: noised truth that trains beside the model's own queries and tells them nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import camera_poses, frames, targets, tiny_config, tiny_model
from torch import Tensor

from seqpose_core import QueryMemory, SeqPose
from seqpose_core.losses.criterion import Criterion, CriterionConfig, LossWeights
from seqpose_core.losses.targets import Targets
from seqpose_core.model.denoising import DenoisingQueries
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.seqpose import Prediction
from train.fit.config import TrainConfig
from train.fit.module import SeqPoseModule

SIZE = torch.tensor([112.0, 84.0])
GROUPS, PLACES = 3, 5


def denoising_model() -> SeqPose:
    torch.manual_seed(0)
    config = tiny_config()
    model = SeqPose(replace(config, queries=replace(config.queries, denoising=GROUPS)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def draw(truth: Targets, groups: int = GROUPS) -> DenoisingQueries:
    torch.manual_seed(1)
    return DenoisingQueries.draw(truth.classes, truth.translation, truth.size, groups)


@torch.no_grad()
def decode(model: SeqPose, denoising: DenoisingQueries | None, remember: bool = True) -> tuple[Prediction, QueryMemory]:
    """The second of two frames, or the same frame without a past."""
    memory = None
    images, intrinsics = frames(2)
    poses, stamp = camera_poses(2), torch.zeros(2, dtype=torch.float64)
    if remember:
        _, memory = model(images.flip(-1), intrinsics, None, camera_poses(2, seed=3), stamp)
    return model.decode(model.encode(images, intrinsics), intrinsics, memory, poses, stamp + 0.1, denoising)


def assert_same(first: ObjectPrediction, second: ObjectPrediction, where: slice | Tensor = slice(None)) -> None:
    for name in ("logits", "translation", "rotation", "size", "log_scale"):
        a, b = getattr(first, name)[:, where], getattr(second, name)[:, where]
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_noise_keeps_within_its_reach_and_gives_a_share_of_wrong_classes() -> None:
    truth = targets(2, [5, 3])
    queries = draw(truth, groups=400)
    assert queries.classes.shape == queries.present.shape == (2, 400 * PLACES)
    present = queries.present.unflatten(1, (400, PLACES))
    assert (present == truth.present[:, None]).all()
    shift = (queries.reference.unflatten(1, (400, PLACES)) - truth.translation[:, None]).abs()
    reach = truth.size.norm(dim=-1)[:, None, :, None] / 2
    assert (shift <= reach + 1e-6).all()
    assert float((shift / reach).mean()) == pytest.approx(0.5, abs=0.02), "uniform in the whole reach"
    wrong = (queries.classes.unflatten(1, (400, PLACES)) != truth.classes[:, None])[present]
    # A fifth is drawn anew among six, one of which is right again.
    assert float(wrong.float().mean()) == pytest.approx(0.2 * 5 / 6, abs=0.03)


def test_what_the_model_says_and_remembers_does_not_depend_on_the_denoising_queries() -> None:
    model = denoising_model().eval()
    without, memory_without = decode(model, None)
    prediction, memory = decode(model, draw(targets(2, [3, 0])))
    for a, b in zip(without.layers, prediction.layers, strict=True):
        assert_same(a, b)
    for name in ("embedding", "reference"):
        torch.testing.assert_close(getattr(memory, name), getattr(memory_without, name), atol=1e-5, rtol=1e-5)
    assert without.denoising is None and without.denoised == ()
    assert torch.equal(prediction.valid, without.valid)


def test_denoising_queries_see_neither_the_memory_nor_the_models_own_queries() -> None:
    model = denoising_model().eval()
    queries = draw(targets(2, [3, 2]))
    with_past, _ = decode(model, queries)
    alone, _ = decode(model, queries, remember=False)
    with torch.no_grad():
        model.anchor_embedding.add_(1.0)
        model.proposal_class.weight.add_(1.0)
    other, _ = decode(model, queries)
    assert not torch.allclose(other.objects.translation, with_past.objects.translation)
    for a, b, c in zip(with_past.denoised, alone.denoised, other.denoised, strict=True):
        assert_same(a, b, queries.present[0])
        assert_same(a, c, queries.present[0])


def test_groups_see_only_themselves() -> None:
    model = denoising_model().eval()
    queries = draw(targets(2, [5, 5]))
    moved = queries.reference.clone()
    moved[:, PLACES] += 0.1  # the first query of the second group
    before = decode(model, queries)[0].denoised[-1]
    after = decode(model, replace(queries, reference=moved))[0].denoised[-1]
    second = torch.zeros(GROUPS * PLACES, dtype=torch.bool)
    second[PLACES : 2 * PLACES] = True
    assert_same(before, after, ~second)
    changed = (before.logits - after.logits).abs().amax(-1) > 1e-6
    assert changed[:, second].all(), "a group's queries see each other"


@pytest.mark.parametrize("counts", [[3, 1], [0, 2], [0, 0]])
def test_denoising_trains_with_any_number_of_objects(counts: list[int]) -> None:
    model = denoising_model().train()
    images, intrinsics = frames(2)
    truth = targets(2, counts)
    prediction, _ = model.decode(model.encode(images, intrinsics), intrinsics, denoising=draw(truth))
    total, terms = Criterion(CriterionConfig(), 100.0)(prediction, truth, intrinsics, SIZE)
    total.backward()
    lost = float(terms["denoising"].detach())
    assert total.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    gradient = model.denoising_class.weight.grad
    assert gradient is not None
    if sum(counts):
        assert lost > 0 and gradient.abs().sum() > 0
    else:
        assert lost == 0


def test_each_denoising_query_is_held_against_its_own_truth_and_not_for_its_uncertainty() -> None:
    """Every group says the truth of its places: no loss. With the places of one group exchanged there is one."""
    truth, (_, intrinsics) = targets(1, [2], places=2), frames(1)
    queries = draw(truth, groups=2)
    twice = torch.tensor([0, 1, 0, 1])
    logits = torch.full((1, 4, 6), -20.0).scatter(2, truth.classes[:, twice, None], 20.0)
    log_scale = torch.zeros(1, 4, 6, requires_grad=True)
    right = ObjectPrediction(
        logits, truth.translation[:, twice], truth.rotation[:, twice], truth.size[:, twice], log_scale
    )
    own = replace(right.queries(slice(2)), log_scale=torch.zeros(1, 2, 6))
    criterion = Criterion(CriterionConfig(weights=LossWeights(uncertainty=0.0)), 100.0)
    prediction = Prediction(own, (own,), torch.ones(1, 2, dtype=torch.bool), None, None, (right,), queries)
    total, terms = criterion(prediction, truth, intrinsics, SIZE)
    assert float(terms["denoising"]) == pytest.approx(0, abs=1e-4)
    assert not total.requires_grad, "uncertainty would be the only thing to learn, and is left out"
    exchanged = replace(prediction, denoised=(right.queries(torch.tensor([0, 1, 3, 2])),))
    assert float(criterion(exchanged, truth, intrinsics, SIZE)[1]["denoising"]) > 0.1


def test_only_training_steps_are_told_the_truth() -> None:
    config = tiny_config()
    module = SeqPoseModule(TrainConfig(model=replace(config, queries=replace(config.queries, denoising=GROUPS))))
    images, intrinsics = frames(2)
    truth = targets(2, [2, 3])
    batch = {name: value[:, None] for name, value in vars(truth).items()} | {
        "image": (images * 255).to(torch.uint8)[:, None],
        "intrinsics": intrinsics[:, None],
        "camera_pose": camera_poses(2)[:, None],
        "stamp": torch.zeros(2, 1, dtype=torch.float64),
    }
    assert module.run_clips(batch)[0][0].denoising is None
    queries = module.run_clips(batch, denoise=True)[0][0].denoising
    assert queries is not None and queries.present.shape == (2, GROUPS * PLACES)


def test_a_model_without_denoising_has_no_weights_for_it_and_says_so() -> None:
    model = tiny_model()
    assert not [name for name in model.state_dict() if "denoising" in name]
    with pytest.raises(ValueError, match=r"queries\.denoising is 0"):
        decode(model, draw(targets(2, [1, 1])))
    with pytest.raises(ValueError, match="denoising=-1"):
        replace(tiny_config().queries, denoising=-1)
