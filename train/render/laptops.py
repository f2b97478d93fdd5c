# SPDX-License-Identifier: Apache-2.0
"""Parametric laptops: base +x, lid -x, hinge along z, y up; the origin is the centre of the tight box."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, clipped_normal, join, lathe, panel, rotation_about, rounded_box
from train.render.sweeps import extrude, rounded_rectangle


def laptop(rng: Generator) -> Mesh:
    """Parts: 0 base, 1 keyboard, 2 touch pad, 3 screen, 4 lid back, 5 bezel, 6 hinge, 7 webcam and feet."""
    width = clipped_normal(rng, 0.325, 0.030, 0.24, 0.395)
    depth = width * rng.uniform(0.62, 0.74)
    thin = rng.random() < 0.55
    base_t = rng.uniform(0.008, 0.014) if thin else rng.uniform(0.014, 0.030)
    lid_t = rng.uniform(0.0035, 0.007) if thin else rng.uniform(0.006, 0.012)
    angle = np.radians(rng.uniform(60, 150) if rng.random() < 0.35 else clipped_normal(rng, 106, 12, 75, 140))
    corner = rng.uniform(0.003, 0.016)
    bevel = min(base_t * rng.uniform(0.08, 0.3), 0.7 * corner)
    outline = rounded_rectangle(depth, width, corner)
    base = extrude(outline, base_t, 0, bevel).moved(None, [depth / 2, -base_t, 0])
    key_w, key_d = width * rng.uniform(0.82, 0.94), depth * rng.uniform(0.38, 0.50)
    key_x = depth * rng.uniform(0.10, 0.17) + key_d / 2
    # The user sits at +x and looks towards -x, so their right is -z and "up" on the keyboard is -x.
    keyboard = panel([key_x, 0.0006, 0], [0, 0, -key_w], [-key_d, 0, 0], 1)
    pad_w = width * rng.uniform(0.22, 0.42)
    pad_d = min(depth * rng.uniform(0.20, 0.30), (depth - key_x - key_d / 2) * 0.9)
    pad_x = (key_x + key_d / 2 + depth) / 2
    pad = panel([pad_x, 0.0006, rng.uniform(-0.05, 0.05) * width], [0, 0, -pad_w], [-pad_d, 0, 0], 2)
    # The lid is built closed (along +x from the hinge, inner face towards -y), then rotated open.
    lid = extrude(outline, lid_t, 4, min(bevel, 0.4 * lid_t)).moved(None, [depth / 2, 0, 0])
    side = width * rng.uniform(0.010, 0.035)
    chin = width * rng.uniform(0.02, 0.07)
    brow = width * rng.uniform(0.015, 0.04)
    bezel = panel([depth / 2, -0.0004, 0], [0, 0, -width + 2 * bevel + 0.004], [depth - 2 * bevel - 0.004, 0, 0], 5)
    screen = panel([(chin + depth - brow) / 2, -0.0008, 0], [0, 0, -width + 2 * side], [depth - chin - brow, 0, 0], 3)
    webcam = rounded_box([0.004, 0.0012, 0.004 if rng.random() < 0.6 else 0.02], 0.0005, 7, 1)
    webcam = webcam.moved(None, [depth - brow / 2, -0.0004, 0])
    opened = rotation_about("z", angle)
    hinge_r = rng.uniform(0.003, max(0.0045, base_t * 0.35))
    reach = rng.uniform(0.3, 0.46)
    spans = [(-reach, reach)] if rng.random() < 0.55 else [(-reach, -reach + 0.09), (reach - 0.09, reach)]
    sideways = rotation_about("x", np.pi / 2)
    hinges = [
        lathe([[0, width * a], [hinge_r, width * a], [hinge_r, width * b], [0, width * b]], 6, 14).moved(sideways)
        for a, b in spans
    ]
    shift = [-lid_t * 0.2, 0.002, 0]
    lid_parts = [lid, bezel, screen, webcam]
    parts = [base, keyboard, pad, *hinges, *(piece.moved(opened, shift) for piece in lid_parts)]
    if rng.random() < 0.4:
        foot = rounded_box([0.012, 0.003, 0.012], 0.001, 7, 1)
        parts += [
            foot.moved(None, [x * depth, -base_t - 0.0010, z * width]) for x in (0.08, 0.92) for z in (-0.42, 0.42)
        ]
    shell = str(rng.choice(["metal", "plastic"]))
    return join(parts, shell, "keyboard", shell, "screen", shell, "plastic", "plastic", "rubber").centred()
