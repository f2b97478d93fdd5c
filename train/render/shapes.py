# SPDX-License-Identifier: Apache-2.0
"""Parametric instances of the six NOCS categories.

Axes: y up; mug handle +x; camera lens +x, width along z; laptop base +x, lid -x, hinge along z. The origin is
the centre of the tight axis-aligned box for every category, also for mugs (handle included); relabelled
sets that centre mugs on the body axis differ from this by half the handle's reach.

Parts number the materials of an object; :data:`HANDLE_PART` is the mug's handle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from train.render.devices import camera, laptop
from train.render.meshes import Array, Mesh, clipped_normal, join, lathe, rounded_box, tube

HANDLE_PART = 2
Shape = Callable[[Generator], Mesh]


def _arc(centre: tuple[float, float], radius: tuple[float, float], start: float, stop: float, n: int = 7) -> Array:
    """Points (n, 2) of an elliptic arc, angles in degrees."""
    angle = np.radians(np.linspace(start, stop, n))
    return np.stack([centre[0] + radius[0] * np.cos(angle), centre[1] + radius[1] * np.sin(angle)], axis=1)


def bottle(rng: Generator) -> Mesh:
    """Parts: 0 body, 1 label, 2 cap."""
    height = clipped_normal(rng, 0.22, 0.035, 0.14, 0.30)
    slim = rng.uniform(0.25, 0.40)
    radius = float(np.clip(height * slim / 2, 0.024, 0.045))
    cap_height = height * rng.uniform(0.06, 0.12)
    neck = radius * rng.uniform(0.30, 0.55)
    neck_length = height * rng.uniform(0.03, 0.22)
    shoulder = height * rng.uniform(0.08, 0.22)
    top = height - cap_height
    waist = rng.uniform(0.0, 0.12) if rng.random() < 0.35 else 0.0
    taper = rng.uniform(0.9, 1.0) if rng.random() < 0.3 else 1.0
    body_top = top - neck_length - shoulder
    bevel = radius * rng.uniform(0.08, 0.25)
    ys = np.linspace(bevel, body_top, 12)
    t = (ys - bevel) / (body_top - bevel)
    body_r = radius * (1 - (1 - taper) * t) * (1 - waist * np.sin(np.pi * t) ** 2)
    ease = np.linspace(0, 1, 9)[1:]
    power = rng.uniform(0.7, 1.6)
    curve = (0.5 + 0.5 * np.cos(np.pi * ease)) ** power
    profile = np.concatenate(
        [
            [[0, 0], [radius - bevel, 0]],
            _arc((radius - bevel, bevel), (bevel, bevel), -90, 0, 5)[1:-1],
            np.stack([body_r, ys], axis=1),
            np.stack([neck + (body_r[-1] - neck) * curve, body_top + shoulder * ease], axis=1),
            [[neck, top]],
        ]
    )
    parts = [lathe(profile, 0)]
    if rng.random() < 0.85:
        low, high = sorted(rng.uniform([0.08, 0.6], [0.35, 0.95]))
        ts = np.linspace(low, high, 8)
        label_r = np.interp(ts, t, body_r) + 0.0004
        parts.append(lathe(np.stack([label_r, bevel + ts * (body_top - bevel)], axis=1), 1))
    cap_r = neck * rng.uniform(1.08, 1.35)
    nozzle = rng.random() < 0.25
    cap = [[neck * 0.5, top - 0.001], [cap_r, top - 0.001]]
    if nozzle:
        cap += [[cap_r, top + cap_height * 0.35], [cap_r * 0.4, top + cap_height * 0.5]]
        cap += [[cap_r * 0.3, height], [0, height]]
    else:
        cap += [[cap_r, height - 0.0015], [cap_r - 0.0015, height], [0, height]]
    parts.append(lathe(cap, 2, 32))
    return join(parts).centred()


def bowl(rng: Generator) -> Mesh:
    """Parts: 0 outside, 1 inside, 3 rim."""
    radius = clipped_normal(rng, 0.074, 0.013, 0.055, 0.10)
    height = radius * 2 * rng.uniform(0.32, 0.56)
    wall = rng.uniform(0.002, 0.005)
    foot = radius * rng.uniform(0.38, 0.6)
    foot_height = rng.uniform(0.0, 0.008)
    power = rng.uniform(0.35, 0.75)
    flare = rng.uniform(0.0, 0.012) if rng.random() < 0.4 else 0.0
    t = np.linspace(0, 1, 16)
    lip = flare * np.clip((t - 0.8) / 0.2, 0, 1) ** 2
    outer_r = foot + (radius - flare - foot) * t**power + lip
    outer = np.stack([outer_r, foot_height + (height - foot_height) * t], axis=1)
    inner_r = np.maximum(outer_r - wall, 0.001)
    inner = np.stack([inner_r, outer[:, 1] + wall * (1 - t)], axis=1)[::-1]
    bottom = [[0, foot_height * 0.6], [foot - 0.004, foot_height * 0.6], [foot - 0.004, 0], [foot, 0]]
    rim = _arc(((outer_r[-1] + inner_r[-1]) / 2, height), (wall / 2, wall / 2), 0, 180, 5)
    return join(
        [
            lathe(np.concatenate([np.array(bottom), outer]), 0, 48),
            lathe(rim, 3, 48),
            lathe(np.concatenate([inner, [[0, inner[-1, 1]]]]), 1, 48),
        ]
    ).centred()


def can(rng: Generator) -> Mesh:
    """Parts: 0 printed body, 1 metal ends."""
    kind = rng.choice(["drink", "slim", "food"], p=[0.5, 0.15, 0.35])
    if kind == "drink":
        radius, height = (
            clipped_normal(rng, 0.033, 0.001, 0.031, 0.0375),
            clipped_normal(rng, 0.122, 0.012, 0.10, 0.17),
        )
    elif kind == "slim":
        radius, height = (
            clipped_normal(rng, 0.030, 0.0008, 0.03, 0.032),
            clipped_normal(rng, 0.15, 0.012, 0.13, 0.17),
        )
    else:
        radius, height = (
            clipped_normal(rng, 0.0365, 0.0015, 0.032, 0.0375),
            clipped_normal(rng, 0.107, 0.010, 0.09, 0.13),
        )
    if kind == "food":
        lip = 0.002
        ribs = rng.random() < 0.5
        ys = np.linspace(lip, height - lip, 30)
        r = radius - 0.0012 - 0.0006 * float(ribs) * (1 + np.sin(ys / height * 60))
        bottom = lathe(
            [
                [0, 0.003],
                [radius - 0.003, 0.003],
                [radius - 0.003, 0],
                [radius, 0],
                [radius, lip],
                [r[0], lip],
            ],
            1,
        )
        body = lathe(np.stack([r, ys], axis=1), 0, 44)
        lid = [[r[-1], height - lip], [radius, height - lip], [radius, height], [radius - 0.003, height]]
        lid += [
            [radius - 0.003, height - 0.004],
            [radius * 0.8, height - 0.004],
            [radius * 0.78, height - 0.005],
            [0, height - 0.005],
        ]
    else:
        neck = radius - rng.uniform(0.004, 0.006)
        slope = rng.uniform(0.010, 0.016)
        bottom = lathe(
            [[0, 0.008], [neck - 0.006, 0.003], [neck - 0.002, 0], [neck, 0.001], [radius, 0.010]], 1, 44, 60
        )
        body = lathe(
            [[radius, 0.010], [radius, 0.011], [radius, height - slope - 0.003], [neck, height - 0.003]],
            0,
            44,
            60,
        )
        lid = [[neck, height - 0.003], [neck + 0.001, height - 0.001], [neck, height], [neck - 0.003, height]]
        lid += [[neck - 0.005, height - 0.005], [0, height - 0.004]]
    parts = [bottom, body, lathe(lid, 1, 44)]
    if kind != "food" or rng.random() < 0.4:
        tab_y = height - 0.0042
        tab = rounded_box([0.020, 0.0014, 0.012], 0.0006, 1, 2)
        parts.append(tab.moved(None, [0.006, tab_y + 0.0012, 0.0]))
    return join(parts).centred()


def mug(rng: Generator) -> Mesh:
    """Parts: 0 outside, 1 inside, 2 handle, 3 drink."""
    height = clipped_normal(rng, 0.097, 0.008, 0.08, 0.12)
    radius = float(np.clip(height * rng.normal(0.425, 0.035), 0.034, 0.05))
    wall = rng.uniform(0.0025, 0.005)
    base = radius * (rng.uniform(0.68, 0.95) if rng.random() < 0.4 else rng.uniform(0.95, 1.0))
    belly = rng.uniform(-0.06, 0.10) if rng.random() < 0.4 else 0.0
    bevel = rng.uniform(0.002, 0.010)
    t = np.linspace(0, 1, 14)
    ys = bevel + (height - bevel) * t
    outer_r = base + (radius - base) * t ** rng.uniform(0.6, 1.2) + belly * radius * np.sin(np.pi * t)
    start = outer_r[0]
    outer = np.concatenate(
        [
            [[0, 0.002], [start - bevel - 0.004, 0.002], [start - bevel - 0.003, 0], [start - bevel, 0]],
            _arc((start - bevel, bevel), (bevel, bevel), -90, 0, 5)[1:-1],
            np.stack([outer_r, ys], axis=1),
        ]
    )
    rim = _arc((outer_r[-1] - wall / 2, height), (wall / 2, wall / 2), 0, 180, 5)
    inner = np.stack([outer_r - wall, ys], axis=1)[::-1]
    floor = 0.006
    inner = inner[inner[:, 1] > floor + 0.004]
    inner = np.concatenate([inner, [[inner[-1, 0] - 0.004, floor], [0, floor]]])
    parts = [lathe(outer, 0, 44), lathe(rim, 1, 44), lathe(inner, 1, 44)]

    reach = rng.uniform(0.022, 0.036)
    top, bottom = height * rng.uniform(0.78, 0.90), height * rng.uniform(0.14, 0.34)
    roundness = rng.uniform(1.6, 4.0)
    angle = np.linspace(np.pi / 2, -np.pi / 2, 22)
    cx = np.abs(np.cos(angle)) ** (2 / roundness)
    sy = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / roundness)
    y = (top + bottom) / 2 + sy * (top - bottom) / 2
    droop = rng.uniform(-0.15, 0.35)
    wall_x = np.interp(y, ys, outer_r) - wall * 0.6
    x = wall_x + (reach + wall * 0.6) * cx * (1 + droop * (sy - 1) * 0.25)
    thick = rng.uniform(0.0032, 0.0055)
    across = thick * rng.uniform(1.0, 2.0)
    swell = 1 + 0.35 * (1 - cx)
    parts.append(tube(np.stack([x, y, np.zeros_like(x)], axis=1), across * swell, thick * swell, HANDLE_PART, 12))
    if rng.random() < 0.4:
        level = height * rng.uniform(0.5, 0.88)
        parts.append(lathe([[np.interp(level, ys, outer_r) - wall * 0.9, level], [0, level]], 3, 32))
    return join(parts).centred()


SHAPES: dict[str, Shape] = {
    "bottle": bottle,
    "bowl": bowl,
    "camera": camera,
    "can": can,
    "laptop": laptop,
    "mug": mug,
}
