# SPDX-License-Identifier: Apache-2.0
"""Truths and predictions matched by their centres alone, so that a wrong category shows as one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seqpose_core import geometry
from seqpose_core.categories import CATEGORIES, category
from seqpose_core.metrics.results import Instances
from seqpose_core.objects import ObjectPose

RULE = (
    "In each frame, pairs of a truth and a prediction whose centres are within {radius:.0f} cm, whatever their "
    "categories, are taken nearest first, each side once. A truth left over is missed, a prediction left over is "
    "false. Predictions of score {score:g} and more."
)


@dataclass(frozen=True)
class Pairing:
    """Outcome of :func:`pair_nearest`.

    :param partner: (T,) index of the prediction that belongs to each truth, -1 for none.
    :param finder: (P,) index of the truth that belongs to each prediction, -1 for none.
    """

    truths: Instances
    predictions: Instances
    partner: np.ndarray
    finder: np.ndarray

    def confusion(self) -> np.ndarray:
        """(7, 7) counts, truth by prediction in order of class id; last row: false, last column: missed."""
        count = len(CATEGORIES)
        out = np.zeros((count + 1, count + 1), dtype=np.int64)
        found = self.partner >= 0
        predicted = np.full(len(self.truths), count)
        predicted[found] = self.predictions.category[self.partner[found]] - 1
        np.add.at(out, (self.truths.category - 1, predicted), 1)
        np.add.at(out[count], self.predictions.category[self.finder < 0] - 1, 1)
        return out

    @cached_property
    def same(self) -> np.ndarray:
        """(T,) whether the truth has a partner of its own category."""
        found = np.flatnonzero(self.partner >= 0)
        out = np.zeros(len(self.truths), dtype=bool)
        out[found] = self.predictions.category[self.partner[found]] == self.truths.category[found]
        return out

    @cached_property
    def errors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(T,) degrees, centimetres and relative size error of truths with a partner of their category; else NaN.

        The size error is the mean over the three extents of |predicted / true - 1|.
        """
        degrees, centimetres, size = (np.full(len(self.truths), np.nan) for _ in range(3))
        for k in np.flatnonzero(self.same).tolist():
            truth, estimate = pose(self.truths, k), pose(self.predictions, int(self.partner[k]))
            free = symmetric(self.truths, k)
            degrees[k] = np.degrees(geometry.rotation_error(truth.rotation, estimate.rotation, free))
            centimetres[k] = 100 * np.linalg.norm(truth.translation - estimate.translation)
            with np.errstate(divide="ignore", invalid="ignore"):
                size[k] = np.abs(estimate.size / truth.size - 1).mean()
        return degrees, centimetres, size


def symmetric(truths: Instances, index: int) -> bool:
    """Whether a turn about y makes no difference: bottle, bowl, can, and a mug whose handle is hidden."""
    name = category(int(truths.category[index])).name
    return category(name).symmetric or (name == "mug" and truths.handle_visible[index] == 0)


def sound(instances: Instances) -> np.ndarray:
    """(N,) whether poses and sizes are finite and have a volume: what can be paired and drawn."""
    with np.errstate(invalid="ignore", over="ignore"):
        volume = np.abs(np.linalg.det(instances.transform[:, :3, :3]))
        return instances.usable & np.isfinite(volume) & (volume > 1e-12) & (instances.extents > 0).all(axis=1)


def pose(instances: Instances, index: int, covariance: np.ndarray | None = None) -> ObjectPose:
    """One instance as an object in metres, its scale taken out of the transform."""
    transform = instances.transform[index]
    scale = float(np.cbrt(np.linalg.det(transform[:3, :3])))
    return ObjectPose(
        category=category(int(instances.category[index])).name,
        score=float(instances.score[index]),
        rotation=transform[:3, :3] / scale,
        translation=transform[:3, 3],
        size=abs(scale) * instances.extents[index],
        covariance=np.zeros((6, 6)) if covariance is None else covariance,
    )


def pair_nearest(truths: Instances, predictions: Instances, radius: float) -> Pairing:
    """Match one to one within each frame, nearest centres first, whatever the categories.

    :param radius: metres; pairs farther apart are none.
    """
    partner, finder = np.full(len(truths), -1), np.full(len(predictions), -1)
    of_truths, of_predictions = _by_frame(truths), _by_frame(predictions)
    for frame in sorted(of_truths.keys() & of_predictions.keys()):
        t, p = of_truths[frame], of_predictions[frame]
        shift = truths.transform[t][:, None, :3, 3] - predictions.transform[p][None, :, :3, 3]
        distance = np.linalg.norm(shift, axis=-1)
        for flat in np.argsort(distance, axis=None, kind="stable"):
            i, j = divmod(int(flat), len(p))
            if distance[i, j] > radius:
                break
            if partner[t[i]] < 0 and finder[p[j]] < 0:
                partner[t[i]], finder[p[j]] = p[j], t[i]
    return Pairing(truths, predictions, partner, finder)


def _by_frame(instances: Instances) -> dict[int, np.ndarray]:
    """Indices of the sound instances of each frame."""
    members = np.flatnonzero(sound(instances))
    members = members[np.argsort(instances.frame[members], kind="stable")]
    frames, start = np.unique(instances.frame[members], return_index=True)
    return dict(zip(frames.tolist(), np.split(members, start[1:]), strict=True)) if len(frames) else {}
