# SPDX-License-Identifier: Apache-2.0
"""Which detections are reported if the network detects one object several times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqpose_core import CATEGORIES, ObjectPose
from seqpose_core.selection import select_objects

SIZE = np.array([0.066, 0.122, 0.066])  # of a can: a diagonal of 15.4 cm, so duplicates are closer than 4.6 cm


def select(detections: Sequence[tuple[str, float, float]], max_objects: int) -> list[ObjectPose]:
    """The reported objects of detections (category, x in metres, score) at a distance of 1 m."""
    names = [category.name for category in CATEGORIES]
    logits = np.full((len(detections), len(names)), -20.0)
    for row, (name, _, score) in enumerate(detections):
        logits[row, names.index(name)] = np.log(score / (1 - score))
    count = len(detections)
    outputs = {
        "logits": logits,
        "translation": np.array([[x, 0.0, 1.0] for _, x, _ in detections]),
        "rotation": np.tile(np.eye(3), (count, 1, 1)),
        "size": np.tile(SIZE, (count, 1)),
        "log_scale": np.full((count, 6), -4.0),
    }
    reported, thresholds = np.ones(len(names), bool), np.full(len(names), 0.05)
    return select_objects(outputs, CATEGORIES, reported, thresholds, max_objects)


def names_and_positions(objects: Sequence[ObjectPose]) -> list[tuple[str, float]]:
    return [(item.category, float(item.translation[0])) for item in objects]


def test_a_duplicate_does_not_take_the_position_of_another_object_in_max_objects() -> None:
    detections = [("can", 0.0, 0.9), ("can", 0.01, 0.8), ("mug", 0.3, 0.7), ("mug", -0.3, 0.6)]
    assert names_and_positions(select(detections, 2)) == [("can", 0.0), ("mug", 0.3)]


def test_a_suppressed_detection_suppresses_no_other_object() -> None:
    """Two cans that touch, 6.6 cm apart, and a detection between them, 3.3 cm from both."""
    detections = [("can", 0.0, 0.9), ("can", 0.033, 0.8), ("can", 0.066, 0.7)]
    assert names_and_positions(select(detections, 20)) == [("can", 0.0), ("can", 0.066)]


def test_detections_of_different_categories_at_one_position_are_all_reported() -> None:
    assert names_and_positions(select([("can", 0.0, 0.9), ("mug", 0.0, 0.8)], 20)) == [("can", 0.0), ("mug", 0.0)]
