# SPDX-License-Identifier: Apache-2.0
"""Recalls and median errors of detections above a score."""

import numpy as np
import pytest
from nocs_cases import BOTTLE, CAMERA, MUG, frame, item, pose

from seqpose_core.metrics.errors import match_detections


def test_recalls_and_medians_of_known_errors():
    ground_truths = [item(CAMERA, pose((x, 0, 1))) for x in (-0.5, 0.0, 0.5)] + [item(MUG)]
    predictions = [
        item(CAMERA, pose((-0.5, 0, 1.04), (0, 4, 0))),  # 4 cm, 4 degrees
        item(CAMERA, pose((0.0, 0, 1.08), (0, 12, 0)), (0.6 * 1.2, 0.6, 0.5)),  # 8 cm, 12 degrees, 20 % in x
        item(CAMERA, pose((0.5, 0, 1.3))),  # too far
        item(MUG, score=0.1),  # below the score
    ]
    errors = match_detections([frame(ground_truths, predictions)], min_score=0.3, radius=0.2)
    camera, everything = errors.summary("camera"), errors.summary()
    assert (camera["ground_truths"], camera["detected"], camera["false_positives"]) == (3, 2, 1)
    assert camera["recall_percent"]["10cm"] == pytest.approx(200 / 3)
    assert camera["recall_percent"]["10°10cm"] == pytest.approx(100 / 3)
    assert camera["recall_percent"]["5°5cm"] == pytest.approx(100 / 3)
    assert camera["median_degrees"] == pytest.approx(8)
    assert camera["median_centimetres"] == pytest.approx(6)
    assert camera["median_size_error"] == pytest.approx(0.2 / 3 / 2)
    assert everything["recall_percent"]["10cm"] == 50
    assert errors.summary("mug")["median_degrees"] is None
    assert errors.summary("bowl")["recall_percent"]["10cm"] is None
    np.testing.assert_allclose(errors.distance[errors.category == MUG], 1)


def test_each_ground_truth_is_matched_once_and_the_higher_score_first():
    ground_truth = item(BOTTLE)
    errors = match_detections(
        [frame([ground_truth], [dict(ground_truth, score=0.5), item(BOTTLE, pose((0.05, 0, 1)), score=0.9)])]
    )
    assert errors.prediction.tolist() == [1] and errors.score.tolist() == [0.9]
    assert errors.centimetres[0] == pytest.approx(5)
    assert errors.false_positives["bottle"] == 1


def test_without_predictions_nothing_is_detected():
    errors = match_detections([frame([item(MUG)], [])])
    assert not errors.detected.any() and np.isnan(errors.degrees).all()
    assert errors.summary()["recall_percent"]["10cm"] == 0
