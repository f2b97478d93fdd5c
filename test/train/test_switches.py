# SPDX-License-Identifier: Apache-2.0
"""Switches of heads, queries and criterion: each has its documented effect, and all combinations train."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import HEIGHT, WIDTH, camera_poses, frames, pinhole, targets, tiny_config
from torch import Tensor

from seqpose_core import Camera, PoseEstimator, SeqPose
from seqpose_core.categories import CATEGORIES
from seqpose_core.losses.criterion import Criterion, CriterionConfig, LossWeights, negative_log_likelihood
from seqpose_core.losses.matching import MatchingWeights, match
from seqpose_core.model.config import HeadConfig, QueryConfig
from seqpose_core.model.denoising import DenoisingQueries
from seqpose_core.model.dense_heads import CentreHead
from seqpose_core.model.memory import FrameMotion, QueryMemory, view_from
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.selection import pose_covariance

TYPICAL_SIZES = np.array([c.typical_size for c in CATEGORIES])  # (6, 3) metres

FAST: dict[str, Any] = {"kept_queries": (5,), "shared_values": True, "finest_level": 1}


def switched(row: int) -> tuple[SeqPose, Criterion, bool]:
    """Row 0..11 of the Plackett-Burman design of eleven switches: every pair occurs in all four settings.

    Odd rows have the switches of small-fast as well.
    """
    seed = [1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0]
    on = [bool(b) for b in (np.roll(seed, row) if row < 11 else np.zeros(11, int))]
    anchors, proposals, direct, egocentric, by_category, fixed, single, denoise, invariant, gaussian, window = on
    config = tiny_config(memory_frames=0 if single else 3)
    config = replace(
        config,
        # If neither is switched on, both are used.
        queries=QueryConfig(0 if proposals and not anchors else 6, 0 if anchors and not proposals else 8, 2 * denoise),
        head=HeadConfig(
            "direct" if direct else "projected", "egocentric" if egocentric else "allocentric", by_category
        ),
        decoder=replace(config.decoder, refine=not fixed, **(FAST if row % 2 else {})),
    )
    criterion = CriterionConfig(
        symmetry="invariant" if invariant else "canonical", likelihood="gaussian" if gaussian else "laplace"
    )
    torch.manual_seed(row)
    model = SeqPose(config)
    with torch.no_grad():
        for parameter in model.parameters():  # weights initialised to zero would block a gradient
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.train(), Criterion(criterion, config.canonical_focal), window


@pytest.mark.parametrize("row", range(12))
def test_gradient_reaches_every_parameter_for_all_switches(row: int) -> None:
    model, criterion, window = switched(row)
    ground_truth, memory, total = targets(2, [4, 3]), None, torch.zeros(())
    for step in range(2):
        images, intrinsics = frames(2, seed=step)
        denoising = None
        if model.config.queries.denoising:
            denoising = DenoisingQueries.sample(ground_truth.classes, ground_truth.translation, ground_truth.size, 2, 6)
        stamp = torch.full((2,), 0.1 * step, dtype=torch.float64)
        prediction, memory = model.decode(
            model.encode(images, intrinsics), intrinsics, memory, camera_poses(2, step), stamp, denoising
        )
        memory = memory if window else memory.detach()
        total = total + criterion(prediction, ground_truth, pinhole(intrinsics))[0]
    total.backward()
    assert total.isfinite()
    missing = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # Without a memory its norms have no input.
    idle = {n for n, _ in model.named_parameters() if ".memory_norm." in n and model.config.memory.frames == 0}
    assert missing == idle


def per_category_model() -> SeqPose:
    torch.manual_seed(0)
    return SeqPose(replace(tiny_config(), head=HeadConfig(per_category=True)))


@torch.no_grad()
def test_category_with_highest_score_selects_rotation_and_size() -> None:
    prediction, _ = per_category_model().eval()(*frames(2))
    objects = prediction.objects
    assert objects.rotations is not None and objects.sizes is not None
    for b, q in prediction.valid.nonzero().tolist():
        best = int(objects.logits[b, q].argmax())
        assert torch.equal(objects.rotation[b, q], objects.rotations[b, q, best])
        assert torch.equal(objects.size[b, q], objects.sizes[b, q, best])
    mugs = objects.of_category(torch.full(objects.logits.shape[:2], 5))
    assert torch.equal(mugs.size, objects.sizes[:, :, 5])
    assert torch.equal(mugs.rotation, objects.rotations[:, :, 5])


@torch.no_grad()
def test_sizes_per_category_start_at_the_typical_size() -> None:
    head = per_category_model().heads[0]
    head.regress[2].weight.zero_()
    predicted = head(torch.randn(1, 2, 32), torch.tensor([0.0, 0, 1]).expand(1, 2, 3), pinhole(frames(1)[1]))
    np.testing.assert_allclose(predicted.sizes[0, 0].numpy(), TYPICAL_SIZES, rtol=1e-5)


def test_matched_query_trains_the_pose_of_its_ground_truth_category_only() -> None:
    model = per_category_model().train()
    ground_truth = targets(1, [1])
    images, intrinsics = frames(1)
    prediction, _ = model(images, intrinsics)
    only = LossWeights(*[0.0] * len(vars(LossWeights())))
    criterion = Criterion(CriterionConfig(weights=replace(only, rotation=1.0, log_size=1.0)), 100.0)
    criterion(prediction, ground_truth, pinhole(intrinsics))[0].backward()
    for head in model.heads:
        gradient = head.regress[2].weight.grad[3:].abs().sum(-1)  # type: ignore[union-attr,index]
        by_category = gradient[:36].unflatten(0, (6, 6)).sum(-1) + gradient[36:].unflatten(0, (6, 3)).sum(-1)
        assert by_category.nonzero().flatten().tolist() == [int(ground_truth.classes[0, 0])]


def test_estimator_limited_to_mugs_reports_mug_sizes() -> None:
    model = per_category_model()
    estimator = PoseEstimator(model, categories=("mug",), score_threshold=0.0, min_hits=1)
    image = (frames(1)[0][0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    detections = estimator.step(image, Camera(100.0, 100.0, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT))
    assert detections and {item.category for item in detections} == {"mug"}
    # An untrained head predicts nearly the typical size of the category, and these differ.
    for item in detections:
        distance = np.abs(np.log(item.size / TYPICAL_SIZES)).sum(1)
        assert distance.argmin() == 5


def test_matching_compares_size_and_rotation_of_the_target_category() -> None:
    """Two queries that differ only in the size for bowls; the bowl is matched to the one with the right size."""
    ground_truth, (_, intrinsics) = targets(1, [1], padded_to=1), frames(1)
    ground_truth.classes[:] = 1
    right, wrong = ground_truth.size[0, 0], torch.tensor([1.0, 1.0, 1.0])
    sizes = wrong.repeat(1, 2, 6, 1)
    sizes[0, 1, 1] = right
    predicted = ObjectPrediction(
        torch.zeros(1, 2, 6),
        ground_truth.translation.expand(1, 2, 3),
        torch.eye(3).expand(1, 2, 3, 3),
        sizes[:, :, 0],
        torch.zeros(1, 2, 6),
        torch.eye(3).expand(1, 2, 6, 3, 3),
        sizes,
    )
    matches = match(predicted, torch.ones(1, 2, dtype=torch.bool), ground_truth, pinhole(intrinsics), MatchingWeights())
    assert matches.query.tolist() == [1]


@pytest.mark.parametrize("likelihood", ["laplace", "gaussian"])
def test_maximum_likelihood_scale_gives_the_variance_of_the_errors(likelihood: str) -> None:
    """Errors of known variance in six degrees of freedom: maximum likelihood recovers the variances, which are the
    covariance of an object on the optical axis at one metre."""
    generator = np.random.default_rng(0)
    deviation = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.4])
    draw = generator.laplace if likelihood == "laplace" else generator.normal
    factor = np.sqrt(0.5) if likelihood == "laplace" else 1.0  # a Laplace error of scale b has variance 2b²
    error = torch.tensor(draw(0.0, deviation * factor, (40_000, 6)), dtype=torch.float32)
    log_scale = torch.full((6,), -2.0, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = negative_log_likelihood(error, log_scale, likelihood).mean()  # type: ignore[arg-type]
        value.backward()
        return value

    optimizer.step(loss)
    predicted = {
        "translation": np.array([[0.0, 0.0, 1.0]]),
        "rotation": np.eye(3)[None],
        "log_scale": log_scale.detach().double().numpy()[None],
    }
    spread = pose_covariance(predicted)[0]
    np.testing.assert_allclose(np.sqrt(spread.diagonal()), deviation, rtol=0.03)


def test_an_outlier_changes_a_gaussian_scale_more_than_a_laplace_scale() -> None:
    error = torch.cat([torch.full((99,), 0.01), torch.tensor([1.0])])
    scales = torch.linspace(-7, 2, 2000)
    best = {
        kind: float(scales[negative_log_likelihood(error, scales[:, None], kind).mean(1).argmin()].exp())
        for kind in ("laplace", "gaussian")
    }
    assert best["laplace"] == pytest.approx(float(error.mean()), rel=0.01)
    assert best["gaussian"] == pytest.approx(float(error.square().mean() / 2) ** 0.5, rel=0.01)


@pytest.mark.parametrize("representation", ["allocentric", "egocentric"])
@torch.no_grad()
def test_bfloat16_keeps_rotations_orthonormal(representation: str) -> None:
    """Rounding products of rotations to bfloat16 would be an error of half a degree."""
    torch.manual_seed(0)
    model = SeqPose(replace(tiny_config(), head=HeadConfig(rotation=representation))).eval()  # type: ignore[arg-type]
    with torch.autocast("cpu", torch.bfloat16):
        objects = model(*frames(2))[0].objects
    identity = torch.eye(3).expand_as(objects.rotation)
    torch.testing.assert_close(objects.rotation @ objects.rotation.mT, identity, atol=1e-5, rtol=0)


def test_bfloat16_adds_no_peaks() -> None:
    """Rounded heat has ties between neighbouring cells, and each cell of a plateau would be a peak."""
    torch.manual_seed(0)
    head = CentreHead(16, 6).eval()
    smooth = F.interpolate(torch.randn(4, 16, 6, 8), (48, 64), mode="bicubic")
    peaks = []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            heat = head(smooth).heat
        peaks.append(int((F.max_pool2d(heat, 3, stride=1, padding=1) <= heat).sum()))
    assert peaks[1] <= 1.05 * peaks[0]


def test_bfloat16_keeps_moved_references_exact() -> None:
    memory = QueryMemory.empty(1, 4, 8)
    memory = replace(
        memory,
        valid=~memory.valid,
        reference=torch.rand(1, 4, 3),
        camera_pose=camera_poses(4, seed=1)[None],
        pose_known=~memory.pose_known,
    )
    now = camera_poses(1, seed=2)
    frame = FrameMotion.from_optional(now, None, memory)
    expected = view_from(memory, frame).reference
    with torch.autocast("cpu", torch.bfloat16):
        moved = view_from(memory, frame).reference
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=0)
    now_from_past = torch.linalg.inv(now[0].double()) @ memory.camera_pose[0].double()
    by_hand = (now_from_past[:, :3, :3] @ memory.reference[0].double()[..., None])[..., 0] + now_from_past[:, :3, 3]
    torch.testing.assert_close(expected[0].double(), by_hand, atol=1e-6, rtol=0)
