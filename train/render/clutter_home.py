# SPDX-License-Identifier: Apache-2.0
"""Distractors from kitchen and home: fruit, plates, glasses, vases, plants, cloth, shoes, pitchers, hands."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Array, Mesh, join, lathe, rotation_about, tube
from train.render.sweeps import ellipsoid, grid_surface, resampled, scaled, shell, sweep


def _lathed(values: Array, radius: float, height: float, part: int = 0) -> Mesh:
    """A closed lathed solid whose relative radii over equal steps of an arc are ``values``."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, len(values))
    profile = np.stack([radius * np.cos(angle) * values, height / 2 * (1 + np.sin(angle))], axis=1)
    return lathe(profile, part, 32, crease_deg=90)


def fruit(rng: Generator) -> Mesh:
    """An apple, an orange, a lemon or a pear."""
    kind = str(rng.choice(["apple", "orange", "lemon", "pear"]))
    r = rng.uniform(0.030, 0.043)
    t = np.linspace(0, 1, 26)
    if kind == "apple":
        a = np.linspace(-np.pi / 2, np.pi / 2, 26)
        y = r * (
            np.sin(a) * rng.uniform(0.85, 1.0) - 0.32 * np.exp(-((t - 1) ** 2) / 0.006) + 0.12 * np.exp(-(t**2) / 0.004)
        )
        body = lathe(np.stack([r * np.cos(a) * (0.92 + 0.1 * t), y], axis=1), 0, 32, crease_deg=179)
        stem = sweep([[0, r * 0.5, 0], [0.002, r * 0.85, 0], [0.004, r * 1.1, 0]], 0.0015, 1, 6)
        return join([body, stem], "apple", "wood").centred()
    if kind == "orange":
        return join([_lathed(np.ones(26), r, r * rng.uniform(1.85, 2.0))], "orange").centred()
    if kind == "lemon":
        nipple = 1 - 0.25 * np.exp(-((t - 0.5) ** 2) / 0.2)
        body = _lathed(nipple, r * 0.85, r * rng.uniform(2.2, 2.6)).moved(rotation_about("z", np.pi / 2))
        return join([body], "lemon").centred()
    waist = 1 - 0.42 / (1 + np.exp(-(t - 0.62) * 14))
    stem = sweep([[0, r * 2.35, 0], [0.003, r * 2.6, 0], [0.007, r * 2.8, 0]], 0.0016, 1, 6)
    return join([_lathed(waist, r, r * 2.45), stem], "pear", "wood").centred()


def banana(rng: Generator) -> Mesh:
    """One to three bananas."""
    parts = []
    for i in range(int(rng.choice([1, 2, 3], p=[0.65, 0.2, 0.15]))):
        angle = np.radians(np.linspace(0, rng.uniform(60, 95), 16))
        radius = rng.uniform(0.09, 0.13)
        t = np.linspace(0, 1, 16)
        r = rng.uniform(0.015, 0.020) * np.clip(np.minimum(0.3 + 5 * t, 0.35 + 4 * (1 - t)), 0, 1)
        path = np.stack([radius * np.cos(angle), 0 * angle, radius * np.sin(angle)], axis=1)
        parts.append(sweep(path, r, 0, 7).moved(rotation_about("y", 0.12 * i), [0.036 * i, 0.004 * i, 0]))
    return join(parts, "banana").centred()


def plate(rng: Generator) -> Mesh:
    radius, height = rng.uniform(0.07, 0.14), rng.uniform(0.012, 0.026)
    flat = radius * rng.uniform(0.55, 0.75)
    profile: list[list[float]] = [
        [0.0, 0.0],
        [flat * 0.9, 0],
        [flat, 0.003],
        [radius, height - 0.003],
        [radius, height],
    ]
    profile += [[radius - 0.004, height], [flat, 0.008], [flat * 0.9, 0.006], [0, 0.006]]
    return join([lathe(profile, 0, 44)], str(rng.choice(["ceramic", "plastic", "paper", "metal"]))).centred()


