# SPDX-License-Identifier: Apache-2.0
"""Figures of a report: confusion, recall by factor, coverage, the worst cases and their crops."""

import re

import cv2
import numpy as np
import pytest
from nocs_cases import BOTTLE, BOWL, CAMERA, CAN, LAPTOP, MUG, frame, item, pose, run_of

from seqpose_core.camera import Camera
from seqpose_core.categories import Category
from seqpose_core.evaluation import ScoringOptions, score_results
from seqpose_core.objects import ObjectPose
from seqpose_core.report.cases import worst_cases
from seqpose_core.report.coverage import LEVELS, run_coverage
from seqpose_core.report.factors import FACTORS, bins
from seqpose_core.visualize import crop

EYE = Camera(150, 150, 79.5, 59.5, 160, 120)


def at(x, rotation=(0, 0, 0), **options):
    return pose((x, 0, 1), rotation, **options)


def test_confusion_pairs_nearest_centres_regardless_of_their_category():
    results = [
        frame(
            [item(CAMERA, at(0)), item(CAN, at(0.5)), item(MUG, at(1.0)), item(BOWL, at(2.0))],
            [
                item(
                    CAMERA, at(0.1), score=0.9
                ),  # farther from the ground-truth camera than the laptop: a false positive
                item(LAPTOP, at(0.02), score=0.5),
                item(CAN, at(0.5), score=0.6),
                item(MUG, at(1.25), score=0.8),  # 25 cm off: a false positive, and the mug is missed
                item(BOWL, at(2.0), score=0.2),  # below the lowest score
            ],
        )
    ]
    expected = np.zeros((7, 7), dtype=int)
    expected[CAMERA - 1, LAPTOP - 1] = expected[CAN - 1, CAN - 1] = 1
    expected[MUG - 1, 6] = expected[BOWL - 1, 6] = 1
    expected[6, CAMERA - 1] = expected[6, MUG - 1] = 1
    np.testing.assert_array_equal(run_of(results).pairing.confusion(), expected)


def test_confusion_is_in_the_order_of_the_categories():
    drill, spool = (
        Category(8, "drill", False, (0.2, 0.2, 0.1), (0, 0, 0)),
        Category(7, "spool", True, (0.1,) * 3, (9, 9, 9)),
    )
    results = [frame([item(8, at(0)), item(7, at(1))], [item(7, at(0)), item(7, at(3))])]
    run = score_results(results, ScoringOptions(categories=(drill, spool)))
    # Rows: drill, spool, false positives; columns: drill, spool, missed.
    assert run.pairing.confusion().tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert [case.description for case in worst_cases(run)][-1] == "wrong category: drill predicted as spool, score 1.00"


def test_bins_hold_recall_and_quartiles_of_their_ground_truth():
    shifts = (0.01, 0.02, 0.03, 0.15)  # the last is detected, but not within 10 cm
    results = [
        frame([item(CAMERA, pose((0, 0, 0.7)))], [item(CAMERA, pose((s, 0, 0.7), (0, 0, 20 * k)))])
        for k, s in enumerate(shifts)
    ]
    results.append(frame([item(CAMERA, pose((0, 0, 1.6)))]))
    distance, pixels, size = FACTORS
    found = bins(run_of(results), distance)
    assert found.labels == ["0.6–0.8", "1.5–2"]
    assert found.ground_truths.tolist() == [4, 1]
    np.testing.assert_allclose(found.recall, [[75, 25], [0, 0]])
    np.testing.assert_allclose(found.centimetres[0], [1.75, 2.5, 6])
    np.testing.assert_allclose(found.degrees[0], [15, 30, 45], atol=1e-6)
    assert np.isnan(found.centimetres[1]).all()
    assert bins(run_of(results), pixels) is None
    # 0.2 x (0.6, 0.6, 0.5): a diagonal of 19.7 cm
    assert bins(run_of(results), size).labels == ["15–20"]


def test_bins_of_visible_pixels_leave_out_ground_truth_with_unknown_pixels():
    known = {**frame([item(CAMERA), item(CAN)]), "gt_visible_pixels": np.array([0, 300])}
    found = bins(run_of([known, frame([item(CAMERA)])]), FACTORS[1])
    assert found.labels == ["0", "200–500"] and found.ground_truths.tolist() == [1, 1]


