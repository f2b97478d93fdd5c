# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms as plain tuples: a translation (x, y, z) in metres and a unit quaternion (x, y, z, w).

Tuples instead of arrays: for a chain of a few links, the call overhead of NumPy exceeds the arithmetic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


class Rigid(NamedTuple):
    """Maps a point p of the child frame to `rotation * p + translation` in the parent frame."""

    translation: Vector
    rotation: Quaternion


IDENTITY = Rigid((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """The rotation b followed by a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def conjugate(q: Quaternion) -> Quaternion:
    """The inverse rotation."""
    return (-q[0], -q[1], -q[2], q[3])


def normalized(q: Quaternion) -> Quaternion:
    """q scaled to unit length."""
    length = math.sqrt(sum(value * value for value in q))
    return (q[0] / length, q[1] / length, q[2] / length, q[3] / length)


def rotate(q: Quaternion, v: Vector) -> Vector:
    """The vector v rotated by q."""
    x, y, z, _ = multiply(multiply(q, (v[0], v[1], v[2], 0.0)), conjugate(q))
    return (x, y, z)


def compose(a: Rigid, b: Rigid) -> Rigid:
    """The transform that applies b first and then a."""
    x, y, z = rotate(a.rotation, b.translation)
    tx, ty, tz = a.translation
    return Rigid((x + tx, y + ty, z + tz), normalized(multiply(a.rotation, b.rotation)))


def inverse(transform: Rigid) -> Rigid:
    """The transform from the parent to the child frame."""
    back = conjugate(transform.rotation)
    x, y, z = rotate(back, transform.translation)
    return Rigid((-x, -y, -z), back)


def interpolate(a: Rigid, b: Rigid, share: float) -> Rigid:
    """Interpolate from a (share 0) to b (share 1): linear translation, slerp along the shorter great circle."""
    cosine = sum(p * q for p, q in zip(a.rotation, b.rotation, strict=True))
    sign = -1.0 if cosine < 0.0 else 1.0  # q and -q are the same rotation: take the nearer one
    angle = math.acos(min(1.0, abs(cosine)))
    if angle < 1e-6:  # sin(angle) vanishes; linear interpolation is exact to second order
        weight_a, weight_b = 1.0 - share, share
    else:
        weight_a = math.sin((1.0 - share) * angle) / math.sin(angle)
        weight_b = math.sin(share * angle) / math.sin(angle)
    mixed = [weight_a * p + sign * weight_b * q for p, q in zip(a.rotation, b.rotation, strict=True)]
    straight = [(1.0 - share) * p + share * q for p, q in zip(a.translation, b.translation, strict=True)]
    return Rigid((straight[0], straight[1], straight[2]), normalized((mixed[0], mixed[1], mixed[2], mixed[3])))
