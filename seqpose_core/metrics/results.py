# SPDX-License-Identifier: Apache-2.0
"""NOCS result dictionaries, one per image, gathered into flat arrays. Unusable instances are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORIES, Category

Result = Mapping[str, Any]


class ResultError(ValueError):
    """A result dictionary that cannot be scored; the message names frame, key and what would be right."""


@dataclass(frozen=True)
class Instances:
    """Ground-truth objects or predictions of all frames, sorted by category and frame; predictions also by score.

    :param frame: (N,) index of the frame; ``category``: (N,) class id; ``row``: (N,) index in the arrays of its frame.
    :param transform: (N, 4, 4) object to camera, scale inside; ``extents``: (N, 3); both float64.
    :param single: (N, 2) whether transform and extents were given as float32; the official evaluation computes in
        the given type.
    :param score: (N,) scores of predictions, zeros for ground truth; ``handle_visible``: (N,) of ground truth, ones for
        predictions.
    :param usable: (N,) False for a prediction with values that are not finite: it matches nothing.
    :param categories: the known categories.
    """

    frame: np.ndarray
    category: np.ndarray
    row: np.ndarray
    transform: np.ndarray
    extents: np.ndarray
    single: np.ndarray
    score: np.ndarray
    handle_visible: np.ndarray
    usable: np.ndarray
    categories: tuple[Category, ...] = field(default=CATEGORIES, kw_only=True)

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, index: np.ndarray) -> Instances:
        """The instances at an index array or under a mask."""
        arrays = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "categories"}
        return replace(self, **arrays)

    def category_of(self, index: int) -> Category:
        """The category of one instance."""
        return next(c for c in self.categories if c.id == self.category[index])

    @cached_property
    def symmetric(self) -> np.ndarray:
        """(N,) whether a rotation about y makes no difference: symmetric categories, and mugs with a hidden handle."""
        symmetric_ids = [c.id for c in self.categories if c.symmetric]
        mug_ids = [c.id for c in self.categories if c.name == "mug"]
        hidden_handle = np.isin(self.category, mug_ids) & (self.handle_visible == 0)
        return np.isin(self.category, symmetric_ids) | hidden_handle


def official_order(scores: np.ndarray) -> np.ndarray:
    """Indices that sort scores (N,) in descending order as the official evaluation does: ``argsort(scores)[::-1]``.

    Equal scores keep the order of NumPy's scalar introsort, reversed: the later one first in lists of up to 16, fixed
    but arbitrary in longer ones. NumPy now sorts float64 with vector instructions, so that the order of equal scores
    changes from machine to machine; for long doubles it keeps the scalar sort.
    """
    return np.argsort(scores.astype(np.longdouble))[::-1]


def frame_name(result: Result, index: int) -> str:
    """Name of a frame in messages: its index, with its image path or id where it has one."""
    for key in ("image_path", "image_id"):
        if key in result:
            return f"frame {index} ({result[key]})"
    return f"frame {index}"


def _array(result: Result, key: str, shape: tuple[int, ...], count: int | None, name: str) -> np.ndarray:
    """The array (count, *shape) of a key; a ``count`` of None accepts any. ``name``: of the frame, for errors."""
    if key not in result:
        raise ResultError(f"{name}: the result has no {key!r}")
    value = np.asarray(result[key])
    if value.size == 0:
        value = np.zeros((0, *shape), dtype=value.dtype if value.dtype.kind == "f" else np.float64)
    if value.dtype.kind not in "fiub":
        raise ResultError(f"{name}: {key} holds {value.dtype}, expected numbers")
    wanted = (value.shape[0] if count is None and value.ndim else count, *shape)
    if value.shape != wanted:
        raise ResultError(
            f"{name}: {key} has shape {value.shape}, expected {('n' if count is None else count, *shape)}"
        )
    return value


def _read_instances(result: Result, prefix: str, index: int, name: str) -> list[np.ndarray]:
    """The arrays of one frame in the order of the fields of :class:`Instances`; ``prefix``: "gt" or "pred"."""
    ids = _array(result, f"{prefix}_class_ids", (), None, name)
    n = len(ids)
    transform = _array(result, f"{prefix}_RTs", (4, 4), n, name)
    extents = _array(result, f"{prefix}_scales", (3,), n, name)
    score, visible = np.zeros(n), np.ones(n)
    if prefix == "pred":
        score = _array(result, "pred_scores", (), n, name)
    elif "gt_handle_visibility" in result:
        visible = _array(result, "gt_handle_visibility", (), n, name)
    single = np.array([transform.dtype == np.float32, extents.dtype == np.float32])
    return [
        np.full(n, index),
        ids,
        np.arange(n),
        transform,
        extents,
        np.tile(single, (n, 1)),
        score,
        visible,
        np.isfinite(transform).all(axis=(1, 2))
        & np.isfinite(extents).all(axis=1)
        & (np.abs(transform[:, 3] - [0, 0, 0, 1]) < 1e-6).all(axis=1),
    ]


_TYPES = (np.int64, np.int64, np.int64, np.float64, np.float64, bool, np.float64, np.float64, bool)


def _stack(parts: list[list[np.ndarray]], categories: Sequence[Category]) -> Instances:
    arrays = [np.concatenate(x).astype(t) for x, t in zip(zip(*parts, strict=True), _TYPES, strict=True)]
    return Instances(*arrays, categories=tuple(categories))


def _sort(instances: Instances, by_score: bool) -> Instances:
    if not by_score:
        return instances.take(np.lexsort((instances.row, instances.frame, instances.category)))
    order = np.lexsort((-instances.row, -instances.score, instances.frame, instances.category))
    out = instances.take(order)
    starts = np.flatnonzero(np.r_[True, (np.diff(out.frame) != 0) | (np.diff(out.category) != 0)])
    for start, end in zip(starts, np.r_[starts[1:], len(out)], strict=True):
        if end - start > 16:  # in shorter lists the official order is the one above
            members = np.sort(order[start:end])
            order[start:end] = members[official_order(instances.score[members])]
    return instances.take(order)


def gather(
    results: Iterable[Result], categories: Sequence[Category] = CATEGORIES
) -> tuple[Instances, Instances, int, dict[str, int]]:
    """Flatten results into ground truth and predictions.

    Objects of other categories than ``categories``, ground-truth objects with values that are not finite, and
    predictions whose score is not finite are left out. A prediction whose pose or size is not finite is kept: it
    matches nothing and counts as a false positive.

    :return: ground truth, predictions, the number of frames, and counts of what was left out, by reason.
    :raises ResultError: no results, a missing key, a shape that does not fit; names the frame.
    """
    sides: tuple[list[list[np.ndarray]], list[list[np.ndarray]]] = ([], [])
    for index, result in enumerate(results):
        name = frame_name(result, index)
        for prefix, parts in zip(("gt", "pred"), sides, strict=True):
            parts.append(_read_instances(result, prefix, index, name))
    if not sides[0]:
        raise ResultError("there are no results to evaluate")
    ground_truths, predictions = _stack(sides[0], categories), _stack(sides[1], categories)
    ids = [c.id for c in categories]
    outside = f"class outside {min(ids)}..{max(ids)}"
    known = [np.isin(side.category, ids) for side in (ground_truths, predictions)]
    scored = np.isfinite(predictions.score)
    dropped: Counter[str] = Counter(
        {
            f"ground truth: {outside}": int((~known[0]).sum()),
            "ground truth: pose or size not finite": int((known[0] & ~ground_truths.usable).sum()),
            f"prediction: {outside}": int((~known[1]).sum()),
            "prediction: score not finite": int((known[1] & ~scored).sum()),
            "prediction: pose or size not finite, counted as false positive": int(
                (known[1] & scored & ~predictions.usable).sum()
            ),
        }
    )
    ground_truths = _sort(ground_truths.take(known[0] & ground_truths.usable), by_score=False)
    predictions = _sort(predictions.take(known[1] & scored), by_score=True)
    return ground_truths, predictions, len(sides[0]), {reason: n for reason, n in dropped.items() if n}
