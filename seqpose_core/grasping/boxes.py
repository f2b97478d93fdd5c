# SPDX-License-Identifier: Apache-2.0
"""Oriented boxes and the gaps between them (NumPy, vectorised over all pairs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """Oriented boxes in one frame: centre (..., 3) m, rotation (..., 3, 3) of their axes, half extents (..., 3) m."""

    centre: np.ndarray
    rotation: np.ndarray
    half: np.ndarray

    def moved(self, rotation: np.ndarray, translation: np.ndarray) -> Boxes:
        """The boxes after ``x -> R x + t``, with R (..., 3, 3) and t (..., 3) broadcast over the boxes."""
        centre = (rotation @ self.centre[..., None])[..., 0] + translation
        axes = rotation @ self.rotation
        return Boxes(centre, axes, np.broadcast_to(self.half, centre.shape))

    def padded(self, margin: float) -> Boxes:
        """The boxes with half extents larger by ``margin``, or smaller if it is negative; never below 0.1 mm."""
        return Boxes(self.centre, self.rotation, np.maximum(self.half + margin, 1e-4))

    def flat(self) -> Boxes:
        """The same boxes with one leading dimension (N)."""
        return Boxes(self.centre.reshape(-1, 3), self.rotation.reshape(-1, 3, 3), self.half.reshape(-1, 3))

    def lowest(self, normal: np.ndarray) -> np.ndarray:
        """(...) smallest value of ``normal · p`` over each box."""
        return self.centre @ normal - (self.half * np.abs(normal @ self.rotation)).sum(-1)


def concatenate(boxes: Sequence[Boxes]) -> Boxes:
    """All boxes (N) of several sets of boxes (N_i); an empty sequence gives no boxes."""
    if not boxes:
        return Boxes(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 3)))
    return Boxes(
        np.concatenate([b.centre for b in boxes]),
        np.concatenate([b.rotation for b in boxes]),
        np.concatenate([b.half for b in boxes]),
    )


def gaps(a: Boxes, b: Boxes) -> np.ndarray:
    """(A, B) largest gap of each pair over the 15 axes of the separating axis theorem, metres.

    Positive: the boxes are apart by at least this distance. Negative: they overlap by this depth.
    Gottschalk, Lin and Manocha, "OBBTree", SIGGRAPH 1996.
    """
    rotation = np.einsum("aji,bjk->abik", a.rotation, b.rotation)
    offset = np.einsum("aji,abj->abi", a.rotation, b.centre[None] - a.centre[:, None])
    absolute = np.abs(rotation)
    half_a, half_b = a.half[:, None], b.half[None]
    face_a = np.abs(offset) - half_a - (absolute @ half_b[..., None])[..., 0]
    along_b = np.einsum("abi,abij->abj", offset, rotation)
    face_b = np.abs(along_b) - half_b - np.einsum("abi,abij->abj", np.broadcast_to(half_a, offset.shape), absolute)
    gap = np.maximum(face_a.max(-1), face_b.max(-1))
    for i in range(3):
        p, q = (i + 1) % 3, (i + 2) % 3
        for j in range(3):
            r, s = (j + 1) % 3, (j + 2) % 3
            length = np.sqrt(np.maximum(1 - rotation[..., i, j] ** 2, 0))
            distance = np.abs(offset[..., q] * rotation[..., p, j] - offset[..., p] * rotation[..., q, j])
            reach = half_a[..., p] * absolute[..., q, j] + half_a[..., q] * absolute[..., p, j]
            reach = reach + half_b[..., r] * absolute[..., i, s] + half_b[..., s] * absolute[..., i, r]
            crossed = length > 1e-4  # parallel edges give no axis
            gap = np.where(crossed, np.maximum(gap, (distance - reach) / np.where(crossed, length, 1.0)), gap)
    return gap
