# SPDX-License-Identifier: Apache-2.0
"""Parametric bowls: round, straight-walled, conical, deep and shallow ones; axes as in
:mod:`train.render.shapes`."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, clipped_normal, join, lathe
from train.render.sweeps import arc


def bowl(rng: Generator) -> Mesh:
    """Parts: 0 outside, 1 inside, 2 unused, 3 rim.

    The wall is a superellipse from the foot to the rim: exponent 1 is a cone, 2 an ellipse, a
    larger one a straight wall with a rounded foot.
    """
    kind = rng.choice(
        ["round", "straight", "conical", "deep", "shallow", "flared"], p=[0.32, 0.2, 0.14, 0.12, 0.12, 0.10]
    )
    radius = clipped_normal(rng, 0.078, 0.014, 0.048, 0.118)
    ratio = {"deep": (0.55, 0.78), "shallow": (0.19, 0.32), "straight": (0.32, 0.62)}.get(str(kind), (0.32, 0.54))
    height = float(np.clip(radius * 2 * rng.uniform(*ratio), 0.03, 0.125))
    exponent = {"straight": rng.uniform(3.5, 9.0), "conical": rng.uniform(1.0, 1.25)}.get(
        str(kind), rng.uniform(1.6, 2.8)
    )
    foot = radius * {"straight": rng.uniform(0.70, 0.92), "conical": rng.uniform(0.32, 0.62)}.get(
        str(kind), rng.uniform(0.35, 0.62)
    )
    draft = rng.uniform(0.0, 0.12) if kind == "straight" else 0.0
    flare = radius * (rng.uniform(0.05, 0.16) if kind == "flared" else rng.uniform(0.0, 0.03))
    wall = float(rng.uniform(0.0008, 0.006))
    foot_height = rng.uniform(0.002, 0.012) if rng.random() < 0.6 else 0.0
    angle = np.linspace(0, np.pi / 2, 20)
    t = 1 - np.cos(angle) ** (2 / exponent)
    r = foot + (radius - flare - foot) * np.sin(angle) ** (2 / exponent)
    r = r * (1 - draft * (1 - t)) + flare * np.clip((t - 0.7) / 0.3, 0, 1) ** 2
    r *= radius / r[-1]
    outer = np.stack([r, foot_height + (height - foot_height) * t], axis=1)
    tangent = np.gradient(outer, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    offset = wall * np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    offset[-1] = [-wall, 0]
    inner = outer + offset
    inner = inner[(inner[:, 0] > 0.004) & (inner[:, 1] <= height)][::-1]
    ring = outer[0, 0]
    bottom = [[0, foot_height * 0.6], [ring - 0.004, foot_height * 0.6], [ring - 0.004, 0], [ring, 0]]
    rolled = rng.random() < 0.12
    lip = wall / 2 + (rng.uniform(0.0008, 0.002) if rolled else 0.0)
    rim = arc(
        ((outer[-1, 0] + inner[0, 0]) / 2, height),
        (lip, lip),
        -130 if rolled else 0,
        310 if rolled else 180,
        13 if rolled else 5,
    )
    surface = str(rng.choice(["ceramic", "metal", "wood", "plastic", "glass"], p=[0.56, 0.13, 0.09, 0.18, 0.04]))
    return join(
        [
            lathe(np.concatenate([np.array(bottom), outer]), 0, 48),
            lathe(rim, 3, 48),
            lathe(np.concatenate([inner, [[0, inner[-1, 1]]]]), 1, 48),
        ],
        surface,
        surface,
        surface,
        surface,
    ).centred()