def tumbler(rng: Generator) -> Mesh:
    """A straight or conical drinking glass without a handle, some with a drink, some stacked in pairs."""
    height, top = rng.uniform(0.08, 0.16), rng.uniform(0.028, 0.042)
    base, wall = top * rng.uniform(0.65, 1.0), 0.0018
    outer = [[0.0, 0.0], [base, 0], [base, 0.001], [top, height]]
    inner = [[top - wall, height], [base - wall, 0.008], [0, 0.008]]
    parts = [lathe([*outer, *inner], 0, 40)]
    if rng.random() < 0.35:
        level = rng.uniform(0.3, 0.85)
        r = base + (top - base) * level - wall * 1.2
        parts.append(lathe([[0, 0.009], [base - wall * 1.2, 0.009], [r, level * height], [0, level * height]], 1, 32))
    surface = str(rng.choice(["glass", "clear_plastic", "paper", "plastic"], p=[0.55, 0.2, 0.15, 0.10]))
    return join(parts, surface, "liquid").centred()


def stem_glass(rng: Generator) -> Mesh:
    r, deep, stem = rng.uniform(0.028, 0.045), rng.uniform(0.06, 0.11), rng.uniform(0.05, 0.09)
    foot, mouth = r * rng.uniform(0.8, 1.0), rng.uniform(0.6, 1.0)
    a = np.linspace(0, 1, 14)
    belly = r * np.sin(np.pi / 2 * np.minimum(a * 1.8, 1)) * (1 - (1 - mouth) * np.clip((a - 0.5) * 2, 0, 1) ** 1.5)
    y = 0.004 + stem + deep * a
    low = [[0.0, 0.0], [foot, 0], [foot, 0.0015], [0.006, 0.005], [0.0035, 0.012], [0.0035, stem]]
    outer = np.concatenate([low, np.stack([np.maximum(belly, 0.0036), y], axis=1)])
    inner = np.stack([np.maximum(belly - 0.0015, 0), y + 0.0015 * (1 - a)], axis=1)[::-1]
    return join([lathe(np.concatenate([outer, inner]), 0, 36)], "glass").centred()


def vase(rng: Generator) -> Mesh:
    """A vase without a handle, with dry stems on some."""
    height, r = rng.uniform(0.15, 0.30), rng.uniform(0.035, 0.07)
    t = np.linspace(0, 1, 28)
    shape = 0.55 + 0.45 * np.sin(np.pi * t ** rng.uniform(0.6, 1.6)) ** rng.uniform(0.7, 2.0)
    shape = shape + rng.uniform(0.0, 0.25) * np.clip((t - 0.8) / 0.2, 0, 1) ** 2
    outer = np.stack([r * shape / shape.max(), height * t], axis=1)
    inner = outer[::-1][:14] - [0.003, 0]
    mesh = lathe(np.concatenate([[[0, 0]], outer, inner, [[0, inner[-1, 1]]]]), 0, 40, 50)
    parts = [mesh]
    for _ in range(int(rng.integers(0, 5))):
        a, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.09)
        end = [lean * np.cos(a), height + rng.uniform(0.05, 0.14), lean * np.sin(a)]
        parts.append(sweep([[0, height * 0.4, 0], [0, height * 0.9, 0], end], 0.002, 1, 6))
        parts.append(ellipsoid([0.012, 0.016, 0.012], 2, 9, 12).moved(None, end))
    return join(parts, str(rng.choice(["ceramic", "glass", "metal"])), "leaf", "print").centred()


def _leaf(rng: Generator, length: float, width: float) -> Mesh:
    """A bent leaf from the origin towards +x, visible from both sides."""
    t, s = np.meshgrid(np.linspace(0, 1, 8), np.linspace(1, -1, 5), indexing="ij")
    half = width / 2 * np.sin(np.pi * (0.04 + 0.93 * t)) ** 0.8
    rise, fall = rng.uniform(0.5, 1.2), rng.uniform(0.3, 1.2)
    y = length * (rise * t - fall * t**2) + 0.25 * np.abs(s) * half
    return shell(np.stack([length * t, y, s * half], axis=-1), 0.0006, 2)


