# SPDX-License-Identifier: Apache-2.0
"""How rotations and extents are compared with the truth, also where turns about the y axis cannot be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import roma
import torch
from torch import Tensor

from seqpose_core.model.projection import exact_product

RotationNorm = Literal["chordal", "l1"]


@dataclass(frozen=True)
class PoseDistance:
    """How rotations and extents are compared with the truth.

    :param invariant: whether symmetric objects are compared up to turns about y.
    :param rotation: see :func:`rotation_difference`.
    """

    invariant: bool = False
    rotation: RotationNorm = "chordal"

    def of_rotations(self, rotation: Tensor, truth: Tensor, symmetric: Tensor) -> Tensor:
        """(...,) of (..., 3, 3); ``symmetric`` (...,) bool."""
        return rotation_difference(rotation, truth, symmetric if self.invariant else None, self.rotation)

    def of_extents(self, extents: Tensor, truth: Tensor, symmetric: Tensor) -> Tensor:
        """(...,) of (..., 3), or of their logarithms; ``symmetric`` (...,) bool."""
        return extent_difference(extents, truth, symmetric if self.invariant else None)


#: With the labels as they stand.
AS_LABELLED = PoseDistance()


def rotation_difference(
    rotation: Tensor, truth: Tensor, free: Tensor | None = None, norm: RotationNorm = "chordal"
) -> Tensor:
    """How far apart the axes of two rotations (..., 3, 3) are, averaged over the axes that are compared: (...,).

    ``chordal`` takes the length of the chord between the tips of two unit axes, ``l1`` the sum of its components'
    absolute values. Both have a slope that does not fade near the truth. But L1 has minima elsewhere as well: of
    rotations that descend on it from anywhere, about three in ten end far from the truth, two in ten of them turned by
    more than 150°, where chords lead all of them home (``test/test_symmetry.py``).

    :param free: (...,) bool: objects whose turn about y is free; of them only the y axis is compared, which is what
        all turns of the truth have in common. (The smallest difference over the turns asks for the same axis, at the
        price of a search and of jumps where two turns are equally near.)
    """
    axes = torch.linalg.vector_norm(rotation - truth, ord=2 if norm == "chordal" else 1, dim=-2)
    return axes.mean(-1) if free is None else torch.where(free, axes[..., 1], axes.mean(-1))


def extent_difference(extents: Tensor, truth: Tensor, free: Tensor | None = None) -> Tensor:
    """L1 (...,) of extents (..., 3) along x, y, z, or of their logarithms.

    :param free: (...,) bool: a quarter turn of such an object exchanges x and z, so the cheaper order counts. Where
        the truth is as wide as deep both cost the same, and only a box that is so as well costs nothing. (The
        prediction's mean of x and z against the truth would let a round object's box get out of round for free.)
    """
    plain = (extents - truth).abs().sum(-1)
    if free is None:
        return plain
    exchanged = (extents - truth.flip(-1)).abs().sum(-1)  # z, y, x
    return torch.where(free, torch.minimum(plain, exchanged), plain)


def turn_error(rotation: Tensor, truth: Tensor, free: Tensor) -> Tensor:
    """Rotation vector (..., 3), radians, from the predicted to the true orientation, in the predicted object's axes.

    :param free: (...,) bool: for such an object the smallest rotation that carries its y axis onto the true one,
        whose y component is 0.
    """
    relative = exact_product(rotation.transpose(-1, -2), truth)
    x, y, z = relative[..., 1].unbind(-1)  # the true y axis in the predicted object's axes
    sine = (x**2 + z**2).sqrt()
    angle = torch.atan2(sine, y)
    # Where the axes are opposite every axis across will do: x stands for them.
    along_x, along_z = torch.where(sine > 1e-6, z, 1.0), torch.where(sine > 1e-6, -x, 0.0)
    across = torch.stack([along_x, torch.zeros_like(x), along_z], dim=-1)
    tilt = torch.nn.functional.normalize(across, dim=-1) * angle[..., None]
    return torch.where(free[..., None], tilt, roma.rotmat_to_rotvec(relative))
