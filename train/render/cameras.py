# SPDX-License-Identifier: Apache-2.0
"""Parametric cameras: lens +x, width along z, y up; the origin is the centre of the tight box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, clipped_normal, join, lathe, panel, rotation_about, rounded_box
from train.render.sweeps import extrude, rounded_rectangle

_KINDS = {"dslr": 0.42, "mirrorless": 0.25, "compact": 0.23, "action": 0.10}


@dataclass(frozen=True)
class _Body:
    """Sizes shared by the parts of one camera, metres; ``lens_z``: position of the lens across the body."""

    kind: str
    width: float
    height: float
    depth: float
    band: float
    lens_z: float

    @property
    def front(self) -> float:
        return self.depth / 2

    @property
    def top(self) -> float:
        return self.height / 2


def _sample_body(rng: Generator) -> _Body:
    kind = str(rng.choice(list(_KINDS), p=list(_KINDS.values())))
    width = {
        "dslr": clipped_normal(rng, 0.137, 0.011, 0.115, 0.165),
        "mirrorless": clipped_normal(rng, 0.118, 0.009, 0.10, 0.14),
        "compact": clipped_normal(rng, 0.103, 0.008, 0.085, 0.12),
        "action": rng.uniform(0.055, 0.078),
    }[kind]
    ratio = {"dslr": (0.52, 0.68), "mirrorless": (0.48, 0.60), "compact": (0.50, 0.64), "action": (0.62, 0.80)}[kind]
    depth = {"dslr": (0.038, 0.056), "mirrorless": (0.026, 0.040), "compact": (0.016, 0.032), "action": (0.018, 0.032)}
    height = width * rng.uniform(*ratio)
    lens_z = -width * (rng.uniform(0.18, 0.28) if kind == "action" else rng.uniform(-0.02, 0.12))
    return _Body(kind, width, height, rng.uniform(*depth[kind]), height * rng.uniform(0.14, 0.28), lens_z)


def _dial(radius: float, height: float, part: int = 6) -> Mesh:
    return lathe([[radius, 0], [radius, height], [radius - 0.001, height + 0.001], [0, height + 0.001]], part, 24)


def _shell(rng: Generator, body: _Body) -> list[Mesh]:
    """The body: leather below, trim above, rounded in plan or along its edges."""
    low, high = body.height - body.band, body.band + 0.008
    if body.kind in ("compact", "mirrorless") and rng.random() < 0.6:
        # Round ends in plan, as on compact and range-finder cameras.
        outline = rounded_rectangle(body.depth, body.width, body.depth * rng.uniform(0.2, 0.48))
        bevel = rng.uniform(0.001, 0.003)
        return [
            extrude(outline, low, 0, bevel).moved(None, [0, -body.top, 0]),
            extrude(outline * 0.985, high, 1, bevel).moved(None, [0, body.top - high, 0]),
        ]
    radius = rng.uniform(0.003, 0.010)
    return [
        rounded_box([body.depth, low, body.width], radius, 0).moved(None, [0, -body.band / 2, 0]),
        rounded_box([body.depth * 0.97, high, body.width * 0.985], radius, 1).moved(None, [0, body.top - high / 2, 0]),
    ]


def _grip(rng: Generator, body: _Body) -> list[Mesh]:
    """The grip under the photographer's right hand: +z when the lens looks along +x."""
    reach = body.depth * (rng.uniform(0.4, 0.8) if body.kind == "dslr" else rng.uniform(0.15, 0.5))
    wide = body.width * rng.uniform(0.17, 0.26)
    grip = rounded_box([reach + 0.012, body.height * rng.uniform(0.84, 0.97), wide], min(reach, wide) * 0.45, 0)
    button = lathe([[0.007, 0], [0.007, 0.003], [0.0055, 0.004], [0, 0.004]], 6, 20)
    return [
        grip.moved(None, [body.front + reach / 2 - 0.006, -body.height * 0.02, body.width / 2 - wide / 2 - 0.001]),
        button.moved(None, [body.front * 0.7, body.top + 0.001, body.width / 2 - wide * 0.55]),
    ]


