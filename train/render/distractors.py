# SPDX-License-Identifier: Apache-2.0
"""Things on the table that belong to no category (meta class 0): boxes, books, balls, plates, phones.

Parts: 0 main surface, 1 second surface. y is up, the origin is the box centre, lengths are metres.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, join, lathe, panel, rounded_box
from train.render.shapes import Shape


def box(rng: Generator) -> Mesh:
    return join(
        [rounded_box(rng.uniform([0.04, 0.03, 0.05], [0.14, 0.16, 0.18]), rng.uniform(0.0005, 0.004), 0)], "print"
    )


def book(rng: Generator) -> Mesh:
    size = np.array([rng.uniform(0.10, 0.19), rng.uniform(0.008, 0.045), rng.uniform(0.15, 0.26)])
    cover = 0.002
    pages = rounded_box(size - [0.006, 2 * cover, 0.008], 0.0005, 1, 1)
    sides = [
        rounded_box([size[0], cover, size[2]], 0.0008, 0, 1).moved(None, [0, s * (size[1] - cover) / 2, 0])
        for s in (-1, 1)
    ]
    spine = rounded_box([cover, size[1], size[2]], 0.0008, 0, 1).moved(None, [-(size[0] - cover) / 2, 0, 0])
    return join([pages, *sides, spine], "print", "paper").centred()


def ball(rng: Generator) -> Mesh:
    radius = rng.uniform(0.02, 0.05)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 24)
    return join([lathe(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), 0, 36)], "rubber")


def cylinder(rng: Generator) -> Mesh:
    radius, height = rng.uniform(0.012, 0.06), rng.uniform(0.02, 0.20)
    bevel = 0.002
    profile: list[list[float]] = [
        [0, 0],
        [radius - bevel, 0],
        [radius, bevel],
        [radius, height - bevel],
        [radius - bevel, height],
        [0, height],
    ]
    return join([lathe(profile, 0, 36)], "plastic").centred()


def plate(rng: Generator) -> Mesh:
    radius, height = rng.uniform(0.07, 0.13), rng.uniform(0.012, 0.028)
    flat = radius * rng.uniform(0.55, 0.75)
    profile: list[list[float]] = [
        [0, 0],
        [flat * 0.9, 0],
        [flat, 0.003],
        [radius, height - 0.003],
        [radius, height],
    ]
    profile += [[radius - 0.004, height], [flat, 0.008], [flat * 0.9, 0.006], [0, 0.006]]
    return join([lathe(profile, 0, 44)], "ceramic").centred()


def phone(rng: Generator) -> Mesh:
    size = np.array([rng.uniform(0.065, 0.08), rng.uniform(0.007, 0.01), rng.uniform(0.135, 0.165)])
    face = panel([0, size[1] / 2 + 0.0004, 0], [0, 0, -size[2] * 0.95], [-size[0] * 0.93, 0, 0], 1)
    return join([rounded_box(size, size[1] * 0.45, 0), face], "plastic", "screen").centred()


DISTRACTORS: dict[str, Shape] = {
    "box": box,
    "book": book,
    "ball": ball,
    "cylinder": cylinder,
    "plate": plate,
    "phone": phone,
}
