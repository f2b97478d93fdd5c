# SPDX-License-Identifier: Apache-2.0
"""Calibration of predicted covariances: how often the truth lies within the region that they claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import chdtr

from seqpose_core.categories import category
from seqpose_core.objects import ObjectPose

LEVELS = (0.5, 0.68, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Coverage:
    """Share of truths within the predicted confidence region, at nominal levels; equal to them when
    calibrated.

    :param levels: nominal probabilities; ``translation``, ``rotation``, ``joint``: the shares, NaN without
        samples.
    :param samples: pairs used; ``invalid``: pairs left out because a covariance was not positive definite.
    """

    levels: tuple[float, ...]
    translation: tuple[float, ...]
    rotation: tuple[float, ...]
    joint: tuple[float, ...]
    samples: int
    invalid: int


def coverage(pairs: Sequence[tuple[ObjectPose, ObjectPose]], levels: Sequence[float] = LEVELS) -> Coverage:
    """Coverage over (estimate, truth) pairs.

    The squared Mahalanobis distance of the error is compared with the chi-square quantile of as many degrees
    of freedom. The turn of a symmetric object about its y axis cannot be wrong: its rotation has two degrees.
    """
    claims: list[tuple[float, float, float]] = []
    invalid = 0
    for estimate, truth in pairs:
        basis, error = _error(estimate, truth)
        spread = basis @ estimate.covariance @ basis.T
        parts = (slice(0, 3), slice(3, None), slice(None))
        if not np.isfinite(spread).all() or np.linalg.eigvalsh(spread)[0] <= 0:
            invalid += 1
            continue
        squared = [float(error[p] @ np.linalg.solve(spread[p, p], error[p])) for p in parts]
        freedom = [len(error[p]) for p in parts]
        claims.append(tuple(float(chdtr(k, d)) for d, k in zip(squared, freedom, strict=True)))  # type: ignore[arg-type]
    inside = np.array(claims).reshape(-1, 3, 1) <= np.array(levels)
    share = inside.mean(axis=0) if claims else np.full((3, len(levels)), np.nan)
    translation, rotation, joint = (tuple(row.tolist()) for row in share)
    return Coverage(tuple(levels), translation, rotation, joint, len(claims), invalid)


def _error(estimate: ObjectPose, truth: ObjectPose) -> tuple[np.ndarray, np.ndarray]:
    """The rows (5 or 6, 6) that take x y z rx ry rz to the error's coordinates, and the error in them."""
    shift = estimate.translation - truth.translation
    if not category(estimate.category).symmetric:
        turn = Rotation.from_matrix(estimate.rotation @ truth.rotation.T).as_rotvec()
        return np.eye(6), np.concatenate([shift, turn])
    y_true, y = truth.rotation[:, 1], estimate.rotation[:, 1]
    across = np.cross(y_true, y)
    sine = float(np.linalg.norm(across))
    angle = float(np.arctan2(sine, y_true @ y))
    turn = across / sine * angle if sine > 0 else angle * estimate.rotation[:, 0]
    basis = np.zeros((5, 6))
    basis[:3, :3] = np.eye(3)
    basis[3:, 3:] = estimate.rotation[:, [0, 2]].T
    return basis, np.concatenate([shift, basis[3:, 3:] @ turn])