def _prism(rng: Generator, body: _Body) -> list[Mesh]:
    """The prism housing with hot shoe, eyepiece and name plate; some with an external or a raised built-in flash."""
    wide, tall = body.width * rng.uniform(0.28, 0.40), rng.uniform(0.012, 0.028)
    top, z = body.top, body.lens_z
    deep = body.depth * rng.uniform(0.85, 1.15)
    # A trapezium seen from the front, extruded along the optical axis.
    slope = rng.uniform(0.55, 0.9)
    outline = np.array([[-0.008, -0.5], [tall, -0.5 * slope], [tall, 0.5 * slope], [-0.008, 0.5]]) * [1.0, wide]
    hump = extrude(outline, deep, 1, 0.003).moved(rotation_about("z", np.pi / 2))
    hump = hump.moved(None, [0.002 + deep / 2, top, z])
    shoe = rounded_box([0.018, 0.004, 0.02], 0.001, 6, 1).moved(None, [-0.004, top + tall + 0.001, z])
    eyepiece = rounded_box([0.012, 0.016, 0.026], 0.004, 2).moved(None, [-body.front - 0.002, top + tall * 0.3, z])
    plate = panel([0.0026 + deep / 2, top + tall * 0.4, z], [0, 0, -wide * 0.5 * slope], [0, tall * 0.45, 0], 5)
    parts = [hump, shoe, eyepiece, plate]
    chance = rng.random()
    if chance < 0.08:  # an external flash
        foot = rounded_box([0.024, 0.03, 0.03], 0.004, 2).moved(None, [0, top + tall + 0.016, z])
        high = top + tall + rng.uniform(0.04, 0.06)
        head = rounded_box([0.06, 0.034, 0.058], 0.006, 2).moved(None, [0.01, high, z])
        parts += [foot, head, panel([0.0402, high, z], [0, 0, -0.05], [0, 0.026, 0], 5)]
    elif chance < 0.16:  # a built-in flash, raised
        high = top + tall + rng.uniform(0.012, 0.022)
        arm = rounded_box([0.008, 0.03, wide * 0.6], 0.002, 1).moved(None, [body.front * 0.6, high - 0.008, z])
        head = rounded_box([0.018, 0.012, wide * 0.75], 0.003, 1).moved(None, [body.front * 0.8, high + 0.006, z])
        parts += [arm, head]
    return parts


def _front_trim(rng: Generator, body: _Body) -> list[Mesh]:
    """View-finder window, name and flash of a camera without a prism."""
    front, y, width = body.front, body.top - body.band * 0.5, body.width
    name = panel([front + 0.0006, y, width * 0.24], [0, 0, -width * 0.22], [0, body.band * 0.5, 0], 5)
    parts = [name]
    tall = min(0.013, body.band * 0.8)
    if rng.random() < 0.6:
        frame = rounded_box([0.004, tall, 0.018], 0.002, 6, 1).moved(None, [front - 0.001, y, -width * 0.34])
        parts += [frame, panel([front + 0.0012, y, -width * 0.34], [0, 0, -0.014], [0, tall * 0.7, 0], 3)]
    if rng.random() < 0.65:
        flash = rounded_box([0.004, tall * 0.8, rng.uniform(0.012, 0.026)], 0.002, 5, 1)
        parts.append(flash.moved(None, [front - 0.001, y, width * rng.uniform(-0.22, 0.05)]))
    return parts


def _lens_size(rng: Generator, body: _Body) -> tuple[float, float]:
    """Radius and length of the barrel."""
    share = {"dslr": (0.34, 0.50), "mirrorless": (0.36, 0.50), "compact": (0.26, 0.42), "action": (0.20, 0.30)}
    radius = body.height * rng.uniform(*share[body.kind])
    chance = rng.random()
    if body.kind == "dslr":
        length = rng.uniform(0.10, 0.17) if chance < 0.22 else rng.uniform(0.04, 0.095)
    elif body.kind == "mirrorless":
        length = rng.uniform(0.018, 0.035) if chance < 0.35 else rng.uniform(0.03, 0.085)
    elif body.kind == "compact":
        length = rng.uniform(0.004, 0.012) if chance < 0.45 else rng.uniform(0.012, 0.038)
    else:
        length = rng.uniform(0.003, 0.009)
    return radius, length