def plant(rng: Generator) -> Mesh:
    r, height = rng.uniform(0.035, 0.07), rng.uniform(0.06, 0.12)
    pot = [
        [0.0, 0.0],
        [r * 0.72, 0],
        [r, height * 0.85],
        [r * 1.06, height * 0.85],
        [r * 1.06, height],
        [r * 0.97, height],
    ]
    pot += [[r * 0.93, height - 0.012]]
    soil = lathe([[r * 0.95, height - 0.012], [0, height - 0.008]], 1, 32)
    parts = [lathe(pot, 0, 36), soil]
    for _ in range(int(rng.integers(8, 22))):
        leaf = _leaf(rng, rng.uniform(0.05, 0.14), rng.uniform(0.012, 0.045))
        stem = rng.uniform(0, 0.08)
        rotation = rotation_about("y", rng.uniform(0, 2 * np.pi))
        parts.append(leaf.moved(rotation, [0, height - 0.012 + stem, 0]))
    return join(parts, str(rng.choice(["ceramic", "plastic"])), "soil", "leaf").centred()


def cloth(rng: Generator) -> Mesh:
    """A crumpled cloth or towel."""
    a, t = np.meshgrid(np.linspace(0, 2 * np.pi, 41), np.linspace(0, 1, 15), indexing="ij")
    size, high = rng.uniform(0.06, 0.13), rng.uniform(0.02, 0.06)
    edge = 1 + 0.12 * np.sin(3 * a + rng.uniform(0, 6)) + 0.08 * np.sin(5 * a + rng.uniform(0, 6))
    fold = 1 + t * (0.18 * np.sin(7 * a + rng.uniform(0, 6)) + 0.12 * np.sin(4 * a + 5 * t))
    points = np.stack([size * t * edge * np.cos(a), high * (1 - t**1.5) * fold, size * t * edge * np.sin(a)], axis=-1)
    return join([grid_surface(points.transpose(1, 0, 2)[::-1], 0, closed=True)], "fabric").centred()


def shoe(rng: Generator) -> Mesh:
    """A low shoe along x, toe at +x."""
    length, wide = rng.uniform(0.22, 0.29), rng.uniform(0.08, 0.10)
    t = np.linspace(0, 1, 24)
    path = np.stack([length * (t - 0.5), 0 * t, 0 * t], axis=1)
    half = wide / 2 * (0.72 + 0.28 * np.sin(np.pi * np.clip(t * 1.15 - 0.15, 0, 1)))
    high = np.interp(t, [0, 0.3, 0.55, 0.85, 1], [0.085, 0.08, 0.055, 0.035, 0.028])
    close = np.clip(np.minimum(t / 0.06, (1 - t) / 0.12), 0, 1) ** 0.5
    a = np.linspace(0, 2 * np.pi, 25)
    y = np.maximum(np.sin(a), -0.15)[None] * (high * close)[:, None]
    z = np.cos(a)[None] * (half * close)[:, None]
    points = np.stack([np.broadcast_to(path[:, :1], y.shape), y, z], axis=-1)
    upper = grid_surface(points[::-1], 0, closed=True)
    steps = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    from_side = np.stack(
        [length * 0.51 * np.cos(steps), wide * 0.5 * np.sin(steps) * (0.88 + 0.12 * np.cos(steps))], axis=1
    )
    sole = lathe([[0, 0], [1, 0], [1, 1], [0, 1]], 1, 32)
    sole = scaled(sole, [np.abs(from_side[:, 0]).max(), 0.022, wide * 0.47]).moved(None, [0, -0.022, 0])
    hole = ellipsoid([length * 0.14, 0.006, wide * 0.26], 2, 9, 20).moved(
        rotation_about("z", -0.1), [-length * 0.27, 0.078, 0]
    )
    return join([upper, sole, hole], str(rng.choice(["leather", "fabric"])), "rubber", "rubber").centred()


