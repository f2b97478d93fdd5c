# SPDX-License-Identifier: Apache-2.0
"""Parametric cans: drink cans, soup, squat, wide and tall tins; axes as in :mod:`train.render.shapes`."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, clipped_normal, join, lathe, rounded_box

_KINDS = {"drink": 0.33, "slim": 0.09, "food": 0.25, "squat": 0.15, "wide": 0.10, "tall": 0.08}


def _drink(rng: Generator, radius: float, height: float) -> list[Mesh]:
    """A drawn can with a neck and a domed bottom."""
    neck = radius - rng.uniform(0.004, 0.006)
    slope = rng.uniform(0.010, 0.016)
    foot = [[0, 0.008], [neck - 0.006, 0.003], [neck - 0.002, 0], [neck, 0.001], [radius, 0.010]]
    wall = [[radius, 0.010], [radius, 0.011], [radius, height - slope - 0.003], [neck, height - 0.003]]
    lid = [[neck, height - 0.003], [neck + 0.001, height - 0.001], [neck, height], [neck - 0.003, height]]
    lid += [[neck - 0.005, height - 0.005], [0, height - 0.004]]
    return [lathe(foot, 1, 44, 60), lathe(wall, 0, 44, 60), lathe(lid, 1, 44)]


def _tin(rng: Generator, radius: float, height: float) -> list[Mesh]:
    """A seamed tin: a rim at both ends or a drawn bottom, ribs on some, a plastic lid on some."""
    lip = rng.uniform(0.0018, 0.0032)
    inset = rng.uniform(0.0008, 0.0018)
    drawn = height < 0.065 and rng.random() < 0.5
    ys = np.linspace(lip, height - lip, 34)
    r = np.full_like(ys, radius - inset)
    if rng.random() < 0.45 and not drawn:
        ribs = np.sin(2 * np.pi * ys / rng.uniform(0.006, 0.012))
        low, high = rng.uniform([0.1, 0.6], [0.35, 0.9])
        r = r - rng.uniform(0.0003, 0.0008) * (1 + ribs) * ((ys > low * height) & (ys < high * height))
    if drawn:
        bend = rng.uniform(0.003, 0.006)
        corner = np.linspace(-90, 0, 5)[:, None] * np.pi / 180
        curve = np.concatenate([r[0] - bend + bend * np.cos(corner), bend + bend * np.sin(corner)], axis=1)
        foot = lathe(np.concatenate([[[0, 0.001], [r[0] - bend - 0.004, 0.001]], curve]), 1, 44)
        r, ys = r[ys > bend], ys[ys > bend]
        r, ys = np.concatenate([[r[0]], r]), np.concatenate([[bend], ys])
    else:
        foot = lathe(
            [[0, 0.003], [radius - 0.003, 0.003], [radius - 0.003, 0], [radius, 0], [radius, lip], [r[0], lip]], 1, 44
        )
    body = lathe(np.stack([r, ys], axis=1), 0, 44)
    if rng.random() < (0.5 if height > 0.12 else 0.08):
        # A plastic lid slips over the rim; it is part 2.
        drop = rng.uniform(0.004, 0.010)
        over = radius + 0.0008
        lid = [[over - 0.001, height - drop], [over, height - drop], [over, height], [over - 0.002, height + 0.001]]
        lid += [[radius - 0.005, height + 0.001], [radius - 0.006, height - 0.001], [0, height - 0.001]]
        return [foot, body, lathe(lid, 2, 44)]
    depth = rng.uniform(0.003, 0.006)
    lid = [[r[-1], height - lip], [radius, height - lip], [radius, height], [radius - 0.002, height]]
    lid += [[radius - 0.003, height - depth], [radius * 0.86, height - depth], [radius * 0.84, height - depth - 0.001]]
    lid += [[radius * 0.7, height - depth - 0.001], [radius * 0.68, height - depth], [0, height - depth]]
    return [foot, body, lathe(lid, 1, 44)]


def can(rng: Generator) -> Mesh:
    """Parts: 0 printed body, 1 metal ends, 2 plastic lid."""
    kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    radius, height = {
        "drink": (clipped_normal(rng, 0.033, 0.001, 0.031, 0.0375), clipped_normal(rng, 0.122, 0.012, 0.10, 0.17)),
        "slim": (clipped_normal(rng, 0.0285, 0.0015, 0.026, 0.032), clipped_normal(rng, 0.145, 0.015, 0.11, 0.17)),
        "food": (clipped_normal(rng, 0.036, 0.003, 0.030, 0.044), clipped_normal(rng, 0.105, 0.012, 0.075, 0.13)),
        "squat": (rng.uniform(0.035, 0.052), rng.uniform(0.032, 0.062)),
        "wide": (rng.uniform(0.043, 0.056), rng.uniform(0.09, 0.15)),
        "tall": (rng.uniform(0.030, 0.042), rng.uniform(0.14, 0.235)),
    }[kind]
    parts = _drink(rng, radius, height) if kind in ("drink", "slim") else _tin(rng, radius, height)
    top = max(float(part.vertices[:, 1].max()) for part in parts)
    lidded = any((part.parts == 2).any() for part in parts)
    if not lidded and (kind in ("drink", "slim") or rng.random() < 0.45):
        length = min(0.020, radius * 0.6)
        tab = rounded_box([length, 0.0014, 0.012], 0.0006, 1, 2)
        parts.append(tab.moved(None, [radius * (0.18 if kind in ("drink", "slim") else 0.55), top - 0.003, 0.0]))
    return join(parts, "print", "metal", "plastic").centred()
