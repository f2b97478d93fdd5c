# SPDX-License-Identifier: Apache-2.0
"""The rules of the NOCS protocol, each on a case calculated by hand."""

import numpy as np
import pytest
from nocs_cases import (
    BOTTLE,
    BOWL,
    CAMERA,
    CAN,
    LAPTOP,
    MUG,
    PREFILTERED,
    ap,
    far,
    frame,
    item,
    pose,
)
from scipy.spatial.transform import Rotation

from seqpose_core.categories import CATEGORY_NAMES, Category
from seqpose_core.metrics.errors import match_detections
from seqpose_core.metrics.iou import IOU_KINDS
from seqpose_core.metrics.nocs import evaluate

# --- overlap
# ---------------------------------------------------------------------------------------------------


def test_two_boxes_30_cm_apart_overlap_by_85_percent_under_original_and_not_otherwise():
    # Two cubes of 8 cm at 1 m. A corner's "interval" is from the smaller of x and y to z. Moving the cube by
    # 30 cm along x changes that for the two corners at (-4, 4) cm only: from 1.08 to 1.00 m and from 1.00 to
    # 0.92 m.
    cube = (0.4, 0.4, 0.4)
    apart = [frame([item(CAMERA, scales=cube)], [item(CAMERA, pose((0.3, 0, 1)), cube)])]
    report = evaluate(apart, "original")
    assert 0.92 / 1.08 == pytest.approx(0.8519, abs=1e-4)
    assert report.iou_ap["camera"][0.8518] == 1 and report.iou_ap["camera"][0.8519] == 0
    for kind in ("fixed", "oriented"):
        assert ap(apart, kind, 0.0) == 0


def test_oriented_boxes_have_a_gap_that_camera_frame_boxes_do_not():
    thin, rotation = (1.0, 0.1, 0.1), (0, 0, 45)
    apart = [
        frame([item(LAPTOP, pose(rotation=rotation), thin)], [item(LAPTOP, pose((0.05, -0.05, 1), rotation), thin)])
    ]
    assert ap(apart, "fixed", 0.1, "laptop") == 1
    assert ap(apart, "oriented", 0.0, "laptop") == 0


@pytest.mark.parametrize("kind", ["fixed", "oriented"])
def test_a_match_needs_iou_strictly_above_the_threshold(kind):
    inner = [frame([item(CAMERA, pose(scale=1), (1, 1, 1))], [item(CAMERA, pose(scale=1), (1, 1, 0.5))])]
    assert ap(inner, kind, 0.5) == 0
    assert ap(inner, kind, 0.4999) == 1


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_pose_thresholds_are_inclusive(kind):
    quarter = [frame([item(CAMERA)], [item(CAMERA, pose((0.03125, 0, 1), (0, 90, 0)))])]
    assert ap(quarter, kind, (90.0001, 3.125)) == 1
    assert ap(quarter, kind, (89.999, 3.125)) == 0
    assert ap(quarter, kind, (90.0001, 3.1249)) == 0


# --- symmetry
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", IOU_KINDS)
@pytest.mark.parametrize(
    ("category", "handle", "free"),
    [
        (BOTTLE, 1, True),
        (BOWL, 1, True),
        (CAN, 1, True),
        (MUG, 0, True),
        (MUG, 1, False),
        (CAMERA, 1, False),
        (CAMERA, 0, False),
        (LAPTOP, 0, False),
    ],
)
def test_rotation_about_y_is_free_for_symmetric_objects_only(kind, category, handle, free):
    name, size = CATEGORY_NAMES[category - 1], (0.9, 0.5, 0.3)
    tilted = pose(rotation=(20, 10, 30))
    quarter = np.eye(4)
    quarter[:3, :3] = Rotation.from_rotvec([0, 90, 0], degrees=True).as_matrix()
    result = [frame([item(category, tilted, size, handle=handle)], [item(category, tilted @ quarter, size)])]
    report = evaluate(result, kind)
    assert report.pose_ap[name][(0.01, 0.01)] == (1 if free else 0)
    assert report.pose_ap[name][(90.01, 0.01)] == 1
    assert report.iou_ap[name][0.999] == (1 if free else 0)


def test_a_tilt_of_a_symmetric_object_counts():
    result = [frame([item(BOTTLE)], [item(BOTTLE, pose(rotation=(7, 0, 0)))])]
    assert ap(result, "oriented", (6.99, 10), "bottle") == 0
    assert ap(result, "oriented", (7.01, 10), "bottle") == 1


def test_the_20_rotations_are_18_degrees_apart():
    oblong = (0.9, 0.5, 0.3)
    on, off = (
        [frame([item(BOTTLE, scales=oblong)], [item(BOTTLE, pose(rotation=(0, a, 0)), oblong)])] for a in (36, 9)
    )
    for kind in IOU_KINDS:
        assert ap(on, kind, 0.999, "bottle") == 1
        assert ap(off, kind, 0.999, "bottle") == 0


