# SPDX-License-Identifier: Apache-2.0
"""What is found in a bag is scored by hand-checked rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bag_rig import thing

from seqpose_ros.bags.scoring import handle_visible, score


def test_the_better_score_chooses_first_and_takes_the_nearest_truth_of_its_category() -> None:
    truth = [thing("mug", (0, 0, 1)), thing("mug", (0.3, 0, 1)), thing("can", (0.6, 0, 1))]
    predicted = [
        thing("mug", (0.01, 0, 1), score=0.5),
        thing("mug", (0.04, 0, 1), score=0.9),  # takes the first mug, though the other one lies nearer to it
        thing("bowl", (0.6, 0, 1)),
    ]
    numbers = score([(truth, predicted)])
    # What is left for the other mug is 29 cm off, farther than the 20 cm at which it counts as another object.
    assert (numbers["objects_true"], numbers["objects_predicted"]) == (3, 3)
    assert numbers["recall_10cm"] == pytest.approx(100 / 3, abs=0.01)
    assert numbers["median_translation_cm"] == pytest.approx(4.0)


def test_predictions_below_the_score_do_not_count() -> None:
    numbers = score([([thing("mug", (0, 0, 1))], [thing("mug", (0, 0, 1), score=0.2)])], min_score=0.3)
    assert (numbers["objects_predicted"], numbers["recall_10cm"]) == (0, 0.0)


def test_recalls_count_misses_and_medians_are_of_pairs() -> None:
    truth = [
        thing("mug", (0, 0, 1)),
        thing("mug", (1, 0, 1)),
        thing("can", (2, 0, 1)),
        thing("bowl", (3, 0, 1)),
    ]
    predicted = [
        thing("mug", (0.02, 0, 1), turn=5.0, grown=1.1),  # within 10 degrees and 10 cm
        thing("mug", (1.06, 0, 1), turn=30.0, grown=1.2),  # within 10 cm only
        thing("can", (2.09, 0, 1), turn=170.0, grown=0.9),  # a can shows no turn about its axis
    ]
    numbers = score([(truth, predicted), ([], [thing("mug", (0, 0, 1))])])
    assert numbers == {
        "objects_true": 4,
        "objects_predicted": 4,
        "recall_10deg10cm": 50.0,
        "recall_10cm": 75.0,
        "precision_10cm": 75.0,
        "median_rotation_deg": pytest.approx(5.0, abs=1e-3),
        "median_translation_cm": pytest.approx(6.0, abs=1e-3),
        "median_size_error": pytest.approx(0.1, abs=1e-3),
    }


def test_nothing_found_is_no_recall_and_no_median() -> None:
    numbers = score([([thing("mug", (0, 0, 1))], [])])
    assert (numbers["recall_10cm"], numbers["median_rotation_deg"]) == (0.0, None)


def test_a_mug_whose_handle_is_hidden_is_compared_by_its_axis() -> None:
    unknown_turn = np.zeros((6, 6))
    unknown_turn[4, 4] = np.pi**2
    known = thing("mug", (0, 0, 1))
    hidden = replace(known, covariance=unknown_turn)
    turned = [thing("mug", (0, 0, 1), turn=90.0)]
    assert handle_visible(known) and not handle_visible(hidden)
    assert score([([hidden], turned)])["recall_10deg10cm"] == 100.0
    assert score([([known], turned)])["recall_10deg10cm"] == 0.0


def test_a_truth_measured_with_some_noise_still_knows_its_turn() -> None:
    assert handle_visible(replace(thing("mug", (0, 0, 1)), covariance=1e-4 * np.eye(6)))
