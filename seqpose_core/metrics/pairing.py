# SPDX-License-Identifier: Apache-2.0
"""Ground truth and predictions matched by their centres only, to detect wrong categories."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seqpose_core import geometry
from seqpose_core.metrics.results import Instances
from seqpose_core.objects import ObjectPose


@dataclass(frozen=True)
class Pairing:
    """Outcome of :func:`pair_nearest`.

    :param prediction_of: (G,) index of the prediction matched to each ground truth, -1 for none.
    :param ground_truth_of: (P,) index of the ground truth matched to each prediction, -1 for none.
    """

    ground_truths: Instances
    predictions: Instances
    prediction_of: np.ndarray
    ground_truth_of: np.ndarray

    def confusion(self) -> np.ndarray:
        """(C + 1, C + 1) counts, ground truth by prediction in the order of the categories; last row: false positives,
        last column: missed objects."""
        position = {c.id: k for k, c in enumerate(self.ground_truths.categories)}
        row = np.array([position[i] for i in self.ground_truths.category.tolist()], dtype=np.int64)
        column = np.array([position[i] for i in self.predictions.category.tolist()], dtype=np.int64)
        count = len(position)
        out = np.zeros((count + 1, count + 1), dtype=np.int64)
        matched = self.prediction_of >= 0
        predicted = np.full(len(self.ground_truths), count)
        predicted[matched] = column[self.prediction_of[matched]]
        np.add.at(out, (row, predicted), 1)
        np.add.at(out[count], column[self.ground_truth_of < 0], 1)
        return out

    @cached_property
    def same_category(self) -> np.ndarray:
        """(G,) whether the ground truth is matched to a prediction of its own category."""
        matched = np.flatnonzero(self.prediction_of >= 0)
        out = np.zeros(len(self.ground_truths), dtype=bool)
        out[matched] = self.predictions.category[self.prediction_of[matched]] == self.ground_truths.category[matched]
        return out

    @cached_property
    def errors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(G,) degrees, centimetres and relative size error of pairs of one category; NaN for other ground truth.

        The size error is the mean over the three extents of |predicted / ground truth - 1|.
        """
        degrees, centimetres, size = (np.full(len(self.ground_truths), np.nan) for _ in range(3))
        for k in np.flatnonzero(self.same_category).tolist():
            ground_truth = pose_of(self.ground_truths, k)
            estimate = pose_of(self.predictions, int(self.prediction_of[k]))
            symmetric = bool(self.ground_truths.symmetric[k])
            degrees[k] = np.degrees(geometry.rotation_error(ground_truth.rotation, estimate.rotation, symmetric))
            centimetres[k] = 100 * np.linalg.norm(ground_truth.translation - estimate.translation)
            with np.errstate(divide="ignore", invalid="ignore"):
                size[k] = np.abs(estimate.size / ground_truth.size - 1).mean()
        return degrees, centimetres, size


def has_volume(instances: Instances) -> np.ndarray:
    """(N,) whether poses and sizes are finite and span a volume, so that they can be paired and drawn."""
    with np.errstate(invalid="ignore", over="ignore"):
        volume = np.abs(np.linalg.det(instances.transform[:, :3, :3]))
        return instances.usable & np.isfinite(volume) & (volume > 1e-12) & (instances.extents > 0).all(axis=1)


def pose_of(instances: Instances, index: int, covariance: np.ndarray | None = None) -> ObjectPose:
    """One instance as an object in metres, with the scale taken out of its transform."""
    transform = instances.transform[index]
    scale = float(np.cbrt(np.linalg.det(transform[:3, :3])))
    category = instances.category_of(index)
    return ObjectPose(
        category=category.name,
        score=float(instances.score[index]),
        rotation=transform[:3, :3] / scale,
        translation=transform[:3, 3],
        size=abs(scale) * instances.extents[index],
        covariance=np.zeros((6, 6)) if covariance is None else covariance,
        category_info=category,
    )


def pair_nearest(ground_truths: Instances, predictions: Instances, radius: float) -> Pairing:
    """Match one to one within each frame, nearest centres first, regardless of the categories.

    :param radius: metres; centres farther apart are not matched.
    """
    prediction_of, ground_truth_of = np.full(len(ground_truths), -1), np.full(len(predictions), -1)
    of_ground_truth, of_predictions = _by_frame(ground_truths), _by_frame(predictions)
    for frame in sorted(of_ground_truth.keys() & of_predictions.keys()):
        g, p = of_ground_truth[frame], of_predictions[frame]
        shift = ground_truths.transform[g][:, None, :3, 3] - predictions.transform[p][None, :, :3, 3]
        distance = np.linalg.norm(shift, axis=-1)
        for flat in np.argsort(distance, axis=None, kind="stable"):
            i, j = divmod(int(flat), len(p))
            if distance[i, j] > radius:
                break
            if prediction_of[g[i]] < 0 and ground_truth_of[p[j]] < 0:
                prediction_of[g[i]], ground_truth_of[p[j]] = p[j], g[i]
    return Pairing(ground_truths, predictions, prediction_of, ground_truth_of)


def _by_frame(instances: Instances) -> dict[int, np.ndarray]:
    """Indices of the instances with a volume, by frame."""
    members = np.flatnonzero(has_volume(instances))
    members = members[np.argsort(instances.frame[members], kind="stable")]
    frames, start = np.unique(instances.frame[members], return_index=True)
    return dict(zip(frames.tolist(), np.split(members, start[1:]), strict=True)) if len(frames) else {}