def _lens(rng: Generator, radius: float, length: float) -> Mesh:
    """A barrel along +y from y = 0 with steps, focus rings, a recessed front and curved glass."""
    step = rng.uniform(0.80, 1.08) if length > 0.03 else rng.uniform(0.82, 0.97)
    cut = rng.uniform(0.3, 0.65) * length
    end = radius * step
    inner = end * rng.uniform(0.62, 0.86)
    edge = min(0.002, length * 0.2)
    depth = min(rng.uniform(0.002, 0.010), length * 0.6)
    barrel = [[radius * 0.95, 0], [radius, 2 * edge], [radius, cut - edge], [end, cut + edge], [end, length - edge]]
    barrel += [[end - edge, length], [inner + 0.001, length]]
    cone = [[inner + 0.001, length], [inner, length - 0.0005], [inner * 0.85, length - depth]]
    bulge = np.linspace(1, 0, 6)
    glass = np.stack([inner * 0.86 * bulge, length - depth - 0.0005 + 0.2 * depth * (1 - bulge**2)], axis=1)
    parts = [lathe(barrel, 2, 40), lathe(cone, 6, 40), lathe(glass, 3, 32)]
    if length > 0.016:
        for y, r in ((rng.uniform(0.10, 0.2), radius), (rng.uniform(0.70, 0.76), end)):
            low, high = y * length, (y + rng.uniform(0.08, 0.2)) * length
            ring = [[r * 0.98, low], [r + 0.0014, low + 0.0005], [r + 0.0014, high], [r * 0.98, high + 0.0005]]
            parts.append(lathe(ring, 0, 40))
        parts.append(lathe([[end + 0.0006, length * 0.93], [end + 0.0006, length * 0.96]], 5, 40))
    if length > 0.03 and rng.random() < 0.25:  # a hood
        far, wide = length + rng.uniform(0.015, 0.035), end * rng.uniform(1.05, 1.3)
        hood = [[end * 1.01, length - 0.006], [end * 1.03, length - 0.006], [wide, far], [wide - 0.0015, far]]
        parts.append(lathe([*hood, [end * 0.99, length]], 2, 40))
    return join(parts)


def camera(rng: Generator) -> Mesh:
    """Parts: 0 leather, 1 trim, 2 lens barrel, 3 glass, 4 screen, 5 plate, 6 dials."""
    body = _sample_body(rng)
    parts = _shell(rng, body)
    if body.kind in ("dslr", "mirrorless") or (body.kind == "compact" and rng.random() < 0.4):
        parts += _grip(rng, body)
    if body.kind == "action":
        button = _dial(0.006, 0.001).moved(None, [0, body.top, body.width * 0.2])
        parts.append(button)
    else:
        radius = min(rng.uniform(0.006, 0.011), body.depth * 0.45)
        for z in [0.30, -0.38] if rng.random() < 0.5 else [0.24]:
            parts.append(_dial(radius, rng.uniform(0.003, 0.007)).moved(None, [0, body.top - 0.001, body.width * z]))
    if body.kind == "dslr" or (body.kind == "mirrorless" and rng.random() < 0.45):
        parts += _prism(rng, body)
    elif body.kind != "action":
        parts += _front_trim(rng, body)
    if body.kind == "dslr" and rng.random() < 0.12:  # a battery grip below
        tall = rng.uniform(0.025, 0.038)
        box = rounded_box([body.depth * 1.05, tall, body.width * 0.97], 0.006, 0)
        parts.append(box.moved(None, [0.002, -body.top - tall / 2 + 0.004, 0]))
    radius, length = _lens_size(rng, body)
    y = body.height * (rng.uniform(0.05, 0.2) if body.kind == "action" else rng.uniform(-0.07, 0.02))
    y = float(np.clip(y, radius - body.height / 2 - 0.004, body.height / 2 - radius))
    lens = _lens(rng, radius, length)
    parts.append(lens.moved(rotation_about("z", -np.pi / 2), [body.front - 0.001, y, body.lens_z]))
    large = body.kind in ("compact", "action")
    screen_w = body.width * (rng.uniform(0.55, 0.72) if large else rng.uniform(0.48, 0.6))
    screen_h = body.height * (rng.uniform(0.62, 0.78) if large else rng.uniform(0.52, 0.66))
    back, low = -body.front, -body.height * 0.07
    z = 0.0 if body.kind == "action" else -body.width * 0.12
    parts.append(panel([back - 0.0006, low, z], [0, 0, screen_w], [0, screen_h, 0], 4))
    if body.kind != "action":
        pad = lathe([[0.010, 0], [0.010, 0.002], [0.008, 0.003], [0.005, 0.002], [0, 0.002]], 6, 24)
        rotated = rotation_about("z", np.pi / 2)
        parts.append(pad.moved(rotated, [back, low, body.width * 0.35]))
        small = lathe([[0.003, 0], [0.003, 0.0012], [0, 0.0015]], 6, 12)
        for dy in (0.30, -0.36):
            parts.append(small.moved(rotated, [back, low + dy * body.height, body.width * 0.34]))
    return join(parts, "leather", "plastic", "plastic", "glass", "screen", "print", "plastic").centred()