def pitcher(rng: Generator) -> Mesh:
    """A pitcher with spout and handle, at least twice a mug's height."""
    height, r = rng.uniform(0.20, 0.28), rng.uniform(0.055, 0.075)
    base = r * rng.uniform(0.75, 0.95)
    outer = [[0.0, 0.0], [base, 0], [r, height * 0.95], [r * 1.03, height]]
    inner = [[r * 1.03 - 0.003, height], [base - 0.003, 0.01], [0, 0.01]]
    angle = np.linspace(np.pi / 2, -np.pi / 2, 20)
    y = height * (0.52 + 0.36 * np.sin(angle))
    x = r * 0.95 + rng.uniform(0.045, 0.06) * np.cos(angle) ** 0.6
    handle = tube(resampled(np.stack([x, y, 0 * x], axis=1), 20), 0.010, 0.007, 0)
    parts = [lathe([*outer, *inner], 0, 40), handle]
    if rng.random() < 0.6:
        lid = [[r * 1.05, height], [r * 1.05, height + 0.006], [r * 0.9, height + 0.014], [0, height + 0.016]]
        parts.append(lathe(lid, 1, 40))
    return join(parts, str(rng.choice(["plastic", "clear_plastic", "glass", "metal"])), "plastic").centred()


def paper_towel(rng: Generator) -> Mesh:
    """A roll of kitchen or toilet paper, upright."""
    r, height = rng.uniform(0.045, 0.065), float(rng.choice([rng.uniform(0.09, 0.11), rng.uniform(0.21, 0.26)]))
    paper = lathe([[0.02, 0], [r, 0], [r, height], [0.02, height]], 0, 40)
    core = lathe([[0.02, height], [0.019, height], [0.019, 0], [0.02, 0]], 1, 24)
    return join([paper, core], "paper", "wood").centred()


def candle(rng: Generator) -> Mesh:
    r, height = (
        (rng.uniform(0.018, 0.02), rng.uniform(0.012, 0.018))
        if rng.random() < 0.5
        else (rng.uniform(0.010, 0.013), rng.uniform(0.14, 0.22))
    )
    body = lathe([[0.0, 0], [r, 0], [r, height], [r * 0.8, height - 0.001], [0.0, height - 0.002]], 0, 28)
    wick = sweep([[0, height - 0.003, 0], [0.001, height + 0.008, 0]], 0.0008, 1, 6)
    return join([body, wick], "plastic", "rubber").centred()


def hand(rng: Generator) -> Mesh:
    """A forearm along -x with a hand whose fingers curl down to the table at +x; a sleeve on most."""
    parts: list[Mesh] = []
    lift, curl = rng.uniform(0.03, 0.09), rng.uniform(0.12, 0.42)
    wrist = np.array([0.0, lift, 0.0])
    arm = np.array([-rng.uniform(0.16, 0.30), lift + rng.uniform(-0.01, 0.10), rng.uniform(-0.06, 0.06)])
    parts.append(sweep([arm, (arm + wrist) / 2, wrist], [0.040, 0.034, 0.026], 0, 16))
    palm = ellipsoid([0.052, 0.016, 0.042], 0).moved(None, wrist + [0.045, 0.0, 0])
    parts.append(palm)
    for i, (z, length) in enumerate(((-0.032, 0.075), (-0.011, 0.085), (0.011, 0.08), (0.031, 0.062))):
        bend = np.cumsum([0.15, *(curl * rng.uniform(0.6, 1.2, 3))])
        steps = length * np.array([0.0, 0.45, 0.32, 0.26])
        x = wrist[0] + 0.085 + np.cumsum(steps * np.cos(bend))
        drop = np.cumsum(steps * np.sin(bend))
        y = wrist[1] - drop * min(1.0, (lift - 0.010) / drop[-1])
        path = resampled(np.stack([x, y, np.full(4, z) * (1 + 0.1 * i)], axis=1), 11)
        for _ in range(3):  # round the joints
            path[1:-1] = 0.25 * path[:-2] + 0.5 * path[1:-1] + 0.25 * path[2:]
        parts.append(sweep(path, np.linspace(0.0095, 0.0075, 11), 0, 10))
    side = 1.0 if rng.random() < 0.5 else -1.0
    thumb = np.array(
        [[0.02, lift, side * 0.03], [0.055, lift - 0.008, side * 0.055], [0.085, lift - 0.02, side * 0.058]]
    )
    parts.append(sweep(resampled(thumb, 8), np.linspace(0.013, 0.009, 8), 0, 10))
    if rng.random() < 0.65:
        start = arm + 0.45 * (wrist - arm)
        parts.append(sweep([arm + 0.05 * (arm - wrist), start], [0.050, 0.042], 1, 18, False))
    return join(parts, "skin", "fabric").centred()
