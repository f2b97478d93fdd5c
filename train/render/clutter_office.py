# SPDX-License-Identifier: Apache-2.0
"""Distractors from the desk: monitors, keyboards, mice, phones, tablets, remotes, speakers, lamps, headphones.

y is up; devices with a front have it at +x, flat ones have their face up and their user at +x.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, join, lathe, panel, rotation_about, rounded_box
from train.render.sweeps import ellipsoid, extrude, rounded_rectangle, sweep

_FORWARD = rotation_about("z", -np.pi / 2)  # maps the y axis of a lathed part to +x


def monitor(rng: Generator) -> Mesh:
    wide = rng.uniform(0.38, 0.56)
    tall = wide * rng.uniform(0.56, 0.78)
    edge, rise = rng.uniform(0.006, 0.025), rng.uniform(0.08, 0.14)
    case = rounded_box([rng.uniform(0.02, 0.05), tall, wide], 0.006, 0).moved(None, [-0.02, rise + tall / 2, 0])
    front = float(case.vertices[:, 0].max()) + 0.0008
    face = panel([front, rise + tall / 2, 0], [0, 0, -wide + 2 * edge], [0, tall - 2 * edge, 0], 1)
    neck = rounded_box([0.03, rise + tall * 0.4, 0.06], 0.006, 0).moved(None, [-0.05, (rise + tall * 0.4) / 2, 0])
    base = extrude(rounded_rectangle(0.18, 0.24, 0.05), 0.014, 0, 0.003).moved(None, [-0.02, 0, 0])
    return join([case, face, neck, base], "plastic", "screen").centred()


def keyboard(rng: Generator) -> Mesh:
    """A slab with keys in rows; a third have a printed face instead of keys."""
    deep, wide = rng.uniform(0.11, 0.16), rng.uniform(0.27, 0.45)
    base = extrude(rounded_rectangle(deep, wide, 0.008), rng.uniform(0.008, 0.02), 0, 0.002)
    top = float(base.vertices[:, 1].max())
    if rng.random() < 0.35:
        return join(
            [base, panel([0, top + 0.0005, 0], [0, 0, -wide * 0.95], [-deep * 0.9, 0, 0], 1)], "plastic", "keyboard"
        ).centred()
    key = extrude(rounded_rectangle(0.015, 0.015, 0.002, 2), 0.005, 1)
    rows, columns = int((deep - 0.01) / 0.019), int((wide - 0.01) / 0.019)
    parts = [base]
    for i in range(rows):
        for j in range(columns):
            if (i, j) != (rows - 1, columns // 2) and not (i == rows - 1 and abs(j - columns // 2) < 3):
                x, z = (i - (rows - 1) / 2) * 0.019, (j - (columns - 1) / 2) * 0.019
                parts.append(key.moved(None, [x, top - 0.001, z]))
    bar = rounded_box([0.015, 0.006, 0.09], 0.002, 1, 1)
    parts.append(bar.moved(None, [(rows - 1) / 2 * 0.019, top + 0.002, (columns // 2 - (columns - 1) / 2) * 0.019]))
    return join(parts, "plastic", "rubber" if rng.random() < 0.6 else "plastic").centred()


def computer_mouse(rng: Generator) -> Mesh:
    half = rng.uniform([0.048, 0.030, 0.026], [0.062, 0.042, 0.034])
    body = ellipsoid(half, 0, 17, 28)
    # The lower half is pressed flat against the table.
    v, n = body.vertices.copy(), body.normals.copy()
    low = v[:, 1] < 0
    v[low, 1] *= 0.12
    n[low, 1] *= 8
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    body = Mesh(v, n, body.uvs, body.parts, body.faces)
    wheel = lathe([[0, -0.004], [0.010, -0.004], [0.010, 0.004], [0, 0.004]], 1, 18)
    wheel = wheel.moved(rotation_about("x", np.pi / 2), [-half[0] * 0.55, half[1] * 0.78, 0])
    parts = [body, wheel]
    if rng.random() < 0.4:
        t = np.linspace(0, 1, 16)
        line = np.stack([-half[0] - 0.15 * t, 0.003 + 0 * t, 0.03 * np.sin(4 * t + rng.uniform(0, 3))], axis=1)
        parts.append(sweep(line, 0.002, 1, 6))
    return join(parts, "plastic", "rubber").centred()


def _slab(rng: Generator, deep: float, thick: float, wide: float, margin: float, face: str, back: str) -> Mesh:
    corner = min(deep, wide) * rng.uniform(0.04, 0.14)
    body = extrude(rounded_rectangle(deep, wide, corner), thick, 0, thick * 0.25)
    screen = panel([0, thick + 0.0004, 0], [0, 0, -wide * margin], [-deep * margin, 0, 0], 1)
    lens = lathe([[0.006, 0], [0.006, 0.0016], [0, 0.0018]], 2, 18)
    lens = lens.moved(rotation_about("x", np.pi), [-deep * 0.3, 0.0002, wide * 0.36])
    parts = [body, screen, lens]
    mesh = join(parts)
    if rng.random() < 0.35:  # face down
        mesh = mesh.moved(rotation_about("x", np.pi))
    return join([mesh], back, face, "glass").centred()


def phone(rng: Generator) -> Mesh:
    wide = rng.uniform(0.125, 0.17)
    return _slab(rng, wide * rng.uniform(0.45, 0.52), rng.uniform(0.007, 0.011), wide, 0.93, "screen", "plastic")


def tablet(rng: Generator) -> Mesh:
    wide = rng.uniform(0.19, 0.29)
    return _slab(rng, wide * rng.uniform(0.62, 0.76), rng.uniform(0.006, 0.011), wide, 0.9, "screen", "metal")


def remote(rng: Generator) -> Mesh:
    """A remote control or calculator with rows of buttons."""
    long, wide = rng.uniform(0.13, 0.21), rng.uniform(0.038, 0.075)
    thick = rng.uniform(0.012, 0.024)
    parts = [extrude(rounded_rectangle(long, wide, rng.uniform(0.004, wide * 0.45)), thick, 0, thick * 0.2)]
    columns = int(rng.integers(3, 5))
    step = wide * 0.8 / columns
    button = rounded_box([step * 0.6, 0.003, step * 0.65], step * 0.2, 1, 1)
    count = max(2, int(long * 0.62 / step))
    for i in range(count):
        for j in range(columns):
            place = [long * 0.36 - i * step, thick + 0.0004, (j - (columns - 1) / 2) * step]
            parts.append(button.moved(None, place))
    if rng.random() < 0.5:
        parts.append(panel([-long * 0.4, thick + 0.0005, 0], [0, 0, -wide * 0.7], [-long * 0.12, 0, 0], 2))
    return join(parts, "plastic", "rubber", "screen").centred()


def speaker(rng: Generator) -> Mesh:
    deep, tall, wide = rng.uniform([0.08, 0.12, 0.08], [0.16, 0.26, 0.16])
    parts = [rounded_box([deep, tall, wide], rng.uniform(0.002, 0.012), 0)]
    for y, share in ((-0.18, 0.40), (0.28, 0.2)):
        r = wide * share
        cone = [
            [r * 1.1, 0],
            [r * 1.1, 0.003],
            [r, 0.004],
            [r * 0.8, 0.001],
            [r * 0.3, -0.008],
            [r * 0.3, -0.005],
            [0, -0.002],
        ]
        parts.append(lathe(cone, 1, 32).moved(_FORWARD, [deep / 2 - 0.0005, y * tall, 0]))
    return join(parts, str(rng.choice(["wood", "plastic"])), "rubber").centred()


def lamp(rng: Generator) -> Mesh:
    """A desk lamp with a jointed arm, or a shade on a stand."""
    foot_r = rng.uniform(0.05, 0.08)
    foot = lathe([[0.0, 0], [foot_r, 0], [foot_r, 0.012], [foot_r - 0.004, 0.016], [0.0, 0.018]], 0, 36)
    if rng.random() < 0.5:
        rise = rng.uniform(0.16, 0.26)
        stem = sweep([[0, 0.01, 0], [0, rise, 0]], rng.uniform(0.005, 0.02), 0, 14)
        low, high, h = rng.uniform(0.07, 0.10), rng.uniform(0.04, 0.07), rng.uniform(0.09, 0.14)
        shade = [
            [low, rise - 0.03],
            [high, rise - 0.03 + h],
            [high - 0.001, rise - 0.03 + h],
            [low - 0.002, rise - 0.03],
        ]
        return join([foot, stem, lathe(shade, 1, 36)], "metal", "fabric").centred()
    elbow, reach = rng.uniform(0.14, 0.22), rng.uniform(0.10, 0.18)
    points = [[0, 0.01, 0], [-0.05, elbow, 0], [reach, elbow + rng.uniform(0.06, 0.14), 0]]
    arms = [sweep([points[i], points[i + 1]], 0.006, 0, 10) for i in range(2)]
    hood = [[0.05, -0.045], [0.016, 0.0], [0.014, 0.03], [0, 0.032], [0, 0.028], [0.012, 0.026], [0.047, -0.045]]
    head = lathe(hood[:4], 1, 32), lathe([hood[5], hood[6]], 2, 32)
    tilt = rotation_about("z", rng.uniform(0.0, 0.6))
    return join([foot, *arms, *(piece.moved(tilt, points[2]) for piece in head)], "metal", "metal", "paper").centred()


def headphones(rng: Generator) -> Mesh:
    angle = np.radians(np.linspace(-10, 190, 26))
    r = rng.uniform(0.07, 0.085)
    band = sweep(np.stack([r * np.sin(angle), 0.03 + 0 * angle, r * np.cos(angle)], axis=1), 0.006, 0, 8)
    cup = lathe([[0.0, 0.0], [0.032, 0], [0.038, 0.008], [0.036, 0.022], [0.030, 0.028], [0.0, 0.026]], 1, 28)
    parts = [band]
    for sign in (-1.0, 1.0):
        parts.append(cup.moved(rotation_about("x", -sign * np.pi / 2), [-0.012, 0.03, sign * r * 0.97]))
    return join(parts, "plastic", str(rng.choice(["leather", "plastic"]))).centred()
