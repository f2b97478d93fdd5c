# SPDX-License-Identifier: Apache-2.0
"""Similarity transform between corresponding points, with outlier rejection (RANSAC).

Umeyama, Least-squares estimation of transformation parameters between two point patterns, TPAMI 1991. NOCS computes
its ground truth in this way, from NOCS coordinates and depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Largest distance of an inlier, in units of the source: 5 % of the diagonal of an object in NOCS coordinates. It is
#: above the noise of depth cameras (5 mm on an object of 10 cm) and below the distance to most backgrounds.
TOLERANCE = 0.05
_SAMPLE = 4  # points per hypothesis; three determine it, four are less sensitive to noise
_HYPOTHESES = 128  # with 60 % outliers, one of these samples is free of them with a probability of 96 %
_MAX_POINTS = 1000  # points that rate a hypothesis
_REFITS = 5
_MIN_SPREAD = 1e-3  # of the second principal axis relative to the first, as variances: less is a line


@dataclass(frozen=True)
class Similarity:
    """target = scale · rotation · source + translation.

    :param rotation: (3, 3). :param translation: (3,). :param inliers: share of the points within the tolerance.
    """

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    inliers: float


class NoSimilarityError(ValueError):
    """No similarity transform explains the points; the message gives the reason."""


def fit_similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Least-squares scale (B,), rotation (B, 3, 3) and translation (B, 3) of batches of points (B, N, 3).

    Eq. 40 to 43 of Umeyama.
    """
    source_mean, target_mean = source.mean(1, keepdims=True), target.mean(1, keepdims=True)
    centred = source - source_mean
    covariance = (target - target_mean).transpose(0, 2, 1) @ centred / source.shape[1]
    u, singular, vt = np.linalg.svd(covariance)
    signs = np.ones_like(singular)
    signs[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * signs[:, None]) @ vt
    variance = (centred**2).sum((1, 2)) / source.shape[1]
    scale = (singular * signs).sum(1) / np.maximum(variance, 1e-12)
    translation = target_mean[:, 0] - scale[:, None] * np.einsum("bij,bj->bi", rotation, source_mean[:, 0])
    return scale, rotation, translation


def robust_similarity(
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    tolerance: float = TOLERANCE,
    min_inliers: float = 0.5,
    seed: int = 0,
) -> Similarity:
    """The similarity transform from source to target (N, 3) that most points agree with, refined on these points.

    :param tolerance: distance of an inlier in units of the source.
    :param min_inliers: share of inliers that is required.
    :raises NoSimilarityError: there are fewer than four points, the points are on a line, or too few agree.
    """
    count = len(source)
    if count < _SAMPLE:
        raise NoSimilarityError(f"{count} points do not determine a pose")
    random = np.random.default_rng(seed)
    rated = random.permutation(count)[:_MAX_POINTS]
    samples = random.integers(0, count, (_HYPOTHESES, _SAMPLE))
    hypotheses = fit_similarity(source[samples], target[samples])
    near = _distances(*hypotheses, source[rated], target[rated]) < tolerance
    best = int(near.sum(1).argmax())
    scale, rotation, translation = (value[best : best + 1] for value in hypotheses)
    inliers = np.zeros(count, bool)
    for _ in range(_REFITS):
        agreeing = _distances(scale, rotation, translation, source, target)[0] < tolerance
        if agreeing.sum() < _SAMPLE or np.array_equal(agreeing, inliers):
            break
        inliers = agreeing
        scale, rotation, translation = fit_similarity(source[None, inliers], target[None, inliers])
    share = float(inliers.mean())
    if share < min_inliers:
        raise NoSimilarityError(f"only {share:.0%} of {count} points agree with a pose; {min_inliers:.0%} are needed")
    spread = np.linalg.eigvalsh(np.cov(source[inliers].T))
    if spread[1] <= _MIN_SPREAD * spread[2]:
        raise NoSimilarityError(f"the {count} points are on a line, which leaves the rotation about it open")
    return Similarity(float(scale[0]), rotation[0], translation[0], share)


def _distances(
    scale: NDArray[np.float64],
    rotation: NDArray[np.float64],
    translation: NDArray[np.float64],
    source: NDArray[np.float64],
    target: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Distances (B, N) in units of the source; infinite for hypotheses without a positive scale."""
    # Rotations keep lengths: |s R x + t - y| / s = |x - Rᵀ (y - t) / s|.
    with np.errstate(divide="ignore", invalid="ignore"):
        mapped = (target - translation[:, None]) @ rotation / scale[:, None, None]
        distance = np.linalg.norm(mapped - source, axis=2)
    return np.where((scale > 1e-6)[:, None], distance, np.inf)
