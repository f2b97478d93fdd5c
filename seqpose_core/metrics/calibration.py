# SPDX-License-Identifier: Apache-2.0
"""Calibration of predicted covariances: how often the ground truth lies within the predicted confidence region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import chdtr

from seqpose_core.categories import CATEGORIES, Category
from seqpose_core.objects import ObjectPose

LEVELS = (0.5, 0.68, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Coverage:
    """Share of ground-truth poses within the predicted confidence region; equal to the nominal level if calibrated.

    :param levels: nominal probabilities; ``translation``, ``rotation``, ``joint``: the shares, NaN without samples.
    :param samples: pairs used; ``invalid``: pairs left out because a covariance was not positive definite.
    """

    levels: tuple[float, ...]
    translation: tuple[float, ...]
    rotation: tuple[float, ...]
    joint: tuple[float, ...]
    samples: int
    invalid: int


def coverage(
    pairs: Sequence[tuple[ObjectPose, ObjectPose]],
    levels: Sequence[float] = LEVELS,
    categories: Sequence[Category] = CATEGORIES,
) -> Coverage:
    """Coverage over (estimate, ground truth) pairs.

    The squared Mahalanobis distance of the error is compared with the quantiles of the chi-square distribution
    with its degrees of freedom. The rotation of a symmetric object about its y axis is left out, so that its rotation
    has two degrees of freedom.
    """
    symmetric = {c.name: c.symmetric for c in categories}
    probabilities: list[tuple[float, float, float]] = []
    invalid = 0
    for estimate, ground_truth in pairs:
        basis, error = _error(estimate, ground_truth, symmetric[estimate.category])
        covariance = basis @ estimate.covariance @ basis.T
        parts = (slice(0, 3), slice(3, None), slice(None))
        if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance)[0] <= 0:
            invalid += 1
            continue
        squared = [float(error[p] @ np.linalg.solve(covariance[p, p], error[p])) for p in parts]
        freedom = [len(error[p]) for p in parts]
        probabilities.append(tuple(float(chdtr(k, d)) for d, k in zip(squared, freedom, strict=True)))  # type: ignore[arg-type]
    inside = np.array(probabilities).reshape(-1, 3, 1) <= np.array(levels)
    share = inside.mean(axis=0) if probabilities else np.full((3, len(levels)), np.nan)
    translation, rotation, joint = (tuple(row.tolist()) for row in share)
    return Coverage(tuple(levels), translation, rotation, joint, len(probabilities), invalid)


def _error(estimate: ObjectPose, ground_truth: ObjectPose, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """The rows (5 or 6, 6) that map x y z rx ry rz to the coordinates of the error, and the error in them."""
    shift = estimate.translation - ground_truth.translation
    if not symmetric:
        rotation = Rotation.from_matrix(estimate.rotation @ ground_truth.rotation.T).as_rotvec()
        return np.eye(6), np.concatenate([shift, rotation])
    y_expected, y = ground_truth.rotation[:, 1], estimate.rotation[:, 1]
    across = np.cross(y_expected, y)
    sine = float(np.linalg.norm(across))
    angle = float(np.arctan2(sine, y_expected @ y))
    rotation = across / sine * angle if sine > 0 else angle * estimate.rotation[:, 0]
    basis = np.zeros((5, 6))
    basis[:3, :3] = np.eye(3)
    basis[3:, 3:] = estimate.rotation[:, [0, 2]].T
    return basis, np.concatenate([shift, basis[3:, 3:] @ rotation])
