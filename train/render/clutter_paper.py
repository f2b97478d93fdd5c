# SPDX-License-Identifier: Apache-2.0
"""Distractors of card and paper: printed boxes, books, stacks, notebooks, sheets, tag boards, bags."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Array, Mesh, join, panel, rotation_about, rounded_box
from train.render.sweeps import grid_surface, shell, sweep


def small_box(rng: Generator) -> Mesh:
    size = rng.uniform([0.04, 0.03, 0.05], [0.14, 0.16, 0.18])
    return join([rounded_box(size, rng.uniform(0.0005, 0.004), 0)], "print").centred()


def cereal_box(rng: Generator) -> Mesh:
    size = rng.uniform([0.04, 0.18, 0.13], [0.08, 0.31, 0.21])
    return join([rounded_box(size, 0.0008, 0, 1)], "print").centred()


def flat_box(rng: Generator) -> Mesh:
    """A pudding, sugar or tea box, some with the flap open."""
    size = rng.uniform([0.06, 0.025, 0.08], [0.11, 0.06, 0.18])
    parts = [rounded_box(size, 0.0006, 0, 1)]
    if rng.random() < 0.25:
        flap = rounded_box([0.0008, size[1] * 0.9, size[2] * 0.96], 0.0003, 1, 1).moved(None, [0, size[1] * 0.45, 0])
        rotated = rotation_about("z", -rng.uniform(0.2, 1.4))
        parts.append(flap.moved(rotated, [size[0] / 2 - 0.001, size[1] / 2 - 0.001, 0]))
    return join(parts, "print", "paper").centred()


def tissue_box(rng: Generator) -> Mesh:
    size = rng.uniform([0.10, 0.06, 0.11], [0.13, 0.13, 0.24])
    t, a = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 2 * np.pi, 25), indexing="ij")
    fold = 1 + 0.35 * np.sin(a * rng.integers(3, 6)) * t
    radius = (0.012 + 0.035 * t) * fold
    height = size[1] / 2 + (0.05 + 0.012 * np.sin(3 * a + 1)) * t - 0.002
    cone = np.stack([radius * np.cos(a) * 0.5, height, radius * np.sin(a)], axis=-1)
    tissue = [grid_surface(cone, 1, closed=True), grid_surface(cone[:, ::-1], 1, closed=True)]
    slot = rounded_box([size[0] * 0.35, 0.001, size[2] * 0.6], 0.0004, 2, 1).moved(None, [0, size[1] / 2, 0])
    return join([rounded_box(size, 0.001, 0, 1), slot, *tissue], "print", "paper", "rubber").centred()


def carton(rng: Generator) -> Mesh:
    """A milk or juice carton with a gable or flat top and a cap."""
    side, height = rng.uniform(0.06, 0.095), rng.uniform(0.12, 0.24)
    parts = [rounded_box([side, height, side], 0.0008, 0, 1).moved(None, [0, height / 2, 0])]
    if rng.random() < 0.6:
        rise, h = rng.uniform(0.025, 0.045), side / 2
        for sign in (-1.0, 1.0):
            roof = panel(
                [sign * h / 2, height + rise / 2, 0],
                [0, 0, -sign * side],
                [-sign * h, rise, 0],
                0,
            )
            parts.append(roof)
        for sign in (-1.0, 1.0):
            z = sign * (h - 0.002)
            corners = np.array(
                [[[-h, height, z], [h, height, z]], [[-0.001, height + rise, z], [0.001, height + rise, z]]]
            )
            parts.append(grid_surface(corners if sign < 0 else corners[:, ::-1], 1))
        parts.append(rounded_box([0.003, 0.015, side], 0.001, 0, 1).moved(None, [0, height + rise + 0.005, 0]))
    else:
        cap = sweep([[0, height - 0.002, side * 0.2], [0, height + 0.012, side * 0.2]], 0.013, 1, 20, False)
        parts.append(cap)
    return join(parts, "print", "plastic").centred()


def _book(size: Array, cover: float, part: int = 0) -> list[Mesh]:
    """Pages between covers with the spine at -x; lies on its back cover with y up."""
    pages = rounded_box(size - [0.006, 2 * cover, 0.008], 0.0005, 1, 1)
    sides = [
        rounded_box([size[0], cover, size[2]], cover * 0.3, part, 1).moved(None, [0, s * (size[1] - cover) / 2, 0])
        for s in (-1, 1)
    ]
    spine = rounded_box([cover, size[1], size[2]], cover * 0.3, part, 1).moved(None, [-(size[0] - cover) / 2, 0, 0])
    return [pages, *sides, spine]


def book(rng: Generator) -> Mesh:
    size = np.array([rng.uniform(0.10, 0.21), rng.uniform(0.008, 0.05), rng.uniform(0.15, 0.29)])
    return join(_book(size, rng.uniform(0.0012, 0.003)), "print", "paper").centred()


def book_stack(rng: Generator) -> Mesh:
    parts, y = [], 0.0
    covers = [0, 2, 3, 4]
    for i in range(int(rng.integers(2, 6))):
        size = np.array([rng.uniform(0.12, 0.20), rng.uniform(0.012, 0.04), rng.uniform(0.18, 0.27)])
        rotation, shift = rotation_about("y", rng.normal(0, 0.15)), rng.normal(0, 0.008, 2)
        place = [shift[0], y + size[1] / 2, shift[1]]
        parts += [part.moved(rotation, place) for part in _book(size, 0.002, covers[i % 4])]
        y += size[1] + 0.0003
    return join(parts, "print", "paper", "fabric", "print", "leather").centred()


def paper_stack(rng: Generator) -> Mesh:
    """Loose sheets or magazines on a pile, each rotated slightly."""
    parts, y = [], 0.0
    for i in range(int(rng.integers(3, 9))):
        thick = rng.uniform(0.001, 0.006)
        sheet = rounded_box([0.21, thick, 0.297], 0.0003, i % 2, 1)
        rotation = rotation_about("y", rng.normal(0, 0.12))
        parts.append(sheet.moved(rotation, [rng.normal(0, 0.008), y + thick / 2, rng.normal(0, 0.008)]))
        y += thick
    return join(parts, str(rng.choice(["paper", "print"])), str(rng.choice(["paper", "print"]))).centred()


def notebook(rng: Generator) -> Mesh:
    """A spiral notebook with a pen on some."""
    size = np.array([rng.uniform(0.10, 0.21), rng.uniform(0.006, 0.02), rng.uniform(0.14, 0.29)])
    cover = rounded_box([size[0], 0.001, size[2]], 0.0004, 0, 1).moved(None, [0, size[1] / 2, 0])
    parts = [rounded_box(size, 0.0008, 1, 1), cover]
    count = int(size[2] / 0.014)
    angle = np.linspace(0, 2 * np.pi, 13)
    radius = size[1] / 2 + 0.003
    ring = np.stack([radius * np.cos(angle) - size[0] / 2, radius * np.sin(angle), np.zeros_like(angle)], axis=1)
    one = sweep(ring, 0.0008, 2, 5)
    parts += [one.moved(None, [0, 0, (i + 0.5 - count / 2) * 0.014]) for i in range(count)]
    if rng.random() < 0.5:
        pen = sweep([[0, 0, -0.07], [0, 0, 0.06], [0, 0, 0.07]], [0.0045, 0.0045, 0.001], 3, 10)
        parts.append(pen.moved(rotation_about("y", rng.uniform(-1, 1)), [0, size[1] / 2 + 0.006, 0]))
    return join(parts, str(rng.choice(["print", "plastic", "leather"])), "paper", "metal", "plastic").centred()


def paper_sheet(rng: Generator) -> Mesh:
    """One sheet, flat, curled or folded."""
    width, length = rng.uniform(0.10, 0.22), rng.uniform(0.12, 0.30)
    x, z = np.meshgrid(np.linspace(-0.5, 0.5, 13), np.linspace(0.5, -0.5, 17), indexing="ij")
    kind = rng.random()
    across = x * np.cos(angle := rng.uniform(0, np.pi)) + z * np.sin(angle)
    y = rng.uniform(0.0, 0.05) * across**2 * 4 + 0.002 * np.sin(5 * x + 3 * z)
    if kind < 0.2:
        y = np.abs(x) * rng.uniform(0.1, 0.8) * width
    points = np.stack([x * width, y, z * length], axis=-1)
    # rows x columns = x cross -z = +y
    return join([shell(points, 0.0006, 0, 1)], "print" if rng.random() < 0.5 else "paper", "paper").centred()


def tag_board(rng: Generator) -> Mesh:
    """A board with a checker or tag pattern, flat or on a stand."""
    width, height = rng.uniform(0.10, 0.30), rng.uniform(0.10, 0.30)
    board = rounded_box([width, 0.004, height], 0.0008, 1, 1)
    face = panel([0, 0.0024, 0], [0, 0, -height * 0.94], [-width * 0.94, 0, 0], 0)
    parts = [board, face]
    if rng.random() < 0.3:
        lean = rotation_about("z", -np.radians(rng.uniform(50, 85)))
        parts = [part.moved(lean) for part in parts]
        foot = rounded_box([0.08, 0.006, height * 0.5], 0.002, 1, 1)
        low = min(float(part.vertices[:, 1].min()) for part in parts)
        parts.append(foot.moved(None, [0.0, low + 0.003, 0]))
    return join(parts, "tags", "paper").centred()


def tag_cube(rng: Generator) -> Mesh:
    side = rng.uniform(0.03, 0.10)
    return join([rounded_box([side, side, side], rng.uniform(0.0005, 0.006), 0, 2)], "tags").centred()


def bag(rng: Generator) -> Mesh:
    """A filled bag of crisps or coffee: a cushion with flat seams."""
    width, height, depth = rng.uniform(0.10, 0.17), rng.uniform(0.14, 0.24), rng.uniform(0.03, 0.07)
    u, v = np.meshgrid(np.linspace(-1, 1, 17), np.linspace(-1, 1, 17), indexing="ij")
    bulge = (1 - np.abs(u) ** 3) * (1 - np.abs(v) ** 3)
    crease = 1 + 0.10 * np.sin(7 * u + rng.uniform(0, 6)) * np.sin(5 * v + rng.uniform(0, 6))
    x = depth / 2 * bulge * crease + 0.0004
    front = np.stack([x, u * height / 2, -v * width / 2], axis=-1)
    back = np.stack([-x, u * height / 2, v * width / 2], axis=-1)
    return join([grid_surface(front), grid_surface(back, 0)], "print").centred()