def test_coverage_counts_ground_truth_within_the_confidence_regions():
    # Quantiles of chi-square: three degrees of freedom 4.642 at 80 %, 6.251 at 90 %; two 4.605 at 90 %, 5.991 at 95 %.
    shift, angle = 0.02 * np.sqrt(5.0), np.degrees(0.1 * np.sqrt(5.5))
    covariance = np.diag([4e-4] * 3 + [0.01] * 3)
    result = {
        **frame(
            [item(CAN), item(MUG, pose((0.5, 0, 1)), handle=0)],
            [item(CAN, pose((shift, 0, 1), (angle, 0, 0))), item(MUG, pose((0.5, 0, 1), (0, 170, 0)))],
        ),
        "pred_covariances": np.stack([covariance, covariance]),
    }
    found, hidden = run_coverage(run_of([result]))
    assert (found.samples, hidden) == (1, 1)  # the yaw of a mug with a hidden handle is unknown
    inside = dict(zip(LEVELS, zip(found.translation, found.rotation, strict=True), strict=True))
    assert inside[0.8] == (0, 0) and inside[0.9] == (1, 0) and inside[0.95] == (1, 1)


def test_worst_cases_alternate_between_kinds_and_describe_the_error():
    tree = {"image_path": "a/0", "gt_visible_pixels": np.array([500, 70, 900, 80, 90, 100])}
    spots = [at(0.5 * k) for k in range(6)]
    ground_truths = [
        item(kind, spot) for kind, spot in zip((BOTTLE, BOWL, CAMERA, CAN, LAPTOP, MUG), spots, strict=True)
    ]
    predictions = [
        item(LAPTOP, at(0.5), score=0.7),  # of the bowl
        item(CAMERA, at(1.0, (0, 120, 0)), score=0.8),
        item(CAN, at(1.62), score=0.6),
        item(LAPTOP, at(2.0, scale=0.3), score=0.5),
        item(MUG, at(2.5), score=0.5),
        item(BOTTLE, at(9.0), score=0.95),
    ]
    found = worst_cases(run_of([{**frame(ground_truths, predictions), **tree}]))
    assert [case.description for case in found] == [
        "missed: bottle at 1.00 m, 500 pixels visible",
        "false positive: bottle, score 0.95, nearest ground truth: mug, 650 cm away",
        "wrong category: bowl predicted as laptop, score 0.70",
        "camera: rotation 120°, translation 0.0 cm, size 0 %, score 0.80",
        "can: translation 12.0 cm, rotation 0°, size 0 %, score 0.60",
        "laptop: size 50 %, rotation 0°, translation 0.0 cm, score 0.50",
    ]


def test_an_object_that_is_missed_repeatedly_comes_after_the_others():
    def missing(k, instances, pixels):
        keys = {"gt_instance_ids": np.array(instances), "gt_visible_pixels": np.array(pixels)}
        return {**frame([item(CAN) for _ in instances]), **keys, "image_path": f"clip/{k}"}

    results = [missing(k, [1, 2, 3], [1000 + k, 10, 0]) for k in range(3)]
    words = [case.description for case in worst_cases(run_of(results), 3)]
    # Most visible first: object 1 in the last frame, object 2, then object 1 again; 3 is not visible.
    assert [re.search(r"(\d+) pixels", w).group(1) for w in words] == ["1002", "10", "1001"]


def test_poses_that_cannot_be_drawn_count_as_false_positives(tmp_path):
    broken = [item(CAN, np.full((4, 4), np.nan)), item(CAN, pose(scale=0.0)), item(CAN, scales=(0, 0, 0))]
    run = run_of([{**frame([item(CAN)], broken), "image_path": "a/0"}])
    assert run.pairing.confusion()[[CAN - 1, 6], [6, CAN - 1]].tolist() == [1, 3]
    assert [case.kind for case in worst_cases(run)] == ["missed"]


def box(centre, size=0.1):
    return ObjectPose("can", 1.0, np.eye(3), np.array(centre), np.full(3, size), np.zeros((6, 6)))


def test_a_crop_and_its_camera_agree():
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
    for centre in ((0.1, 0.05, 1.0), (-0.5, 0.3, 1.0)):
        window, camera = crop(image, EYE, [box(centre)], 200)
        assert window.shape == (200, 200, 3) and (camera.width, camera.height) == (200, 200)
        for offset in ((0, 0), (0.04, -0.03)):
            point = np.array([centre[0] + offset[0], centre[1] + offset[1], centre[2]])
            (u, v), (x, y) = EYE.project(point), camera.project(point)
            seen = cv2.getRectSubPix(image, (1, 1), (float(u), float(v)))[0, 0].astype(int)
            there = cv2.getRectSubPix(window, (1, 1), (float(x), float(y)))[0, 0].astype(int)
            assert np.abs(seen - there).max() <= 6
    assert not (window == 205).all(axis=2).any()  # near a corner, yet no part of it is outside the image


@pytest.mark.parametrize("centre", [(0, 0, -1.0), (5.0, 0, 1.0)])
def test_a_crop_of_an_object_outside_the_image_shows_the_full_image(centre):
    image = np.full((120, 160, 3), 80, np.uint8)
    window, camera = crop(image, EYE, [box(centre)], 160)
    assert (window == 80).all(axis=2).sum() == 120 * 160
    np.testing.assert_allclose(camera.project((0, 0, 1.0)), (79.5, 79.5))
