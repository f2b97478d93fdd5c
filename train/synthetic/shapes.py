# SPDX-License-Identifier: Apache-2.0
"""Parametric instances of the six NOCS categories.

Axes: y up; mug handle +x; camera lens +x, width along z; laptop base +x, lid -x, hinge along z. The origin is the
centre of the tight axis-aligned box for every category, also for mugs (handle included), as in NOCS's own CAMERA
labels; relabelled sets that centre mugs on the body axis differ from this by the handle's reach.

Parts number the materials of an object; :data:`HANDLE_PART` is the mug's handle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from train.synthetic.meshes import Array, Mesh, join, lathe, panel, rotation_about, rounded_box, tube

HANDLE_PART = 2
Shape = Callable[[Generator], Mesh]


def _normal(rng: Generator, mean: float, sigma: float, low: float, high: float) -> float:
    return float(np.clip(rng.normal(mean, sigma), low, high))


def _arc(centre: tuple[float, float], radius: tuple[float, float], start: float, stop: float, n: int = 7) -> Array:
    """Points (n, 2) of an elliptic arc, angles in degrees."""
    angle = np.radians(np.linspace(start, stop, n))
    return np.stack([centre[0] + radius[0] * np.cos(angle), centre[1] + radius[1] * np.sin(angle)], axis=1)


def bottle(rng: Generator) -> Mesh:
    """Parts: 0 body, 1 label, 2 cap."""
    height = _normal(rng, 0.22, 0.035, 0.14, 0.30)
    slim = rng.uniform(0.25, 0.40)
    radius = float(np.clip(height * slim / 2, 0.024, 0.045))
    cap_height = height * rng.uniform(0.06, 0.12)
    neck = radius * rng.uniform(0.30, 0.55)
    neck_length = height * rng.uniform(0.03, 0.22)
    shoulder = height * rng.uniform(0.08, 0.22)
    top = height - cap_height
    waist = rng.uniform(0.0, 0.12) if rng.random() < 0.35 else 0.0
    taper = rng.uniform(0.9, 1.0) if rng.random() < 0.3 else 1.0
    body_top = top - neck_length - shoulder
    bevel = radius * rng.uniform(0.08, 0.25)
    ys = np.linspace(bevel, body_top, 12)
    t = (ys - bevel) / (body_top - bevel)
    body_r = radius * (1 - (1 - taper) * t) * (1 - waist * np.sin(np.pi * t) ** 2)
    ease = np.linspace(0, 1, 9)[1:]
    power = rng.uniform(0.7, 1.6)
    curve = (0.5 + 0.5 * np.cos(np.pi * ease)) ** power
    profile = np.concatenate(
        [
            [[0, 0], [radius - bevel, 0]],
            _arc((radius - bevel, bevel), (bevel, bevel), -90, 0, 5)[1:-1],
            np.stack([body_r, ys], axis=1),
            np.stack([neck + (body_r[-1] - neck) * curve, body_top + shoulder * ease], axis=1),
            [[neck, top]],
        ]
    )
    parts = [lathe(profile, 0)]
    if rng.random() < 0.85:
        low, high = sorted(rng.uniform([0.08, 0.6], [0.35, 0.95]))
        ts = np.linspace(low, high, 8)
        label_r = np.interp(ts, t, body_r) + 0.0004
        parts.append(lathe(np.stack([label_r, bevel + ts * (body_top - bevel)], axis=1), 1))
    cap_r = neck * rng.uniform(1.08, 1.35)
    nozzle = rng.random() < 0.25
    cap = [[neck * 0.5, top - 0.001], [cap_r, top - 0.001]]
    if nozzle:
        cap += [[cap_r, top + cap_height * 0.35], [cap_r * 0.4, top + cap_height * 0.5]]
        cap += [[cap_r * 0.3, height], [0, height]]
    else:
        cap += [[cap_r, height - 0.0015], [cap_r - 0.0015, height], [0, height]]
    parts.append(lathe(cap, 2, 32))
    return join(parts).centred()


def bowl(rng: Generator) -> Mesh:
    """Parts: 0 outside, 1 inside, 3 rim."""
    radius = _normal(rng, 0.074, 0.013, 0.055, 0.10)
    height = radius * 2 * rng.uniform(0.32, 0.56)
    wall = rng.uniform(0.002, 0.005)
    foot = radius * rng.uniform(0.38, 0.6)
    foot_height = rng.uniform(0.0, 0.008)
    power = rng.uniform(0.35, 0.75)
    flare = rng.uniform(0.0, 0.012) if rng.random() < 0.4 else 0.0
    t = np.linspace(0, 1, 16)
    lip = flare * np.clip((t - 0.8) / 0.2, 0, 1) ** 2
    outer_r = foot + (radius - flare - foot) * t**power + lip
    outer = np.stack([outer_r, foot_height + (height - foot_height) * t], axis=1)
    inner_r = np.maximum(outer_r - wall, 0.001)
    inner = np.stack([inner_r, outer[:, 1] + wall * (1 - t)], axis=1)[::-1]
    bottom = [[0, foot_height * 0.6], [foot - 0.004, foot_height * 0.6], [foot - 0.004, 0], [foot, 0]]
    rim = _arc(((outer_r[-1] + inner_r[-1]) / 2, height), (wall / 2, wall / 2), 0, 180, 5)
    return join(
        [
            lathe(np.concatenate([np.array(bottom), outer]), 0, 48),
            lathe(rim, 3, 48),
            lathe(np.concatenate([inner, [[0, inner[-1, 1]]]]), 1, 48),
        ]
    ).centred()


def can(rng: Generator) -> Mesh:
    """Parts: 0 printed body, 1 metal ends."""
    kind = rng.choice(["drink", "slim", "food"], p=[0.5, 0.15, 0.35])
    if kind == "drink":
        radius, height = _normal(rng, 0.033, 0.001, 0.031, 0.0375), _normal(rng, 0.122, 0.012, 0.10, 0.17)
    elif kind == "slim":
        radius, height = _normal(rng, 0.030, 0.0008, 0.03, 0.032), _normal(rng, 0.15, 0.012, 0.13, 0.17)
    else:
        radius, height = _normal(rng, 0.0365, 0.0015, 0.032, 0.0375), _normal(rng, 0.107, 0.010, 0.09, 0.13)
    if kind == "food":
        lip = 0.002
        ribs = rng.random() < 0.5
        ys = np.linspace(lip, height - lip, 30)
        r = radius - 0.0012 - 0.0006 * float(ribs) * (1 + np.sin(ys / height * 60))
        bottom = lathe([[0, 0.003], [radius - 0.003, 0.003], [radius - 0.003, 0], [radius, 0], [radius, lip], [r[0], lip]], 1)
        body = lathe(np.stack([r, ys], axis=1), 0, 44)
        lid = [[r[-1], height - lip], [radius, height - lip], [radius, height], [radius - 0.003, height]]
        lid += [[radius - 0.003, height - 0.004], [radius * 0.8, height - 0.004], [radius * 0.78, height - 0.005], [0, height - 0.005]]
    else:
        neck = radius - rng.uniform(0.004, 0.006)
        slope = rng.uniform(0.010, 0.016)
        bottom = lathe([[0, 0.008], [neck - 0.006, 0.003], [neck - 0.002, 0], [neck, 0.001], [radius, 0.010]], 1, 44, 60)
        body = lathe([[radius, 0.010], [radius, 0.011], [radius, height - slope - 0.003], [neck, height - 0.003]], 0, 44, 60)
        lid = [[neck, height - 0.003], [neck + 0.001, height - 0.001], [neck, height], [neck - 0.003, height]]
        lid += [[neck - 0.005, height - 0.005], [0, height - 0.004]]
    parts = [bottom, body, lathe(lid, 1, 44)]
    if kind != "food" or rng.random() < 0.4:
        tab_y = height - 0.0042
        tab = rounded_box([0.020, 0.0014, 0.012], 0.0006, 1, 2)
        parts.append(tab.moved(None, [0.006, tab_y + 0.0012, 0.0]))
    return join(parts).centred()


def mug(rng: Generator) -> Mesh:
    """Parts: 0 outside, 1 inside, 2 handle, 3 drink."""
    height = _normal(rng, 0.097, 0.008, 0.08, 0.12)
    radius = float(np.clip(height * rng.normal(0.425, 0.035), 0.034, 0.05))
    wall = rng.uniform(0.0025, 0.005)
    base = radius * (rng.uniform(0.68, 0.95) if rng.random() < 0.4 else rng.uniform(0.95, 1.0))
    belly = rng.uniform(-0.06, 0.10) if rng.random() < 0.4 else 0.0
    bevel = rng.uniform(0.002, 0.010)
    t = np.linspace(0, 1, 14)
    ys = bevel + (height - bevel) * t
    outer_r = base + (radius - base) * t ** rng.uniform(0.6, 1.2) + belly * radius * np.sin(np.pi * t)
    start = outer_r[0]
    outer = np.concatenate(
        [
            [[0, 0.002], [start - bevel - 0.004, 0.002], [start - bevel - 0.003, 0], [start - bevel, 0]],
            _arc((start - bevel, bevel), (bevel, bevel), -90, 0, 5)[1:-1],
            np.stack([outer_r, ys], axis=1),
        ]
    )
    rim = _arc((outer_r[-1] - wall / 2, height), (wall / 2, wall / 2), 0, 180, 5)
    inner = np.stack([outer_r - wall, ys], axis=1)[::-1]
    floor = 0.006
    inner = inner[inner[:, 1] > floor + 0.004]
    inner = np.concatenate([inner, [[inner[-1, 0] - 0.004, floor], [0, floor]]])
    parts = [lathe(outer, 0, 44), lathe(rim, 1, 44), lathe(inner, 1, 44)]

    reach = rng.uniform(0.022, 0.036)
    top, bottom = height * rng.uniform(0.78, 0.90), height * rng.uniform(0.14, 0.34)
    roundness = rng.uniform(1.6, 4.0)
    angle = np.linspace(np.pi / 2, -np.pi / 2, 22)
    cx = np.abs(np.cos(angle)) ** (2 / roundness)
    sy = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / roundness)
    y = (top + bottom) / 2 + sy * (top - bottom) / 2
    droop = rng.uniform(-0.15, 0.35)
    wall_x = np.interp(y, ys, outer_r) - wall * 0.6
    x = wall_x + (reach + wall * 0.6) * cx * (1 + droop * (sy - 1) * 0.25)
    thick = rng.uniform(0.0032, 0.0055)
    across = thick * rng.uniform(1.0, 2.0)
    swell = 1 + 0.35 * (1 - cx)
    parts.append(tube(np.stack([x, y, np.zeros_like(x)], axis=1), across * swell, thick * swell, HANDLE_PART, 12))
    if rng.random() < 0.4:
        level = height * rng.uniform(0.5, 0.88)
        parts.append(lathe([[np.interp(level, ys, outer_r) - wall * 0.9, level], [0, level]], 3, 32))
    return join(parts).centred()


def camera(rng: Generator) -> Mesh:
    """Parts: 0 body leather, 1 plastic or metal trim, 2 lens barrel, 3 glass, 4 back screen, 5 name plate, 6 dials."""
    kind = rng.choice(["dslr", "mirrorless", "compact"], p=[0.45, 0.3, 0.25])
    width = {"dslr": _normal(rng, 0.132, 0.008, 0.115, 0.15), "mirrorless": _normal(rng, 0.118, 0.008, 0.10, 0.135)}.get(
        kind, _normal(rng, 0.102, 0.006, 0.09, 0.115)
    )
    body_h = width * {"dslr": rng.uniform(0.52, 0.62), "mirrorless": rng.uniform(0.50, 0.58)}.get(kind, rng.uniform(0.52, 0.62))
    body_d = {"dslr": rng.uniform(0.038, 0.052), "mirrorless": rng.uniform(0.028, 0.038)}.get(kind, rng.uniform(0.022, 0.030))
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
    for z in ([0.30, -0.38] if rng.random() < 0.5 else [0.24]):
        dial = lathe([[dial_r, 0], [dial_r, 0.006], [dial_r - 0.001, 0.007], [0, 0.007]], 6, 24)
        parts.append(dial.moved(None, [-front * 0.2, top + 0.002, width * z]))
    lens_z = -width * rng.uniform(0.0, 0.10)
    if kind == "dslr" or (kind == "mirrorless" and rng.random() < 0.4):
        hump_w, hump_h = width * rng.uniform(0.30, 0.38), rng.uniform(0.016, 0.026)
        hump = rounded_box([body_d * rng.uniform(0.85, 1.1), hump_h + 0.016, hump_w], 0.008, 1)
        parts.append(hump.moved(None, [0.002, top + hump_h / 2 - 0.008, lens_z]))
        shoe = rounded_box([0.018, 0.004, 0.02], 0.001, 6, 1)
        parts.append(shoe.moved(None, [-0.004, top + hump_h + 0.001, lens_z]))
        eyepiece = rounded_box([0.012, 0.016, 0.024], 0.004, 2).moved(None, [-front - 0.002, top + hump_h * 0.25, lens_z])
        parts.append(eyepiece)
        plate = panel([front + body_d * 0.06, top + hump_h * 0.3, lens_z], [0, 0, -hump_w * 0.6], [0, hump_h * 0.5, 0], 5)
        parts.append(plate)
    else:
        window = panel([front + 0.0012, top - band * 0.45, -width * 0.34], [0, 0, -0.014], [0, 0.009, 0], 3)
        frame = rounded_box([0.004, 0.013, 0.018], 0.002, 6, 1).moved(None, [front - 0.001, top - band * 0.45, -width * 0.34])
        name = panel([front + 0.0006, top - band * 0.5, width * 0.22], [0, 0, -width * 0.22], [0, band * 0.5, 0], 5)
        parts += [window, frame, name]
        if rng.random() < 0.6:
            flash = rounded_box([0.004, 0.010, 0.022], 0.002, 3, 1)
            parts.append(flash.moved(None, [front - 0.001, top - band * 0.45, width * 0.02 - 0.03]))
    parts.append(_lens(rng, kind, body_h).moved(rotation_about("z", -np.pi / 2), [front - 0.002, -body_h * 0.04, lens_z]))
    screen_w, screen_h = width * rng.uniform(0.48, 0.6), body_h * rng.uniform(0.55, 0.68)
    parts.append(panel([-front - 0.0006, -body_h * 0.08, -width * 0.12], [0, 0, screen_w], [0, screen_h, 0], 4))
    pad = lathe([[0.011, 0], [0.011, 0.002], [0.009, 0.003], [0.005, 0.002], [0, 0.002]], 6, 24)
    parts.append(pad.moved(rotation_about("z", np.pi / 2), [-front, -body_h * 0.08, width * 0.33]))
    return join(parts).centred()


def _lens(rng: Generator, kind: str, body_h: float) -> Mesh:
    """A lens barrel along +y from y = 0, with zoom rings, a recessed front and curved glass."""
    radius = body_h * {"dslr": rng.uniform(0.42, 0.50), "mirrorless": rng.uniform(0.38, 0.48)}.get(kind, rng.uniform(0.30, 0.40))
    low, high = {"dslr": (0.045, 0.085), "mirrorless": (0.025, 0.065)}.get(kind, (0.012, 0.035))
    length = rng.uniform(low, high)
    step = rng.uniform(0.82, 0.97)
    cut = rng.uniform(0.3, 0.6) * length
    inner = radius * step * rng.uniform(0.62, 0.8)
    depth = rng.uniform(0.002, 0.006)
    barrel = [[radius * 0.95, 0], [radius, 0.004], [radius, cut - 0.002], [radius * step, cut], [radius * step, length - 0.002]]
    barrel += [[radius * step - 0.002, length], [inner + 0.001, length]]
    cone = [[inner + 0.001, length], [inner, length - 0.001], [inner * 0.85, length - depth]]
    bulge = np.linspace(1, 0, 6)
    glass = np.stack([inner * 0.86 * bulge, length - depth - 0.0005 + 0.0025 * (1 - bulge**2)], axis=1)
    ring_y = [rng.uniform(0.12, 0.25) * length, rng.uniform(0.62, 0.72) * length]
    rings = []
    for y, r in zip(ring_y, (radius, radius * step), strict=True):
        w = length * 0.2
        rings.append(lathe([[r * 0.98, y], [r + 0.0014, y + 0.0005], [r + 0.0014, y + w], [r * 0.98, y + w + 0.0005]], 0, 40))
    band = lathe([[radius * step + 0.0006, length * 0.92], [radius * step + 0.0006, length * 0.95]], 5, 40)
    return join([lathe(barrel, 2, 40), lathe(cone, 6, 40), lathe(glass, 3, 32), band, *rings])


def laptop(rng: Generator) -> Mesh:
    """Parts: 0 base, 1 keyboard, 2 touch pad, 3 screen, 4 lid back, 5 bezel, 6 hinge."""
    width = _normal(rng, 0.325, 0.028, 0.25, 0.38)
    depth = width * rng.uniform(0.64, 0.73)
    base_t, lid_t = rng.uniform(0.010, 0.020), rng.uniform(0.005, 0.009)
    angle = np.radians(_normal(rng, 104, 11, 75, 125))
    base = rounded_box([depth, base_t, width], min(0.006, base_t * 0.45), 0).moved(None, [depth / 2, -base_t / 2, 0])
    key_w, key_d = width * rng.uniform(0.84, 0.94), depth * rng.uniform(0.42, 0.50)
    key_x = depth * rng.uniform(0.12, 0.17) + key_d / 2
    # The user sits at +x and looks towards -x, so their right is -z and "up" on the keyboard is -x.
    keyboard = panel([key_x, 0.0006, 0], [0, 0, -key_w], [-key_d, 0, 0], 1)
    pad_w, pad_d = width * rng.uniform(0.26, 0.40), depth * rng.uniform(0.22, 0.29)
    pad_x = (key_x + key_d / 2 + depth) / 2
    pad = panel([pad_x, 0.0006, 0], [0, 0, -pad_w], [-pad_d, 0, 0], 2)
    # Lid built closed-side down: it lies along +x from the hinge, its inner face towards -y, then turned open.
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


SHAPES: dict[str, Shape] = {
    "bottle": bottle,
    "bowl": bowl,
    "camera": camera,
    "can": can,
    "laptop": laptop,
    "mug": mug,
}
