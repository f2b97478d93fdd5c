# SPDX-License-Identifier: Apache-2.0
"""Parametric bottles: glass, water, sport, sauce, detergent and pump bottles, jugs with a handle.

Axes as in :mod:`train.render.shapes`. Oval bottles are narrower along x; the handle of a jug is at +x.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Array, Mesh, clipped_normal, join, lathe, rounded_box, tube
from train.render.sweeps import arc, resampled, scaled, squared, sweep

_KINDS = {
    "plain": 0.26,
    "wine": 0.09,
    "beer": 0.10,
    "water": 0.16,
    "sport": 0.08,
    "sauce": 0.11,
    "detergent": 0.08,
    "jug": 0.05,
    "pump": 0.07,
}


def _proportions(rng: Generator, kind: str) -> dict[str, float]:
    """Height and radius in metres; neck radius relative to the radius; neck, shoulder and cap lengths relative to the
    height."""
    height, slim, neck, neck_length, shoulder, cap = {
        "wine": ((0.27, 0.33), (0.125, 0.14), (0.36, 0.42), (0.24, 0.32), (0.06, 0.20), (0.02, 0.12)),
        "beer": ((0.18, 0.25), (0.13, 0.155), (0.38, 0.46), (0.18, 0.30), (0.10, 0.22), (0.02, 0.03)),
        "water": ((0.17, 0.32), (0.13, 0.19), (0.30, 0.48), (0.02, 0.06), (0.12, 0.25), (0.05, 0.09)),
        "sport": ((0.17, 0.27), (0.14, 0.20), (0.62, 0.90), (0.01, 0.05), (0.03, 0.10), (0.08, 0.18)),
        "sauce": ((0.14, 0.24), (0.16, 0.23), (0.34, 0.6), (0.01, 0.04), (0.10, 0.28), (0.09, 0.17)),
        "detergent": ((0.19, 0.30), (0.17, 0.22), (0.28, 0.42), (0.02, 0.08), (0.08, 0.22), (0.07, 0.15)),
        "jug": ((0.20, 0.30), (0.22, 0.28), (0.30, 0.42), (0.02, 0.06), (0.22, 0.34), (0.05, 0.09)),
        "pump": ((0.11, 0.18), (0.18, 0.27), (0.30, 0.42), (0.01, 0.04), (0.04, 0.14), (0.07, 0.11)),
    }.get(kind, ((0.14, 0.30), (0.125, 0.20), (0.30, 0.55), (0.03, 0.22), (0.08, 0.22), (0.06, 0.12)))
    tall = rng.uniform(*height)
    if kind == "plain":
        tall = clipped_normal(rng, 0.22, 0.035, 0.14, 0.30)
    return {
        "height": tall,
        "radius": float(np.clip(tall * rng.uniform(*slim), 0.022, 0.062)),
        "neck": rng.uniform(*neck),
        "neck_length": tall * rng.uniform(*neck_length),
        "shoulder": tall * rng.uniform(*shoulder),
        "cap": tall * rng.uniform(*cap),
    }


def _wall(rng: Generator, kind: str, t: Array) -> Array:
    """Radius of the body over its relative height ``t``, at most 1."""
    r = np.ones_like(t)
    chance = rng.random()
    if kind in ("wine", "beer"):
        return r
    if kind == "water" and chance < 0.55:
        ribs = 0.5 - 0.5 * np.cos(2 * np.pi * t * rng.integers(3, 9))
        r = r - rng.uniform(0.02, 0.06) * ribs * ((t > 0.1) & (t < 0.95))
    elif chance < 0.4:  # a waist: smooth, or a band to grip
        centre, width = rng.uniform(0.4, 0.7), rng.uniform(0.1, 0.35)
        r = r - rng.uniform(0.06, 0.26) * np.exp(-(((t - centre) / width) ** 2))
    elif chance < 0.6:
        r = r - rng.uniform(0.03, 0.18) * t
    elif chance < 0.7:
        r = r - rng.uniform(0.03, 0.15) * (1 - t)
    return r / r.max()


def _cap(rng: Generator, kind: str, neck: float, radius: float, top: float, height: float) -> list[Mesh]:
    """The closure from ``top`` of the neck to ``height``, part 2."""
    tall = height - top
    wide = neck * rng.uniform(1.05, 1.35)
    if kind == "wine":
        foil = neck * 1.04
        return [lathe([[neck * 0.5, top - tall], [foil, top - tall], [foil, height - 0.001], [0, height]], 2, 28)]
    if kind == "pump":
        stem = max(0.0035, neck * 0.3)
        collar = [[neck * 0.5, top - 0.001], [wide, top - 0.001], [wide, top + tall * 0.45], [stem, top + tall * 0.5]]
        head = [[stem, top + tall * 0.8], [stem * 2.2, top + tall * 0.82], [stem * 2.2, height - 0.001], [0, height]]
        length = max(0.6, rng.uniform(0.7, 1.2)) * radius
        end = top + tall * 0.9
        path = np.array(
            [[0, end, 0], [length * 0.5, end, 0], [length * 0.85, end - 0.001, 0], [length, end - 0.008, 0]]
        )
        return [lathe(collar + head, 2, 28), sweep(path, max(0.003, stem * 0.8), 2, 10)]
    nozzle = {"sauce": 0.65, "sport": 0.6, "detergent": 0.25}.get(kind, 0.12)
    if rng.random() < nozzle:
        tip = rng.uniform(0.2, 0.5)
        cap = [[neck * 0.5, top - 0.001], [wide, top - 0.001], [wide, top + tall * 0.35]]
        cap += [[wide * tip * 1.25, top + tall * 0.5], [wide * tip, height - 0.001], [wide * tip * 0.7, height]]
        return [lathe([*cap, [0, height]], 2, 28)]
    dome = rng.uniform(0.0015, 0.006) if rng.random() < 0.3 else 0.0015
    draft = rng.uniform(0.85, 1.0)
    cap = [[neck * 0.5, top - 0.001], [wide, top - 0.001], [wide * draft, height - dome]]
    return [lathe([*cap, [wide * draft - dome, height], [0, height]], 2, 32)]


def _jug_handle(rng: Generator, radius: float, body_top: float, shoulder_top: float) -> Mesh:
    """A loop at +x from the shoulder down to the body, part 0."""
    angle = np.linspace(np.pi / 2, -np.pi / 2, 18)
    high, low = shoulder_top - 0.01, body_top * rng.uniform(0.35, 0.7)
    exponent = rng.uniform(2.0, 3.5)
    cx, sy = np.abs(np.cos(angle)) ** (2 / exponent), np.sin(angle)
    sy = np.sign(sy) * np.abs(sy) ** (2 / exponent)
    y = (high + low) / 2 + sy * (high - low) / 2
    start = np.interp(y, [low, body_top, high], [radius * 0.9, radius * 0.9, radius * 0.45])
    x = start + (radius * rng.uniform(1.02, 1.3) - start) * cx
    path = resampled(np.stack([x, y, np.zeros_like(x)], axis=1), 18)
    return tube(path, rng.uniform(0.007, 0.012), rng.uniform(0.005, 0.009), 0)


def bottle(rng: Generator) -> Mesh:
    """Parts: 0 body, 1 label, 2 cap."""
    kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    p = _proportions(rng, kind)
    height, radius, cap = p["height"], p["radius"], p["cap"]
    neck = max(radius * p["neck"], 0.009)
    top = height - (0.004 if kind == "wine" else cap)
    body_top = top - p["neck_length"] - p["shoulder"]
    bevel = radius * rng.uniform(0.08, 0.25)
    t = np.linspace(0, 1, 24)
    ys = bevel + t * (body_top - bevel)
    body_r = radius * _wall(rng, kind, t)
    ease = np.linspace(0, 1, 9)[1:]
    curve = (0.5 + 0.5 * np.cos(np.pi * ease)) ** rng.uniform(0.7, 1.6)
    if kind in ("sport", "detergent", "pump") or rng.random() < 0.2:  # a round shoulder instead of an S
        curve = np.sqrt(np.maximum(1 - ease ** rng.uniform(1.6, 2.4), 0))
    foot = max(float(body_r[0]) - bevel, 0.004)
    profile = np.concatenate(
        [
            [[0, 0.002], [foot * 0.8, 0.002], [foot, 0]],
            arc((foot, bevel), (body_r[0] - foot, bevel), -90, 0, 5)[1:-1],
            np.stack([body_r, ys], axis=1),
            np.stack([neck + (body_r[-1] - neck) * curve, body_top + p["shoulder"] * ease], axis=1),
            [[neck, top]],
        ]
    )
    body = [lathe(profile, 0)]
    if rng.random() < 0.85:
        low, high = sorted(rng.uniform([0.08, 0.6], [0.35, 0.95]))
        ts = np.linspace(low, high, 12)
        label_r = np.interp(ts, t, body_r) + 0.0005
        body.append(lathe(np.stack([label_r, bevel + ts * (body_top - bevel)], axis=1), 1))
    shaped = join(body)
    square = rng.random()
    if (kind == "water" and square < 0.25) or (kind in ("detergent", "jug", "pump") and square < 0.5):
        shaped = squared(shaped, rng.uniform(2.5, 6.0))
    if kind in ("sauce", "detergent") and rng.random() < 0.75:
        shaped = scaled(shaped, [rng.uniform(0.55, 0.9), 1, 1])
    parts = [shaped]
    if kind == "jug":
        parts.append(_jug_handle(rng, radius, body_top, top - p["neck_length"]))
    parts += _cap(rng, kind, neck, radius, top, height) if rng.random() < 0.93 else [_open_top(neck, top)]
    if kind == "detergent" and rng.random() < 0.3:  # a trigger
        grip = rounded_box([0.045, 0.022, 0.018], 0.006, 2).moved(None, [0.008, height, 0])
        lever = rounded_box([0.008, 0.040, 0.012], 0.003, 2).moved(None, [0.022, height - 0.026, 0])
        parts += [grip, lever]
    surface = {
        "wine": "glass",
        "beer": "glass",
        "water": "clear_plastic",
        "sport": str(rng.choice(["plastic", "metal"])),
        "sauce": "plastic",
        "detergent": "plastic",
        "jug": "plastic",
        "pump": str(rng.choice(["plastic", "clear_plastic"])),
    }.get(kind, str(rng.choice(["plastic", "glass", "clear_plastic", "metal"], p=[0.45, 0.25, 0.22, 0.08])))
    return join(parts, surface, "print", "metal" if kind == "beer" else "plastic").centred()


def _open_top(neck: float, top: float) -> Mesh:
    """The rim and the inside of an open neck, part 0."""
    inner = max(neck - 0.0018, 0.004)
    return lathe(
        [[neck, top], [neck, top + 0.0008], [inner, top + 0.0008], [inner, top - 0.03], [0, top - 0.03]], 0, 28
    )
