# SPDX-License-Identifier: Apache-2.0
"""Distractors: toys."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, join, lathe, rotation_about, rounded_box
from train.render.sweeps import ellipsoid, scaled, sweep


def ball(rng: Generator) -> Mesh:
    radius = rng.uniform(0.02, 0.06)
    return join([ellipsoid([radius] * 3, 0, 25, 36)], str(rng.choice(["rubber", "plastic", "print"]))).centred()


def brick(rng: Generator) -> Mesh:
    """Plug-together toy bricks, in stacks of up to three."""
    parts = []
    for level in range(int(rng.integers(1, 4))):
        nx, nz, unit = int(rng.integers(1, 3)), int(rng.integers(2, 5)), 0.016
        y = level * 0.0192
        shift = np.array([rng.integers(-1, 2) * unit / 2, y, rng.integers(-1, 2) * unit]) * [1, 1, float(level > 0)]
        body = rounded_box([nx * unit, 0.0192, nz * unit], 0.0006, level, 1).moved(None, shift + [0, 0.0096, 0])
        stud = lathe([[0.005, 0], [0.005, 0.0036], [0, 0.0036]], level, 16)
        parts.append(body)
        for i in range(nx):
            for j in range(nz):
                place = [(i - (nx - 1) / 2) * unit, 0.0192, (j - (nz - 1) / 2) * unit]
                parts.append(stud.moved(None, shift + place))
    size = rng.uniform(0.9, 2.0)
    return join([scaled(part, [size] * 3) for part in parts], "plastic", "plastic", "plastic").centred()


def toy_cubes(rng: Generator) -> Mesh:
    """Dice, wooden cubes or a puzzle cube, single or in a small heap."""
    side = rng.uniform(0.025, 0.06)
    parts = []
    for i in range(int(rng.integers(1, 4))):
        place = [0 if i < 2 else side * 0.5, side / 2 + (side if i == 2 else 0), i % 2 * side * 1.15]
        cube = rounded_box([side] * 3, side * rng.uniform(0.03, 0.15), i)
        parts.append(cube.moved(rotation_about("y", rng.normal(0, 0.2)), place))
    names = [str(rng.choice(["wood", "plastic", "print", "tags"])) for _ in range(3)]
    return join(parts, *names).centred()


def toy_duck(rng: Generator) -> Mesh:
    s = rng.uniform(0.7, 1.5)
    body = ellipsoid([0.034, 0.024, 0.026], 0).moved(None, [0, 0.024, 0])
    head = ellipsoid([0.019, 0.019, 0.018], 0).moved(None, [0.022, 0.056, 0])
    beak = ellipsoid([0.010, 0.004, 0.008], 1, 9, 12).moved(None, [0.043, 0.053, 0])
    tail = sweep([[-0.02, 0.03, 0], [-0.036, 0.038, 0], [-0.044, 0.048, 0]], [0.014, 0.009, 0.003], 0, 10)
    eyes = [ellipsoid([0.003] * 3, 2, 7, 8).moved(None, [0.036, 0.062, z]) for z in (-0.011, 0.011)]
    wings = [ellipsoid([0.020, 0.012, 0.006], 0, 9, 14).moved(None, [-0.006, 0.028, z]) for z in (-0.024, 0.024)]
    return join(
        [scaled(part, [s, s, s]) for part in (body, head, beak, tail, *eyes, *wings)], "plastic", "plastic", "rubber"
    ).centred()


def teddy(rng: Generator) -> Mesh:
    s = rng.uniform(0.7, 1.6)
    pieces = [
        ((0.0, 0.06, 0.0), (0.04, 0.05, 0.045)),
        ((0.0, 0.13, 0.0), (0.033, 0.032, 0.036)),
        ((0.028, 0.122, 0.0), (0.016, 0.013, 0.015)),
    ]
    for z in (-1, 1):
        pieces += [((0.0, 0.16, z * 0.027), (0.008, 0.013, 0.013)), ((0.045, 0.018, z * 0.03), (0.036, 0.018, 0.018))]
        pieces.append(((0.018, 0.08, z * 0.05), (0.030, 0.014, 0.014)))
    parts = [ellipsoid(np.array(radii) * s, 0, 11, 16).moved(None, np.array(centre) * s) for centre, radii in pieces]
    eyes = [((0.03, 0.142, z), (0.003, 0.004, 0.004)) for z in (-0.013, 0.013)]
    eyes.append(((0.044, 0.126, 0.0), (0.004, 0.004, 0.006)))
    parts += [ellipsoid(np.array(radii) * s, 1, 7, 8).moved(None, np.array(centre) * s) for centre, radii in eyes]
    return join(parts, "fabric", "rubber").centred()
