# SPDX-License-Identifier: Apache-2.0
"""Tables and curves: ground truth as prediction scores 100, and each kind of error lowers its own columns."""

import numpy as np
import pytest
from nocs_cases import (
    CAMERA,
    POSE_COLUMNS,
    columns,
    far,
    frame,
    item,
    perfect,
    pose,
)
from scipy.spatial.transform import Rotation

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.metrics.iou import IOU_KINDS
from seqpose_core.metrics.nocs import evaluate

# --- columns
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_ground_truth_as_prediction_scores_100_everywhere(kind):
    report = evaluate(perfect(), kind)
    for name in (*CATEGORY_NAMES, "mean"):
        assert all(v == pytest.approx(1.0, abs=1e-12) for v in report.columns(name).values())
        np.testing.assert_allclose(report.iou_curve(name)[1][:-1], 1.0)
        np.testing.assert_allclose(report.translation_curve(name)[1], 1.0)


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_removed_predictions_lower_the_columns_that_count_missed_objects(kind):
    results = perfect(4)
    for result in results[:2]:  # no predictions in half of the frames
        for key in ("pred_class_ids", "pred_RTs", "pred_scales", "pred_scores"):
            result[key] = result[key][:0]
    for name, value in columns(results, kind).items():
        counts_missed = name not in POSE_COLUMNS or kind == "oriented"
        assert value == pytest.approx(0.5 if counts_missed else 1.0)


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_false_positives_lower_ap_only_when_they_outrank_correct_predictions(kind):
    for score, ranked_first in ((-1.0, False), (2.0, True)):
        results = perfect(4)
        for result in results:
            result["pred_class_ids"] = np.concatenate([result["pred_class_ids"], np.arange(1, 7)])
            result["pred_RTs"] = np.concatenate([result["pred_RTs"], [far(0)] * 6])
            result["pred_scales"] = np.concatenate([result["pred_scales"], np.full((6, 3), 0.5)])
            result["pred_scores"] = np.concatenate([result["pred_scores"], np.full(6, score)])
        for name, value in columns(results, kind).items():
            counts_false = name not in POSE_COLUMNS or kind == "oriented"
            assert value == pytest.approx(0.5 if ranked_first and counts_false else 1.0)


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_a_tilt_of_7_degrees_lowers_5_degrees_only(kind):
    results = perfect()
    tilt = Rotation.from_rotvec([7, 0, 0], degrees=True).as_matrix()
    for result in results:
        result["pred_RTs"] = result["pred_RTs"].copy()
        result["pred_RTs"][:, :3, :3] = result["pred_RTs"][:, :3, :3] @ tilt
    for name, value in columns(results, kind).items():
        if name in POSE_COLUMNS:
            assert value == pytest.approx(0.0 if name == "5°5cm" else 1.0), name


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_a_shift_of_7_cm_lowers_5_cm_only(kind):
    results = perfect()
    for result in results:
        result["gt_RTs"][:, :3, :3] *= 3  # large boxes, which still overlap after the shift
        result["pred_RTs"] = result["gt_RTs"].copy()
        result["pred_RTs"][:, 2, 3] += 0.07
    for name, value in columns(results, kind).items():
        if name in POSE_COLUMNS:
            assert value == pytest.approx(0.0 if name.endswith("°5cm") else 1.0), name


@pytest.mark.parametrize("kind", ["fixed", "oriented"])
def test_a_size_error_of_30_percent_lowers_overlap_only(kind):
    results = perfect()
    for result in results:
        result["pred_scales"] = result["pred_scales"] * 1.3  # IoU 1 / 1.3³ = 0.455
    report = evaluate(results, kind)
    for name in ("camera", "laptop") if kind == "fixed" else CATEGORY_NAMES:  # a "fixed" box grows with rotation
        got = report.columns(name)
        assert got.pop("IoU50") == 0 and got.pop("IoU75") == 0
        assert all(value == pytest.approx(1.0) for value in got.values())


# --- the report
# ------------------------------------------------------------------------------------------------


def test_any_threshold_can_be_computed_afterwards():
    results = perfect()
    later, before = evaluate(results), evaluate(results, "original", [0.33], [(3, 4)])
    assert 0.33 in before.iou_ap["mean"] and 0.33 not in later.iou_ap["mean"]
    assert later.iou_ap["mean"][0.33] == before.iou_ap["mean"][0.33]
    assert later.pose_ap["mug"][(3, 4)] == before.pose_ap["mug"][(3, 4)]


def test_curves_step_where_the_errors_are():
    result = [frame([item(CAMERA)], [item(CAMERA, pose((0, 0, 1.032), (0, 12.5, 0)))])]
    report = evaluate(result, "oriented")
    degrees, by_degrees = report.rotation_curve("camera")
    np.testing.assert_array_equal(by_degrees, degrees >= 12.5)
    centimetres, by_centimetres = report.translation_curve("camera")
    np.testing.assert_array_equal(by_centimetres, centimetres >= 3.2)
    assert (degrees[0], degrees[-1], centimetres[-1], len(report.iou_curve()[0])) == (0, 60, 15, 101)


def test_precision_recall_follows_the_ranking():
    ground_truths = [item(CAMERA, pose((-0.4, 0, 1))), item(CAMERA, pose((0.4, 0, 1)))]
    ranked = [dict(ground_truths[0], score=0.9), item(CAMERA, far(0), score=0.8), dict(ground_truths[1], score=0.7)]
    curve = evaluate([frame(ground_truths, ranked)], "oriented").precision_recall("camera", 0.5)
    np.testing.assert_allclose(curve.score, [0.9, 0.8, 0.7])
    np.testing.assert_allclose(curve.precision, [1, 0.5, 2 / 3])
    np.testing.assert_allclose(curve.recall, [0.5, 0.5, 1])
