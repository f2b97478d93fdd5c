# SPDX-License-Identifier: Apache-2.0
"""The six NOCS categories: one table, read everywhere. A new category is a new row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Category:
    """One object category.

    :param id: NOCS class id, 1..6 (0 is background).
    :param symmetric: whether it looks the same under any turn about its y axis.
    :param typical_size: full extents (x, y, z) of an everyday instance in the NOCS object frame, metres.
    :param colour: RGB, 0..255, used wherever the category is drawn.
    """

    id: int
    name: str
    symmetric: bool
    typical_size: tuple[float, float, float]
    colour: tuple[int, int, int]


CATEGORIES: tuple[Category, ...] = (
    Category(1, "bottle", True, (0.068, 0.21, 0.068), (66, 133, 244)),
    Category(2, "bowl", True, (0.155, 0.065, 0.155), (52, 168, 83)),
    Category(3, "camera", False, (0.095, 0.085, 0.125), (171, 71, 188)),
    Category(4, "can", True, (0.067, 0.12, 0.067), (251, 188, 4)),
    Category(5, "laptop", False, (0.26, 0.21, 0.32), (0, 172, 193)),
    Category(6, "mug", False, (0.118, 0.096, 0.085), (234, 67, 53)),
)
CATEGORY_NAMES: tuple[str, ...] = tuple(c.name for c in CATEGORIES)

#: (6, 3) typical sizes in metres, row = class id - 1.
TYPICAL_SIZES: np.ndarray = np.array([c.typical_size for c in CATEGORIES])

_BY_NAME = {c.name: c for c in CATEGORIES}


def category(name_or_id: str | int) -> Category:
    """Look a category up by its name or by its NOCS class id (1..6).

    :raises KeyError: for an unknown name or id, listing the known ones.
    """
    if isinstance(name_or_id, str):
        if name_or_id in _BY_NAME:
            return _BY_NAME[name_or_id]
    elif 1 <= int(name_or_id) <= len(CATEGORIES):
        return CATEGORIES[int(name_or_id) - 1]
    known = ", ".join(f"{c.id} {c.name}" for c in CATEGORIES)
    raise KeyError(f"unknown category {name_or_id!r}; known are {known}")
