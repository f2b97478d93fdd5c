# SPDX-License-Identifier: Apache-2.0
"""Parametric mugs and cups with one handle at +x; axes as in :mod:`train.render.shapes`."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Array, Mesh, clipped_normal, join, lathe, tube
from train.render.sweeps import arc, resampled

HANDLE_PART = 2


def _size(rng: Generator) -> tuple[float, float]:
    """Height and largest radius of the body, metres."""
    kind = rng.choice(["usual", "wide", "tall", "small"], p=[0.5, 0.24, 0.14, 0.12])
    if kind == "usual":
        height = clipped_normal(rng, 0.097, 0.008, 0.08, 0.12)
        return height, float(np.clip(height * rng.normal(0.425, 0.035), 0.034, 0.05))
    if kind == "wide":
        return rng.uniform(0.065, 0.095), rng.uniform(0.045, 0.059)
    if kind == "tall":
        return rng.uniform(0.11, 0.138), rng.uniform(0.035, 0.046)
    return rng.uniform(0.055, 0.078), rng.uniform(0.028, 0.039)


def _wall(rng: Generator, height: float, radius: float) -> tuple[Array, Array]:
    """Radii and heights of the outer wall from the foot up; the largest radius is ``radius``."""
    kind = rng.choice(
        ["straight", "conical", "tapered", "bulged", "waisted", "cup", "free"],
        p=[0.27, 0.17, 0.06, 0.11, 0.07, 0.12, 0.20],
    )
    t = np.linspace(0, 1, 16)
    r = np.ones_like(t)
    if kind == "conical":
        r = 1 - rng.uniform(0.12, 0.42) * (1 - t)
    elif kind == "tapered":
        r = 1 - rng.uniform(0.06, 0.22) * t
    elif kind == "bulged":
        r = 1 - rng.uniform(0.10, 0.3) * np.abs(2 * (t - rng.uniform(0.3, 0.6))) ** rng.uniform(1.6, 2.6)
    elif kind == "waisted":
        r = 1 - rng.uniform(0.06, 0.18) * np.sin(np.pi * t ** rng.uniform(0.7, 1.3)) ** 2
    elif kind == "cup":  # a tea cup: rounded below, open above
        base = rng.uniform(0.42, 0.7)
        p = rng.uniform(1.5, 3.2)
        angle = t * np.pi / 2
        r = base + (1 - base) * np.sin(angle) ** (2 / p)
        t = 1 - np.cos(angle) ** (2 / p)
    elif kind == "free":
        base = rng.uniform(0.68, 0.95) if rng.random() < 0.5 else rng.uniform(0.95, 1.0)
        belly = rng.uniform(-0.06, 0.10) if rng.random() < 0.5 else 0.0
        r = base + (1 - base) * t ** rng.uniform(0.6, 1.2) + belly * np.sin(np.pi * t)
    if rng.random() < 0.15:  # a flared lip
        r = r + rng.uniform(0.02, 0.07) * np.clip((t - 0.8) / 0.2, 0, 1) ** 2
    bevel = rng.uniform(0.002, 0.010)
    return radius * r / r.max(), bevel + (height - bevel) * t


def _handle(rng: Generator, height: float, outer_r: Array, ys: Array, wall: float) -> Mesh:
    """A bar from wall to wall in the plane z = 0: round, D-shaped, square or an ear that hangs from the top."""
    kind = rng.choice(["round", "d", "square", "ear", "free"], p=[0.2, 0.25, 0.12, 0.18, 0.25])
    reach = rng.uniform(0.020, 0.042)
    top, bottom = height * rng.uniform(0.72, 0.93), height * rng.uniform(0.10, 0.36)
    if rng.random() < 0.12:  # a small handle somewhere on the wall
        middle, span = height * rng.uniform(0.4, 0.7), height * rng.uniform(0.3, 0.45)
        top, bottom = min(middle + span / 2, 0.95 * height), max(middle - span / 2, 0.08 * height)
    exponent = {
        "round": rng.uniform(1.7, 2.4),
        "d": rng.uniform(3.0, 5.0),
        "square": rng.uniform(5.0, 8.0),
    }.get(str(kind), rng.uniform(1.6, 4.0))
    droop = rng.uniform(0.5, 1.3) if kind == "ear" else rng.uniform(-0.15, 0.35)
    angle = np.linspace(np.pi / 2, -np.pi / 2, 24)
    cx = np.abs(np.cos(angle)) ** (2 / exponent)
    sy = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / exponent)
    y = (top + bottom) / 2 + sy * (top - bottom) / 2
    start = np.interp(y, ys, outer_r) - wall * 0.6
    x = start + (reach + wall * 0.6) * cx * (1 + droop * (sy - 1) * 0.25)
    # The handle stays visible beside a wide rim.
    x = x + max(0.0, outer_r.max() + 0.016 - x.max()) * cx
    thick = rng.uniform(0.0028, 0.0065)
    across = thick * (rng.uniform(1.8, 3.2) if rng.random() < 0.35 else rng.uniform(1.0, 2.0))
    path = resampled(np.stack([x, y, np.zeros_like(x)], axis=1), 24)
    swell = 1 + rng.uniform(0.0, 0.5) * np.linspace(-1, 1, len(path)) ** 4
    return tube(path, across * swell, thick * swell, HANDLE_PART, 12)


def mug(rng: Generator) -> Mesh:
    """Parts: 0 outside, 1 inside, 2 handle, 3 drink."""
    height, radius = _size(rng)
    outer_r, ys = _wall(rng, height, radius)
    surface = str(rng.choice(["ceramic", "metal", "plastic", "glass"], p=[0.82, 0.09, 0.05, 0.04]))
    wall = rng.uniform(0.001, 0.002) if surface == "metal" else rng.uniform(0.0025, 0.0055)
    rolled = surface == "metal" or rng.random() < 0.08
    bevel, start = float(ys[0]), float(outer_r[0])
    outer = np.concatenate(
        [
            [[0, 0.002], [start - bevel - 0.004, 0.002], [start - bevel - 0.003, 0], [start - bevel, 0]],
            arc((start - bevel, bevel), (bevel, bevel), -90, 0, 5)[1:-1],
            np.stack([outer_r, ys], axis=1),
        ]
    )
    lip = rng.uniform(0.0015, 0.003) if rolled else wall / 2
    rim = arc((outer_r[-1] - wall / 2, height), (lip, lip), -120, 300, 13) if rolled else None
    if rim is None:
        rim = arc((outer_r[-1] - wall / 2, height), (lip, lip), 0, 180, 5)
    floor = 0.006
    inner = np.stack([outer_r - wall, ys], axis=1)[::-1]
    inner = inner[inner[:, 1] > floor + 0.004]
    inner = np.concatenate([inner, [[max(inner[-1, 0] - 0.004, 0.004), floor], [0, floor]]])
    parts = [lathe(outer, 0, 44), lathe(rim, 1, 44), lathe(inner, 1, 44), _handle(rng, height, outer_r, ys, wall)]
    if rng.random() < 0.4:
        level = height * rng.uniform(0.5, 0.88)
        parts.append(lathe([[np.interp(level, ys, outer_r) - wall * 0.9, level], [0, level]], 3, 32))
    return join(parts, surface, surface, surface, "liquid").centred()