# --- matching and ranking
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_average_precision_is_the_area_under_the_envelope(kind):
    # Match, false positive, match on two ground-truth objects: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    ground_truths = [item(CAMERA, pose((-0.4, 0, 1))), item(CAMERA, pose((0.4, 0, 1)))]
    ranked = [dict(ground_truths[0], score=0.9), item(CAMERA, far(0), score=0.8), dict(ground_truths[1], score=0.7)]
    assert ap([frame(ground_truths, ranked)], kind, 0.5) == pytest.approx(0.5 + 0.5 * 2 / 3)
    split = [frame(ground_truths[:1], ranked[:1]), frame([], ranked[1:2]), frame(ground_truths[1:], ranked[2:])]
    assert ap(split, kind, 0.5) == pytest.approx(0.5 + 0.5 * 2 / 3)


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_the_higher_score_is_matched_and_the_other_is_a_false_positive(kind):
    ground_truth = item(CAMERA)
    poor = item(CAMERA, pose((0.02, 0, 1)), score=0.9)
    assert ap([frame([ground_truth], [dict(ground_truth, score=0.5), poor])], kind, 0.25) == 1
    # At a threshold that only the lower one passes, the higher one is a false positive and ranks first.
    exact = frame([ground_truth], [dict(ground_truth, score=0.5), item(CAMERA, pose((0.08, 0.08, 1.3)), score=0.9)])
    assert ap([exact], kind, 0.9) == 0.5


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_among_equal_scores_the_later_is_matched_first_and_the_later_frame_ranks_first(kind):
    # The reversed sort inverts the order of equal scores: once per frame for matching, once over all for the ranking.
    ground_truth, wrong, poor = item(CAMERA), item(CAMERA, far(0)), item(CAMERA, pose((0, 0, 1.005)))
    # Both pass, the later one is matched, and the other, a false positive, ranks before it.
    assert ap([frame([ground_truth], [ground_truth, poor])], kind, 0.25) == 0.5
    assert ap([frame([ground_truth], [poor, ground_truth])], kind, 0.25) == 0.5
    assert ap([frame([ground_truth], [ground_truth, wrong])], kind, 0.5) == 1
    assert ap([frame([ground_truth], [wrong, ground_truth])], kind, 0.5) == 0.5
    assert ap([frame([], [wrong]), frame([ground_truth], [ground_truth])], kind, 0.5) == 1
    assert ap([frame([ground_truth], [ground_truth]), frame([], [wrong])], kind, 0.5) == 0.5


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_a_prediction_matches_the_ground_truth_with_the_largest_iou_or_the_smallest_error(kind):
    near, next_to_it = item(CAMERA), item(CAMERA, pose((0.02, 0, 1)))
    second = item(CAMERA, pose((0.03, 0, 1)), score=0.4)
    for ground_truths in ([near, next_to_it], [next_to_it, near]):
        both = [frame(ground_truths, [dict(near, score=0.9), second])]
        assert ap(both, kind, (5, 2)) == 1
        assert ap(both, kind, 0.25) == 1


def test_a_missed_object_lowers_pose_ap_under_oriented_only():
    ground_truths = [item(CAMERA, pose((-0.4, 0, 1))), item(CAMERA, pose((0.4, 0, 1)))]
    missed = [frame(ground_truths, ground_truths[:1])]
    for kind in IOU_KINDS:
        assert ap(missed, kind, 0.25) == 0.5
        assert ap(missed, kind, (10, 10)) == (1 if kind in PREFILTERED else 0.5)
    left_out = {r: n for r, n in evaluate(missed, "fixed").dropped.items() if "left out of pose AP" in r}
    assert left_out == {"ground truth: no match above IoU 0.1, left out of pose AP": 1}
    assert evaluate(missed, "oriented").dropped == {}


def test_the_prefilter_ignores_a_false_positive_in_pose_ap():
    ground_truth = item(CAMERA)
    false_first = [frame([ground_truth], [item(CAMERA, far(0), score=0.9), dict(ground_truth, score=0.5)])]
    for kind in IOU_KINDS:
        assert ap(false_first, kind, 0.25) == 0.5
        assert ap(false_first, kind, (10, 10)) == (1 if kind in PREFILTERED else 0.5)


def test_any_distance_is_100_cm_and_any_rotation_360_degrees():
    result = [
        frame([item(CAMERA)], [item(CAMERA, pose((0.99, 0, 1)))]),
        frame([item(LAPTOP)], [item(LAPTOP, pose((1.01, 0, 1)))]),
        frame([item(MUG)], [item(MUG, pose(rotation=(180, 0, 0)))]),
    ]
    report = evaluate(result, "oriented")
    assert report.columns("camera")["10°"] == 1 and report.columns("laptop")["10°"] == 0
    assert report.columns("mug")["10cm"] == 1 and report.columns("mug")["10°"] == 0


def test_only_the_same_category_matches():
    result = [frame([item(CAMERA)], [item(LAPTOP)])]
    assert ap(result, "oriented", 0.25) == 0


def test_other_categories_are_evaluated_by_their_names_and_symmetry():
    # Ids are not the positions; a rotation about y is free for the spool only.
    drill, spool = (
        Category(8, "drill", False, (0.2, 0.2, 0.1), (0, 0, 0)),
        Category(7, "spool", True, (0.1,) * 3, (9, 9, 9)),
    )
    rotated = pose((0.3, 0, 1), (0, 90, 0))
    ground_truth = [item(8, pose((0.3, 0, 1))), item(7, pose((0.3, 0, 1))), item(CAMERA)]
    results = [frame(ground_truth, [item(8, rotated), item(7, rotated), item(CAMERA)])]
    report = evaluate(results, "oriented", categories=(drill, spool))
    assert (report.pose_ap["drill"][(10, 10)], report.pose_ap["spool"][(10, 10)]) == (0, 1)
    assert list(report.to_dict()["ap_percent"]) == ["mean", "drill", "spool"]
    assert report.pose_ap["mean"][(10, 10)] == 0.5
    assert report.dropped == {"ground truth: class outside 7..8": 1, "prediction: class outside 7..8": 1}
    errors = match_detections(results, categories=(drill, spool))
    assert errors.summary("spool")["median_degrees"] == pytest.approx(0, abs=1e-6)
    assert errors.summary("drill")["median_degrees"] == pytest.approx(90)
