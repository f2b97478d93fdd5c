# SPDX-License-Identifier: Apache-2.0
"""Object categories. A model's configuration lists its own; the six of NOCS are the default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Category:
    """One object category.

    :param id: class id in label and result files: position in the list of categories, from 1 (0 is background).
    :param symmetric: whether it looks the same under any rotation about its y axis.
    :param typical_size: full extents (x, y, z) of an everyday instance in the NOCS object frame, metres.
    :param colour: RGB, 0..255, used to draw the category.
    :param score_threshold: detections of this category with a lower score are not reported, unless the caller chooses
        another threshold. ``train.calibrate`` sets it for a checkpoint.
    :raises ValueError: for an empty name, an extent that is not positive and finite, a colour outside 0..255, or a
        threshold outside 0..1.
    """

    id: int
    name: str
    symmetric: bool
    typical_size: tuple[float, float, float]
    colour: tuple[int, int, int]
    score_threshold: float = 0.3

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError(f"category {self.id} has an empty name")
        if not all(0 < extent < float("inf") for extent in self.typical_size):
            raise ValueError(f"typical_size of {self.name} is {self.typical_size}; extents must be positive, in metres")
        if not all(0 <= value <= 255 for value in self.colour):
            raise ValueError(f"colour of {self.name} is {self.colour}; red, green and blue must lie in 0..255")
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold of {self.name} is {self.score_threshold}; it must lie in 0..1")


#: The six categories of NOCS.
CATEGORIES: tuple[Category, ...] = (
    Category(1, "bottle", True, (0.068, 0.21, 0.068), (66, 133, 244)),
    Category(2, "bowl", True, (0.155, 0.065, 0.155), (52, 168, 83)),
    Category(3, "camera", False, (0.095, 0.085, 0.125), (171, 71, 188)),
    Category(4, "can", True, (0.067, 0.12, 0.067), (251, 188, 4)),
    Category(5, "laptop", False, (0.26, 0.21, 0.32), (0, 172, 193)),
    Category(6, "mug", False, (0.118, 0.096, 0.085), (234, 67, 53)),
)
CATEGORY_NAMES: tuple[str, ...] = tuple(c.name for c in CATEGORIES)


def check_categories(categories: Sequence[Category]) -> None:
    """:raises ValueError: if there is none, two have one name, or the ids are not 1, 2, 3, ... in this order."""
    names = [c.name for c in categories]
    if not names:
        raise ValueError("categories is empty; give at least one")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"categories has {name!r} {names.count(name)} times; names must be unique")
    for position, entry in enumerate(categories, start=1):
        if entry.id != position:
            raise ValueError(f"category {entry.name!r} has id {entry.id}; at position {position} it must be {position}")


def category(name_or_id: str | int, categories: Sequence[Category] = CATEGORIES) -> Category:
    """Look a category up by its name or by its class id (from 1).

    :raises KeyError: for an unknown name or id, listing the known ones.
    """
    for entry in categories:
        if name_or_id == (entry.name if isinstance(name_or_id, str) else entry.id):
            return entry
    known = ", ".join(f"{c.id} {c.name}" for c in categories)
    raise KeyError(f"unknown category {name_or_id!r}; known are {known}")


def above_threshold(
    scores: np.ndarray, class_ids: np.ndarray, categories: Sequence[Category], threshold: float | None = None
) -> np.ndarray:
    """(N,) whether scores reach a threshold; None = that of each score's category. Unknown class ids do not."""
    if threshold is not None:
        return scores >= threshold
    limits = {c.id: c.score_threshold for c in categories}
    return scores >= np.array([limits.get(int(number), np.inf) for number in class_ids])


def threshold_text(categories: Sequence[Category], threshold: float | None = None) -> str:
    """The threshold for tables: "0.3", or by category "bottle 0.31, bowl 0.4" if they differ."""
    values = {c.score_threshold for c in categories}
    if threshold is None and len(values) > 1:
        return ", ".join(f"{c.name} {c.score_threshold:.2g}" for c in categories)
    return f"{next(iter(values)) if threshold is None else threshold:g}"
