# SPDX-License-Identifier: Apache-2.0
"""The headline figures of a bag, on cases calculated by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from bag_rig import upright_object

from seqpose_core import ObjectPose
from seqpose_core.evaluation.figures import headline_figures
from seqpose_core.metrics.errors import match_detections
from seqpose_ros.bags.scoring import frame_result, is_yaw_known


def figures(
    frames: Sequence[tuple[Sequence[ObjectPose], Sequence[ObjectPose]]], min_score: float = 0.0
) -> dict[str, float | int | None]:
    """Headline figures of frames, each a pair of ground truth and predictions."""
    return headline_figures(match_detections([frame_result(*frame) for frame in frames], min_score))


def test_the_higher_score_is_matched_first_to_the_nearest_ground_truth_of_its_category() -> None:
    ground_truth = [
        upright_object("mug", (0, 0, 1)),
        upright_object("mug", (0.3, 0, 1)),
        upright_object("can", (0.6, 0, 1)),
    ]
    predicted = [
        upright_object("mug", (0.01, 0, 1), score=0.5),
        upright_object(
            "mug", (0.04, 0, 1), score=0.9
        ),  # matches the first mug, although the other prediction is nearer to it
        upright_object("bowl", (0.6, 0, 1)),
    ]
    values = figures([(ground_truth, predicted)])
    # The remaining ground truth is 29 cm from the other mug, farther than the 20 cm within which pairs are matched.
    assert (values["objects_true"], values["objects_predicted"]) == (3, 3)
    assert values["recall_10cm"] == pytest.approx(100 / 3, abs=0.01)
    assert values["median_translation_cm"] == pytest.approx(4.0)


def test_predictions_below_the_score_do_not_count() -> None:
    values = figures(
        [([upright_object("mug", (0, 0, 1))], [upright_object("mug", (0, 0, 1), score=0.2)])], min_score=0.3
    )
    assert (values["objects_predicted"], values["recall_10cm"]) == (0, 0.0)


def test_recalls_count_missed_objects_and_medians_are_over_pairs() -> None:
    ground_truth = [
        upright_object("mug", (0, 0, 1)),
        upright_object("mug", (1, 0, 1)),
        upright_object("can", (2, 0, 1)),
        upright_object("bowl", (3, 0, 1)),
    ]
    predicted = [
        upright_object("mug", (0.02, 0, 1), yaw=5.0, scale=1.1),  # within 10 degrees and 10 cm
        upright_object("mug", (1.06, 0, 1), yaw=30.0, scale=1.2),  # within 10 cm only
        upright_object("can", (2.09, 0, 1), yaw=170.0, scale=0.9),  # a can is symmetric about its axis
    ]
    assert figures([(ground_truth, predicted), ([], [upright_object("mug", (0, 0, 1))])]) == {
        "objects_true": 4,
        "objects_predicted": 4,
        "recall_10deg10cm": 50.0,
        "recall_10cm": 75.0,
        "precision_10cm": 75.0,
        "median_rotation_deg": pytest.approx(5.0, abs=1e-3),
        "median_translation_cm": pytest.approx(6.0, abs=1e-3),
        "median_size_error": pytest.approx(0.1, abs=1e-3),
    }


def test_without_detections_the_recall_is_0_and_there_is_no_median() -> None:
    values = figures([([upright_object("mug", (0, 0, 1))], [])])
    assert (values["recall_10cm"], values["median_rotation_deg"]) == (0.0, None)


def test_a_mug_whose_handle_is_hidden_is_compared_by_its_axis() -> None:
    unknown_yaw = np.zeros((6, 6))
    unknown_yaw[4, 4] = np.pi**2
    known = upright_object("mug", (0, 0, 1))
    hidden = replace(known, covariance=unknown_yaw)
    rotated = [upright_object("mug", (0, 0, 1), yaw=90.0)]
    assert is_yaw_known(known) and not is_yaw_known(hidden)
    assert figures([([hidden], rotated)])["recall_10deg10cm"] == 100.0
    assert figures([([known], rotated)])["recall_10deg10cm"] == 0.0


def test_the_yaw_of_a_ground_truth_with_some_noise_is_known() -> None:
    assert is_yaw_known(replace(upright_object("mug", (0, 0, 1)), covariance=1e-4 * np.eye(6)))
