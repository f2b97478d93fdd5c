# SPDX-License-Identifier: Apache-2.0
"""The vectorised evaluation equals a plain loop over pairs, written separately, on random results."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqpose_core.categories import CATEGORIES
from seqpose_core.metrics import iou
from seqpose_core.metrics.nocs import evaluate
from train.benchmarks import reference_nocs
from train.benchmarks.metrics import random_results

IOUS = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9]
POSES = [(5.0, 5.0), (10.0, 10.0), (10.0, 100.0), (360.0, 3.0), (360.0, 100.0)]


def oriented_iou(rt1, rt2, extents1, extents2):
    one, other = iou.box_transforms(rt1, extents1)[None], iou.box_transforms(rt2, extents2)[None]
    return float(iou.oriented_iou(one, other)[0])


PLAIN = {"original": reference_nocs.original_iou, "fixed": reference_nocs.fixed_iou, "oriented": oriented_iou}


def perturb(results, seed, ties):
    """Drop some predictions and ground truth, shuffle categories, and round scores so that they tie."""
    rng = np.random.default_rng(seed)
    for result in results:
        keep = rng.random(len(result["pred_class_ids"])) < rng.choice([0.0, 0.5, 1.0], p=[0.1, 0.5, 0.4])
        for key in ("pred_class_ids", "pred_RTs", "pred_scales", "pred_scores"):
            result[key] = result[key][keep]
        keep = rng.random(len(result["gt_class_ids"])) < rng.choice([0.0, 1.0], p=[0.2, 0.8])
        for key in ("gt_class_ids", "gt_RTs", "gt_scales", "gt_handle_visibility"):
            result[key] = result[key][keep]
        if ties:
            result["pred_scores"] = np.round(result["pred_scores"], 1)
    return results


def assert_equal(results, kind):
    report = evaluate(results, kind, IOUS, POSES)
    expected = reference_nocs.evaluate(results, PLAIN[kind], kind != "oriented", IOUS, POSES)
    for c in CATEGORIES:
        for threshold in [*IOUS, *POSES]:
            got = report.average_precision(threshold, c.name)
            if c.id in expected:
                assert got == pytest.approx(expected[c.id][threshold], abs=1e-6), (c.name, threshold)
            else:
                assert np.isnan(got)


@pytest.mark.parametrize("kind", ["original", "fixed"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), ground_truths=st.integers(1, 6), predictions=st.integers(1, 9))
def test_equals_the_plain_loop(kind, seed, ground_truths, predictions):
    assert_equal(perturb(random_results(4, ground_truths, predictions, seed), seed, ties=False), kind)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_oriented_equals_the_plain_loop(seed):
    assert_equal(perturb(random_results(3, 4, 6, seed), seed, ties=False), "oriented")


@pytest.mark.parametrize("kind", ["original", "fixed"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_plain_loop_with_tied_scores(kind, seed):
    # At most 16 predictions of a category: in longer lists the official order of equal scores is arbitrary.
    assert_equal(perturb(random_results(2, 5, 8, seed), seed, ties=True), kind)


def test_crowded_frames_of_one_category_agree():
    assert_equal(random_results(2, 12, 20, seed=5, one_category=True), "fixed")


def test_order_of_instances_does_not_matter():
    results = random_results(10, seed=3)
    rng = np.random.default_rng(4)
    shuffled = []
    for result in results:
        ground_truth, pred = rng.permutation(5), rng.permutation(20)
        shuffled.append({k: v[ground_truth if k.startswith("gt") else pred] for k, v in result.items()})
    for kind in ("original", "fixed"):
        assert evaluate(results, kind).to_dict() == evaluate(shuffled, kind).to_dict()


def test_order_of_frames_does_not_matter():
    results = random_results(10, seed=6)
    for kind in ("original", "fixed"):
        assert evaluate(results, kind).to_dict() == evaluate(results[::-1], kind).to_dict()


@pytest.mark.parametrize("kind", iou.IOU_KINDS)
def test_float32_results_score_as_float64_ones(kind):
    results = random_results(20, seed=7)
    single = [{k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in r.items()} for r in results]
    double, rounded = evaluate(results, kind).columns(), evaluate(single, kind).columns()
    assert rounded == pytest.approx(double, abs=2e-3)
