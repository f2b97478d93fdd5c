# SPDX-License-Identifier: Apache-2.0
"""Fuse the poses of a frame with a known plane that objects stand on: their lowest point and their up axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from seqpose_core.objects import ObjectPose
from seqpose_core.pose_fusion import SIZE_COUPLING, PoseBatch, squared_mahalanobis

#: Metres: the lowest point of an object that does not stand on the plane is at most this high above it.
_MAX_LIFT = 0.3
#: Spread of the predicted heights of standing objects, relative to their predicted standard deviations, on validation
#: renders. Only the gate uses it: a fused covariance that is too small would be worse than one that is too large.
_HEIGHT_SPREAD = 0.8
#: Standard deviation of the log size of objects of one category, relative to the typical size.
_SIZE_SPREAD = 0.25
#: Standard deviations: an object whose lowest point is farther from the plane is not on it, whatever its prior.
_GATE = 3.0
#: Probability that an object on the plane leans, neither upright nor lying.
_LEANING = 0.05
_LEANING_ODDS = np.log(_LEANING / (1 - _LEANING))
#: Radians by which an object at rest deviates from upright or lying.
_RESTING_TILT = 0.02
#: Relative error of the predicted height of a box, which moves its lowest point. With this value the fused covariance
#: covers the ground truth as often as it should, see docs/grasping.md.
_HEIGHT_ERROR = 0.15
#: A detection whose distance would have to change by more than this factor is not on the plane.
_MAX_RESCALING = 3.0
#: Metres: the optical axis meets a plane in view at less than this distance.
_MAX_VIEW = 5.0


@dataclass(frozen=True, eq=False)
class SupportPlane:
    """The plane normal · p + offset = 0 in the camera frame, metres, and its uncertainty.

    :param normal: (3,) of any length; points away from the support, to the side of the objects.
    :param offset: with a normal of length 1, the height of the camera centre above the plane.
    :param height_noise: standard deviation, metres, of the height of the plane at :attr:`pivot`.
    :param tilt_noise: root mean square angle, radians, between the normal and the true one.
    :param prior: probability that an object of score 1 stands on the plane. It is multiplied by the score, because
        stacked and held objects have lower scores on held-out renders.
    :raises ValueError: the normal is zero, a value is not finite, a noise is negative, or the prior is outside 0..1.
    """

    normal: np.ndarray
    offset: float
    height_noise: float = 0.01
    tilt_noise: float = 0.0175
    prior: float = 0.8

    def __post_init__(self) -> None:
        normal = np.asarray(self.normal, dtype=np.float64)
        length = np.linalg.norm(normal)
        if normal.shape != (3,) or not (np.isfinite(length) and length > 0 and np.isfinite(self.offset)):
            raise ValueError(f"the plane has normal {normal.tolist()} and offset {self.offset}; both must be finite")
        for name in ("height_noise", "tilt_noise"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not 0 <= self.prior <= 1:
            raise ValueError(f"prior is {self.prior}; it must lie in 0..1")
        object.__setattr__(self, "normal", normal / length)
        object.__setattr__(self, "offset", float(self.offset / length))

    @classmethod
    def from_frame(
        cls,
        camera_from_support: np.ndarray,
        height: float = 0.0,
        height_noise: float = 0.01,
        tilt_noise: float = 0.0175,
        prior: float = 0.8,
    ) -> SupportPlane:
        """The plane z = ``height`` of a frame whose z axis points up.

        :param camera_from_support: (4, 4) from that frame to the camera frame. :param height: metres.
        """
        normal = camera_from_support[:3, 2]
        return cls(normal, -float(normal @ camera_from_support[:3, 3]) - height, height_noise, tilt_noise, prior)

    @property
    def pivot(self) -> np.ndarray:
        """(3,) point of the plane in the middle of the view; below the camera if the optical axis misses the plane."""
        foot = -self.offset * self.normal
        along = self.normal[2]
        depth = -self.offset / along if along else np.inf
        return np.array([0.0, 0.0, depth]) if 0 < depth < _MAX_VIEW else foot

    @property
    def axis_variance(self) -> float:
        """Variance of the rotation of the normal about each of two axes in the plane, rad²."""
        return self.tilt_noise**2 / 2

    def heights(self, points: np.ndarray) -> np.ndarray:
        """(...) signed distances of points (..., 3) above the plane, metres."""
        return points @ self.normal + self.offset

    def height_variances(self, points: np.ndarray) -> np.ndarray:
        """(...) variances of the heights of points (..., 3) because of the noise of the plane, m²."""
        offset = points - self.pivot
        beside = offset - (offset @ self.normal)[..., None] * self.normal
        return self.height_noise**2 + self.axis_variance * (beside**2).sum(-1)


def lowest_heights(poses: PoseBatch, plane: SupportPlane) -> np.ndarray:
    """(N,) heights of the lowest points of objects above the plane, metres; see :func:`contact_offsets`."""
    return plane.heights(poses.translation + contact_offsets(poses, plane.normal))


def fuse_support_plane(objects: Sequence[ObjectPose], plane: SupportPlane) -> list[ObjectPose]:
    """Combine poses with the plane, each by its covariance; sets ``on_support``.

    An object stands on the plane if this explains the predicted height of its lowest point, and the size that it then
    has, better than an unknown height above the plane does. Then its lowest point is measured to be in the plane. Its
    up axis is measured to be parallel to the normal (upright or upside down) or perpendicular to it (lying), whichever
    is nearer, unless leaning explains the difference better. Its size follows its distance. Any other object keeps its
    pose.

    :param objects: in the camera frame.
    """
    if not objects:
        return []
    poses = PoseBatch.of(objects)
    aligned = _align_up_axis(poses, plane)
    typical = np.array([np.log(o.category_info.typical_size).mean() for o in objects])
    fused, on_support = _put_on_plane(aligned, plane, np.array([o.score for o in objects]), typical)
    flags = zip(fused.where(on_support, poses).apply_to(objects), on_support.tolist(), strict=True)
    return [replace(o, on_support=flag) for o, flag in flags]


def contact_offsets(poses: PoseBatch, normal: np.ndarray) -> np.ndarray:
    """(N, 3) vectors in the camera frame from each box centre to the lowest point along ``normal`` (3,).

    This is the lowest corner of the box; for a symmetric object, the lowest point of the cylinder about y in its box.
    """
    up = np.swapaxes(poses.rotation, 1, 2) @ normal
    half = poses.size / 2
    corner = np.where(up > 0, -half, half)
    across = half * up * [1.0, 0.0, 1.0]
    length = np.linalg.norm(across, axis=-1, keepdims=True)
    rim = -half * across / np.maximum(length, 1e-12)
    rim[:, 1] = corner[:, 1]
    lowest = np.where(poses.symmetric[:, None], rim, corner)
    return (poses.rotation @ lowest[..., None])[..., 0]


def _align_up_axis(poses: PoseBatch, plane: SupportPlane) -> PoseBatch:
    """Fuse the up axis of objects that are upright, upside down or lying, rather than leaning in any direction."""
    up, normal = poses.rotation[:, :, 1], plane.normal
    cosine = up @ normal
    variance = np.full((len(up), 2), plane.axis_variance + _RESTING_TILT**2)
    nearest = np.where(cosine < 0, -1.0, 1.0)[:, None] * normal
    upright = np.abs(cosine) > np.sqrt(0.5)

    # Upright: the rotation that takes the up axis to the normal, about the object's x and z axes.
    axis = np.cross(up, nearest)
    sine = np.linalg.norm(axis, axis=-1)
    angle = np.arctan2(sine, np.abs(cosine))
    about = np.swapaxes(poses.rotation[:, :, [0, 2]], 1, 2)
    jacobian = np.concatenate([np.zeros_like(about), about], axis=2)
    residual = (about @ axis[..., None])[..., 0] * (angle / np.maximum(sine, 1e-12))[:, None]
    # The direction of a leaning object is uniform on the hemisphere: a density of 1 / 2π.
    at_rest = _log_density(residual, poses.innovation(jacobian, variance)) + np.log(2 * np.pi) > _LEANING_ODDS
    aligned = poses.updated(jacobian, residual, variance, upright & at_rest)

    # Lying: the rotation that takes the up axis into the plane, about the axis perpendicular to both.
    tilting = np.cross(up, normal) / np.maximum(sine, 1e-12)[:, None]
    jacobian = np.concatenate([np.zeros_like(tilting), tilting], axis=1)[:, None]
    residual = -np.arcsin(np.clip(cosine, -1.0, 1.0))[:, None]
    # The elevation of a uniform direction has a density of cos / 2.
    density = _log_density(residual, poses.innovation(jacobian, variance[:, :1]))
    at_rest = density - np.log(np.maximum(np.cos(residual[:, 0]), 1e-12) / 2) > _LEANING_ODDS
    return aligned.updated(jacobian, residual, variance[:, :1], ~upright & at_rest)


def _log_density(residual: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """(N,) of the normal distribution with mean zero at residuals (N, M). :param covariance: (N, M, M)."""
    normaliser = residual.shape[1] * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1]
    return -(squared_mahalanobis(residual, covariance) + normaliser) / 2


def _put_on_plane(
    poses: PoseBatch, plane: SupportPlane, score: np.ndarray, typical: np.ndarray
) -> tuple[PoseBatch, np.ndarray]:
    """Fuse the height of the lowest points; also returns (N,) whether each object stands on the plane.

    :param score: (N,). :param typical: (N,) mean log extent of the categories' typical sizes.
    """
    offset = contact_offsets(poses, plane.normal)
    contact = poses.translation + offset
    height, below = plane.heights(contact), offset @ plane.normal
    # Moving the object along its line of sight also scales it, and with it the offset of its lowest point.
    slope = plane.normal + (SIZE_COUPLING * below / poses.distance)[:, None] * poses.sight
    jacobian = np.concatenate([slope, np.cross(offset, plane.normal)], axis=1)[:, None]
    variance = (plane.height_variances(contact) + (_HEIGHT_ERROR * below) ** 2)[:, None]
    deviation = np.sqrt(poses.innovation(jacobian, variance)[:, 0, 0])
    # The factor of the distance at which the line of sight meets the plane; negative above the horizon.
    along = (slope * poses.sight).sum(-1) * poses.distance
    factor = 1 - height / np.where(along == 0, np.finfo(float).tiny, along)
    near = (factor > 1 / _MAX_RESCALING) & (factor < _MAX_RESCALING) & (np.abs(height) < _GATE * deviation)
    log_size = np.log(poses.size).mean(-1) - typical
    odds = _log_odds_of_height(height, _HEIGHT_SPREAD * deviation) + _log_odds_of_size(
        log_size, np.log(np.clip(factor, 1 / _MAX_RESCALING, _MAX_RESCALING))
    )
    prior = plane.prior * score
    with np.errstate(divide="ignore"):
        on_support = near & (odds + np.log(prior) - np.log1p(-prior) > 0)
    return poses.updated(jacobian, -height[:, None], variance, on_support), on_support


def _log_odds_of_height(height: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """(N,) log ratio of the probability of a predicted height if the object stands, and if it does not.

    :param height: (N,) of the lowest point, metres above the plane. Heights of objects that do not stand are uniform.
    :param deviation: (N,) its standard deviation.
    """
    z = height / deviation
    standing = -(z**2) / 2 - np.log(np.sqrt(2 * np.pi) * deviation)
    lifted = (ndtr(z) - ndtr((height - _MAX_LIFT) / deviation)) / _MAX_LIFT
    return standing - np.log(np.maximum(lifted, np.finfo(float).tiny))


def _log_odds_of_size(log_size: np.ndarray, log_factor: np.ndarray) -> np.ndarray:
    """(N,) log ratio of the probability of the size that an object has on the plane, and of the predicted one.

    :param log_size: (N,) predicted, relative to the typical size of the category.
    :param log_factor: (N,) of the distance to the plane relative to the predicted one; an object of the same image is
        larger by this factor there.
    """
    return (log_size**2 - (log_size + log_factor) ** 2) / (2 * _SIZE_SPREAD**2)
