# SPDX-License-Identifier: Apache-2.0
"""A checkpoint gives each category its own score threshold; a caller may choose one for all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_model

from seqpose_core import CATEGORIES, Camera, PoseEstimator, SeqPose
from seqpose_core.categories import above_threshold, threshold_text
from seqpose_core.metrics.errors import match_detections
from seqpose_core.objects import ObjectPose

STRICT_MUGS = tuple(replace(c, score_threshold=0.8 if c.name == "mug" else 0.3) for c in CATEGORIES)
MUG, CAN = 6, 4


def model_with(thresholds: float) -> SeqPose:
    model = tiny_model()
    categories = tuple(replace(c, score_threshold=thresholds) for c in CATEGORIES)
    changed = SeqPose(replace(model.config, categories=categories)).eval()
    changed.load_state_dict(model.state_dict())
    return changed


def detect(model: SeqPose, **options: float | None) -> list[ObjectPose]:
    camera = Camera(100.0, 100.0, 56.0, 42.0, 112, 84)
    image = torch.arange(84 * 112 * 3).reshape(84, 112, 3).remainder(251).to(torch.uint8).numpy()
    return PoseEstimator(model, **options).step(image, camera)


def test_each_score_is_compared_with_the_threshold_of_its_category() -> None:
    scores, ids = np.array([0.5, 0.5, 0.8, 0.3]), np.array([MUG, CAN, MUG, CAN])
    assert above_threshold(scores, ids, STRICT_MUGS).tolist() == [False, True, True, True]


def test_a_chosen_threshold_replaces_those_of_the_categories() -> None:
    scores, ids = np.array([0.5, 0.5, 0.1]), np.array([MUG, CAN, CAN])
    assert above_threshold(scores, ids, STRICT_MUGS, 0.4).tolist() == [True, True, False]


def test_an_unknown_category_reaches_no_threshold() -> None:
    assert above_threshold(np.array([1.0]), np.array([99]), CATEGORIES).tolist() == [False]


def test_tables_name_one_threshold_or_that_of_each_category() -> None:
    assert threshold_text(CATEGORIES) == "0.3"
    assert threshold_text(STRICT_MUGS, 0.25) == "0.25"
    assert threshold_text(STRICT_MUGS).endswith("can 0.3, laptop 0.3, mug 0.8")


def test_a_threshold_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"score_threshold of mug is 1.5; it must lie in 0..1"):
        replace(CATEGORIES[5], score_threshold=1.5)


def test_the_estimator_uses_the_thresholds_of_the_model_unless_one_is_given() -> None:
    assert detect(model_with(0.0))
    assert detect(model_with(1.0)) == []
    assert detect(model_with(1.0), score_threshold=0.0)
    assert detect(model_with(0.0), score_threshold=1.0) == []


def test_a_threshold_changed_later_replaces_those_of_the_model() -> None:
    estimator = PoseEstimator(model_with(1.0))
    estimator.configure(score_threshold=0.0)
    assert estimator._thresholds(estimator.options).tolist() == [0.0] * 6
    estimator.configure(score_threshold=None)
    assert estimator._thresholds(estimator.options).tolist() == [1.0] * 6


def test_recall_counts_detections_above_the_threshold_of_their_category() -> None:
    mug, can = np.eye(4), np.eye(4)
    mug[:3, 3], can[:3, 3] = (0, 0, 1), (0.5, 0, 1)
    transforms, sizes = np.stack([mug, can]), np.full((2, 3), 0.5)
    result = {
        "gt_class_ids": np.array([MUG, CAN]),
        "gt_RTs": transforms,
        "gt_scales": sizes,
        "gt_handle_visibility": np.ones(2, int),
        "pred_class_ids": np.array([MUG, CAN]),
        "pred_RTs": transforms,
        "pred_scales": sizes,
        "pred_scores": np.array([0.5, 0.5]),
    }
    found = match_detections([result], None, categories=STRICT_MUGS)
    assert dict(zip(found.category.tolist(), found.detected.tolist(), strict=True)) == {CAN: True, MUG: False}
