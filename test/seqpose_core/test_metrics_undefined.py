# SPDX-License-Identifier: Apache-2.0
"""Definitions for the cases in which the official evaluation gives NaN or stops."""

import numpy as np
import pytest
from nocs_cases import (
    BOWL,
    CAMERA,
    MUG,
    ap,
    far,
    frame,
    item,
    pose,
)
from scipy.spatial.transform import Rotation

from seqpose_core.metrics.iou import IOU_KINDS
from seqpose_core.metrics.nocs import evaluate
from seqpose_core.metrics.results import ResultError

# --- what is undefined
# -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_a_category_without_ground_truth_is_undefined_and_left_out_of_the_mean(kind):
    results = [frame([item(CAMERA)], [item(CAMERA), item(BOWL, far(0), score=0.3)])]
    report = evaluate(results, kind)
    for table, threshold in ((report.iou_ap, 0.5), (report.pose_ap, (10, 10))):
        assert np.isnan(table["bowl"][threshold]) and np.isnan(table["can"][threshold])
        assert table["camera"][threshold] == 1 and table["mean"][threshold] == 1
    assert report.to_dict()["ap_percent"]["bowl"]["IoU50"] is None


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_a_category_never_predicted_scores_0(kind):
    report = evaluate([frame([item(CAMERA), item(MUG)], [item(CAMERA)])], kind)
    assert set(report.columns("mug").values()) == {0.0}
    assert set(report.columns().values()) == {0.5}


def rotated_exactly(angle):
    """A pose whose cosine with itself rotated by 0 or 180 degrees rounds to beyond ±1 (there are many)."""
    half_turn = np.diag([-1.0, 1.0, -1.0]) if angle else np.eye(3)
    for seed in range(1000):
        ground_truth = pose(rotation=Rotation.random(random_state=seed).as_rotvec(degrees=True))
        block = ground_truth[:3, :3] / np.cbrt(np.linalg.det(ground_truth[:3, :3]))
        other = ground_truth.copy()
        other[:3, :3] = ground_truth[:3, :3] @ half_turn
        cosine = (np.trace(block @ (other[:3, :3] / np.cbrt(np.linalg.det(other[:3, :3]))).T) - 1) / 2
        if abs(cosine) > 1:
            return ground_truth, other
    raise AssertionError("no rotation rounds that way")


@pytest.mark.parametrize(("angle", "defined"), [(0, 1.0), (180, 0.0)])
def test_an_angle_beyond_rounding_passes_under_original_and_is_clipped_otherwise(angle, defined):
    ground_truth, other = rotated_exactly(angle)
    cube = (0.5, 0.5, 0.5)
    results = [frame([item(CAMERA, ground_truth, cube)], [item(CAMERA, other, cube)])]
    report = evaluate(results, "original")
    assert report.pose_ap["camera"][(5, 5)] == 1
    assert report.dropped == {"pair: angle undefined (cosine beyond ±1), passes every threshold": 1}
    for kind in ("fixed", "oriented"):
        assert ap(results, kind, (5, 5)) == defined


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_broken_instances_are_counted_and_do_not_stop_the_evaluation(kind):
    nan_pose, nan_score = item(CAMERA, pose((np.nan, 0, 1)), score=0.5), item(CAMERA, score=np.nan)
    results = [
        frame(
            [item(CAMERA), item(CAMERA, pose((np.inf, 0, 1))), item(9)],
            [item(CAMERA, score=0.4), nan_pose, nan_score, item(0)],
        )
    ]
    report = evaluate(results, kind)
    assert report.ground_truths["camera"] == 1 and report.predictions["camera"] == 2
    assert report.iou_ap["camera"][0.5] == 0.5  # the undefined pose ranks first and is a false positive
    dropped = {reason: n for reason, n in report.dropped.items() if "left out" not in reason}
    assert dropped == {
        "ground truth: class outside 1..6": 1,
        "ground truth: pose or size not finite": 1,
        "prediction: class outside 1..6": 1,
        "prediction: score not finite": 1,
        "prediction: pose or size not finite, counted as false positive": 1,
    }


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_boxes_without_volume_match_nothing(kind):
    flat = (0.0, 0.0, 0.0)
    assert ap([frame([item(CAMERA)], [item(CAMERA, scales=flat)])], "oriented", 0.0) == 0
    report = evaluate([frame([item(CAMERA, scales=flat)], [item(CAMERA, scales=flat)])], kind)
    assert np.isfinite(list(report.columns("camera").values())).all()


def test_unusable_results_raise_an_error_that_names_them():
    good = frame([item(CAMERA)], [item(CAMERA)])
    with pytest.raises(ResultError, match="no results"):
        evaluate([])
    with pytest.raises(ResultError, match=r"frame 1 \(scene_1/0007\).*pred_scores.*\(2,\).*\(1,\)"):
        evaluate([good, {**good, "pred_scores": np.ones(2), "image_path": "scene_1/0007"}])
    with pytest.raises(ResultError, match="no 'gt_RTs'"):
        evaluate([{k: v for k, v in good.items() if k != "gt_RTs"}])
    with pytest.raises(ResultError, match="numbers"):
        evaluate([{**good, "pred_class_ids": np.array(["mug"])}])
    with pytest.raises(ValueError, match="original, fixed, oriented"):
        evaluate([good], "fast")
    with pytest.raises(ValueError, match=r"1\.5 is not within"):
        evaluate([good]).iou_ap["camera"][1.5]


def test_missing_handle_visibility_means_visible():
    rotated = pose(rotation=(0, 90, 0))
    result = frame([item(MUG, handle=0)], [item(MUG, rotated)])
    assert ap([result], "oriented", (5, 5), "mug") == 1
    del result["gt_handle_visibility"]
    assert ap([result], "oriented", (5, 5), "mug") == 0
