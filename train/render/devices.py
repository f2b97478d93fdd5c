# SPDX-License-Identifier: Apache-2.0
"""Parametric cameras and laptops: things put together from boxes, panels and lathed parts.

Axes and origin as in :mod:`train.render.shapes`: y up, camera lens +x and width along z, laptop base +x,
lid -x and hinge along z; the origin is the centre of the tight box.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, clipped_normal, join, lathe, panel, rotation_about, rounded_box


def camera(rng: Generator) -> Mesh:
    """Parts: 0 leather, 1 trim, 2 lens barrel, 3 glass, 4 screen, 5 plate, 6 dials."""
    kind = rng.choice(["dslr", "mirrorless", "compact"], p=[0.45, 0.3, 0.25])
    width = {
        "dslr": clipped_normal(rng, 0.132, 0.008, 0.115, 0.15),
        "mirrorless": clipped_normal(rng, 0.118, 0.008, 0.10, 0.135),
    }.get(kind, clipped_normal(rng, 0.102, 0.006, 0.09, 0.115))
    body_h = width * {"dslr": rng.uniform(0.52, 0.62), "mirrorless": rng.uniform(0.50, 0.58)}.get(
        kind, rng.uniform(0.52, 0.62)
    )
    body_d = {"dslr": rng.uniform(0.038, 0.052), "mirrorless": rng.uniform(0.028, 0.038)}.get(
        kind, rng.uniform(0.022, 0.030)
    )
    radius = rng.uniform(0.004, 0.010)
    band = body_h * rng.uniform(0.16, 0.26)
    parts = [
        rounded_box([body_d, body_h - band, width], radius, 0).moved(None, [0, -band / 2, 0]),
        rounded_box([body_d * 0.97, band + 0.008, width * 0.985], radius, 1).moved(None, [0, (body_h - band) / 2, 0]),
    ]
    front, top = body_d / 2, body_h / 2
    # The grip is under the photographer's right hand: +z when the lens looks along +x.
    if kind != "compact" or rng.random() < 0.5:
        grip_d = body_d * (rng.uniform(0.45, 0.8) if kind == "dslr" else rng.uniform(0.2, 0.5))
        grip_w = width * rng.uniform(0.18, 0.26)
        grip = rounded_box([grip_d + 0.012, body_h * rng.uniform(0.86, 0.97), grip_w], min(grip_d, grip_w) * 0.45, 0)
        parts.append(grip.moved(None, [front + grip_d / 2 - 0.006, -body_h * 0.02, width / 2 - grip_w / 2 - 0.001]))
        button = lathe([[0.007, 0], [0.007, 0.003], [0.0055, 0.004], [0, 0.004]], 6, 20)
        parts.append(button.moved(None, [front * 0.7, top + 0.002, width / 2 - grip_w * 0.55]))
    dial_r = rng.uniform(0.007, 0.011)
    for z in [0.30, -0.38] if rng.random() < 0.5 else [0.24]:
        dial = lathe([[dial_r, 0], [dial_r, 0.006], [dial_r - 0.001, 0.007], [0, 0.007]], 6, 24)
        parts.append(dial.moved(None, [-front * 0.2, top + 0.002, width * z]))
    lens_z = -width * rng.uniform(0.0, 0.10)
    if kind == "dslr" or (kind == "mirrorless" and rng.random() < 0.4):
        hump_w, hump_h = width * rng.uniform(0.30, 0.38), rng.uniform(0.016, 0.026)
        hump = rounded_box([body_d * rng.uniform(0.85, 1.1), hump_h + 0.016, hump_w], 0.008, 1)
        parts.append(hump.moved(None, [0.002, top + hump_h / 2 - 0.008, lens_z]))
        shoe = rounded_box([0.018, 0.004, 0.02], 0.001, 6, 1)
        parts.append(shoe.moved(None, [-0.004, top + hump_h + 0.001, lens_z]))
        eyepiece = rounded_box([0.012, 0.016, 0.024], 0.004, 2).moved(
            None, [-front - 0.002, top + hump_h * 0.25, lens_z]
        )
        parts.append(eyepiece)
        plate = panel(
            [front + body_d * 0.06, top + hump_h * 0.3, lens_z],
            [0, 0, -hump_w * 0.6],
            [0, hump_h * 0.5, 0],
            5,
        )
        parts.append(plate)
    else:
        window = panel([front + 0.0012, top - band * 0.45, -width * 0.34], [0, 0, -0.014], [0, 0.009, 0], 3)
        frame = rounded_box([0.004, 0.013, 0.018], 0.002, 6, 1).moved(
            None, [front - 0.001, top - band * 0.45, -width * 0.34]
        )
        name = panel([front + 0.0006, top - band * 0.5, width * 0.22], [0, 0, -width * 0.22], [0, band * 0.5, 0], 5)
        parts += [window, frame, name]
        if rng.random() < 0.6:
            flash = rounded_box([0.004, 0.010, 0.022], 0.002, 3, 1)
            parts.append(flash.moved(None, [front - 0.001, top - band * 0.45, width * 0.02 - 0.03]))
    parts.append(
        _lens(rng, kind, body_h).moved(rotation_about("z", -np.pi / 2), [front - 0.002, -body_h * 0.04, lens_z])
    )
    screen_w, screen_h = width * rng.uniform(0.48, 0.6), body_h * rng.uniform(0.55, 0.68)
    parts.append(panel([-front - 0.0006, -body_h * 0.08, -width * 0.12], [0, 0, screen_w], [0, screen_h, 0], 4))
    pad = lathe([[0.011, 0], [0.011, 0.002], [0.009, 0.003], [0.005, 0.002], [0, 0.002]], 6, 24)
    parts.append(pad.moved(rotation_about("z", np.pi / 2), [-front, -body_h * 0.08, width * 0.33]))
    return join(parts).centred()


def _lens(rng: Generator, kind: str, body_h: float) -> Mesh:
    """A lens barrel along +y from y = 0, with zoom rings, a recessed front and curved glass."""
    radius = body_h * {"dslr": rng.uniform(0.42, 0.50), "mirrorless": rng.uniform(0.38, 0.48)}.get(
        kind, rng.uniform(0.30, 0.40)
    )
    low, high = {"dslr": (0.045, 0.085), "mirrorless": (0.025, 0.065)}.get(kind, (0.012, 0.035))
    length = rng.uniform(low, high)
    step = rng.uniform(0.82, 0.97)
    cut = rng.uniform(0.3, 0.6) * length
    inner = radius * step * rng.uniform(0.62, 0.8)
    depth = rng.uniform(0.002, 0.006)
    barrel = [
        [radius * 0.95, 0],
        [radius, 0.004],
        [radius, cut - 0.002],
        [radius * step, cut],
        [radius * step, length - 0.002],
    ]
    barrel += [[radius * step - 0.002, length], [inner + 0.001, length]]
    cone = [[inner + 0.001, length], [inner, length - 0.001], [inner * 0.85, length - depth]]
    bulge = np.linspace(1, 0, 6)
    glass = np.stack([inner * 0.86 * bulge, length - depth - 0.0005 + 0.0025 * (1 - bulge**2)], axis=1)
    ring_y = [rng.uniform(0.12, 0.25) * length, rng.uniform(0.62, 0.72) * length]
    rings = []
    for y, r in zip(ring_y, (radius, radius * step), strict=True):
        w = length * 0.2
        rings.append(
            lathe(
                [[r * 0.98, y], [r + 0.0014, y + 0.0005], [r + 0.0014, y + w], [r * 0.98, y + w + 0.0005]],
                0,
                40,
            )
        )
    band = lathe([[radius * step + 0.0006, length * 0.92], [radius * step + 0.0006, length * 0.95]], 5, 40)
    return join([lathe(barrel, 2, 40), lathe(cone, 6, 40), lathe(glass, 3, 32), band, *rings])


def laptop(rng: Generator) -> Mesh:
    """Parts: 0 base, 1 keyboard, 2 touch pad, 3 screen, 4 lid back, 5 bezel, 6 hinge."""
    width = clipped_normal(rng, 0.325, 0.028, 0.25, 0.38)
    depth = width * rng.uniform(0.64, 0.73)
    base_t, lid_t = rng.uniform(0.010, 0.020), rng.uniform(0.005, 0.009)
    angle = np.radians(clipped_normal(rng, 104, 11, 75, 125))
    base = rounded_box([depth, base_t, width], min(0.006, base_t * 0.45), 0).moved(None, [depth / 2, -base_t / 2, 0])
    key_w, key_d = width * rng.uniform(0.84, 0.94), depth * rng.uniform(0.42, 0.50)
    key_x = depth * rng.uniform(0.12, 0.17) + key_d / 2
    # The user sits at +x and looks towards -x, so their right is -z and "up" on the keyboard is -x.
    keyboard = panel([key_x, 0.0006, 0], [0, 0, -key_w], [-key_d, 0, 0], 1)
    pad_w, pad_d = width * rng.uniform(0.26, 0.40), depth * rng.uniform(0.22, 0.29)
    pad_x = (key_x + key_d / 2 + depth) / 2
    pad = panel([pad_x, 0.0006, 0], [0, 0, -pad_w], [-pad_d, 0, 0], 2)
    # The lid is built closed (along +x from the hinge, inner face towards -y), then turned open.
    lid = rounded_box([depth, lid_t, width], lid_t * 0.45, 4).moved(None, [depth / 2, lid_t / 2, 0])
    edge = width * rng.uniform(0.012, 0.03)
    bezel = panel([depth / 2, -0.0004, 0], [0, 0, -width + 0.006], [depth - 0.006, 0, 0], 5)
    screen_h = depth - edge * rng.uniform(2.2, 3.4)
    screen = panel([depth / 2 + edge * 0.2, -0.0008, 0], [0, 0, -width + 2 * edge], [screen_h, 0, 0], 3)
    opened = rotation_about("z", angle)
    hinge_r = rng.uniform(0.004, 0.007)
    barrel = lathe([[0, -width * 0.4], [hinge_r, -width * 0.4], [hinge_r, width * 0.4], [0, width * 0.4]], 6, 14)
    hinge = barrel.moved(rotation_about("x", np.pi / 2), [0, 0.0, 0])
    shift = [-lid_t * 0.2, 0.002, 0]
    parts = [base, keyboard, pad, hinge, *(piece.moved(opened, shift) for piece in (lid, bezel, screen))]
    return join(parts).centred()
