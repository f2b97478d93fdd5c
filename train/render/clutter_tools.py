# SPDX-License-Identifier: Apache-2.0
"""Distractors: hand tools, cutlery, staplers, tape, clamps, cables, batteries and pens; they lie flat, y up."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from train.render.meshes import Mesh, join, lathe, rotation_about, rounded_box
from train.render.sweeps import arc, extrude, scaled, sweep

_LYING = rotation_about("z", -np.pi / 2)  # maps the y axis of a lathed part to +x


def hammer(rng: Generator) -> Mesh:
    length, radius = rng.uniform(0.22, 0.33), rng.uniform(0.011, 0.016)
    grip = length * rng.uniform(0.3, 0.5)
    bar = [[0.0, 0.0, 0.0], [grip, 0, 0], [grip + 0.002, 0, 0], [length, 0, 0]]
    handle = sweep(bar, [radius * 1.1, radius, radius * 0.85, radius * 0.8], 0)
    rubber = sweep([[0.002, 0, 0], [grip, 0, 0]], [radius * 1.2, radius * 1.1], 1)
    head_r = rng.uniform(0.012, 0.018)
    head = sweep([[length, 0, -0.055], [length, 0, -0.03], [length, 0, 0.02]], [head_r, head_r * 0.8, head_r * 0.9], 2)
    claw = sweep([[length, 0, 0.02], [length - 0.006, 0, 0.045], [length - 0.022, 0, 0.068]], [0.010, 0.008, 0.003], 2)
    return join([handle, rubber, head, claw], str(rng.choice(["wood", "plastic"])), "rubber", "metal").centred()


def screwdriver(rng: Generator) -> Mesh:
    grip, blade = rng.uniform(0.08, 0.12), rng.uniform(0.06, 0.16)
    r = rng.uniform(0.010, 0.017)
    profile = [
        [0.0, 0],
        [r * 0.8, 0.002],
        [r, 0.012],
        [r * 0.85, grip * 0.6],
        [r, grip * 0.8],
        [r * 0.5, grip],
        [0.0, grip],
    ]
    handle = lathe(profile, 0, 12, 50).moved(_LYING)
    rod = sweep([[grip - 0.005, 0, 0], [grip + blade, 0, 0]], 0.003, 1, 10)
    tip = rounded_box([0.012, 0.0016, 0.007], 0.0005, 1, 1).moved(None, [grip + blade, 0, 0])
    return join([handle, rod, tip], "plastic", "metal").centred()


def _two_handles(rng: Generator, spread: float, length: float, radius: float, part: int) -> list[Mesh]:
    t = np.linspace(0, 1, 8)
    bow = rng.uniform(0.1, 0.4)
    z = spread * (t + bow * np.sin(np.pi * t))
    return [sweep(np.stack([-length * t, 0 * t, s * z], axis=1), radius, part, 10) for s in (-1.0, 1.0)]


def pliers(rng: Generator) -> Mesh:
    handles = _two_handles(rng, rng.uniform(0.015, 0.045), rng.uniform(0.09, 0.14), rng.uniform(0.005, 0.008), 0)
    jaw = rng.uniform(0.035, 0.06)
    outline = np.array([[-0.012, -0.012], [0.0, -0.014], [jaw, -0.004], [jaw, 0.004], [0.0, 0.014], [-0.012, 0.012]])
    plate = extrude(outline, 0.010, 1, 0.002).moved(None, [0, -0.005, 0])
    rivet = lathe([[0.006, 0], [0.006, 0.0065], [0, 0.007]], 1, 16)
    return join([*handles, plate, rivet], "plastic", "metal").centred()


def scissors(rng: Generator) -> Mesh:
    open_by = rng.uniform(0.05, 0.35)
    parts = []
    for sign in (-1.0, 1.0):
        blade = extrude(np.array([[-0.02, -0.006], [0.10, -0.0005], [0.10, 0.0005], [-0.02, 0.006]]), 0.002, 1)
        angle = np.linspace(0, 2 * np.pi, 20)
        ring = np.stack([-0.055 + 0.028 * np.cos(angle), 0 * angle, sign * 0.014 + 0.016 * np.sin(angle)], axis=1)
        loop = sweep(ring, rng.uniform(0.0035, 0.0055), 0, 8)
        rotation = rotation_about("y", sign * open_by / 2)
        parts += [blade.moved(rotation, [0, sign * 0.001, 0]), loop.moved(rotation)]
    return join(parts, "plastic", "metal").centred()


def drill(rng: Generator) -> Mesh:
    """A cordless drill on its battery: motor along x, grip down."""
    body_r = rng.uniform(0.024, 0.032)
    motor = [[0.0, 0.0], [body_r * 0.7, 0], [body_r, 0.012], [body_r, 0.085], [body_r * 0.85, 0.11], [0, 0.11]]
    chuck = [[0.0, 0.108], [0.019, 0.108], [0.021, 0.12], [0.020, 0.14], [0.011, 0.158], [0, 0.158]]
    grip_x, drop = rng.uniform(0.03, 0.045), rng.uniform(0.09, 0.12)
    grip = sweep([[grip_x, -0.01, 0], [grip_x - 0.012, -drop, 0]], [0.019, 0.017], 1, 14)
    base = rounded_box([0.085, 0.012, 0.07], 0.005, 0).moved(None, [grip_x - 0.005, -drop - 0.004, 0])
    pack = rounded_box([0.08, rng.uniform(0.025, 0.045), 0.065], 0.006, 1).moved(
        None, [grip_x - 0.005, -drop - 0.026, 0]
    )
    trigger = rounded_box([0.014, 0.028, 0.012], 0.004, 2).moved(None, [grip_x + 0.02, -0.043, 0])
    bit = sweep([[0.155, 0, 0], [0.155 + rng.uniform(0.02, 0.07), 0, 0]], 0.003, 2, 8)
    parts = [lathe(motor, 0, 28).moved(_LYING), lathe(chuck, 1, 24).moved(_LYING), grip, base, pack, trigger, bit]
    return join(parts, "plastic", "rubber", "metal").centred()


def clamp(rng: Generator) -> Mesh:
    """A spring clamp: two arms that meet at the jaws, a spring between the handles."""
    handles = _two_handles(rng, rng.uniform(0.03, 0.05), rng.uniform(0.06, 0.09), rng.uniform(0.007, 0.010), 0)
    t = np.linspace(0, 1, 8)
    bow = rng.uniform(0.018, 0.035)
    jaws = [
        sweep(np.stack([0.09 * t, 0 * t, s * bow * np.sin(np.pi * (0.15 + 0.85 * t))], axis=1), 0.008, 0, 10)
        for s in (-1.0, 1.0)
    ]
    tips = [rounded_box([0.024, 0.016, 0.010], 0.003, 1).moved(None, [0.085, 0, s * 0.008]) for s in (-1.0, 1.0)]
    hinge = lathe([[0, -0.014], [0.013, -0.014], [0.013, 0.014], [0, 0.014]], 1, 20)
    return join([*handles, *jaws, *tips, hinge], "plastic", str(rng.choice(["rubber", "plastic", "metal"]))).centred()


def wrench(rng: Generator) -> Mesh:
    length, wide = rng.uniform(0.12, 0.24), rng.uniform(0.010, 0.018)
    bar = rounded_box([length, wide * 0.4, wide], wide * 0.15, 0, 2)
    parts = [bar]
    for sign in (-1.0, 1.0):
        opening = np.linspace(0.5, 2 * np.pi - 0.5, 16) + (0.0 if sign > 0 else np.pi)
        ring = np.stack([sign * length / 2 + wide * np.cos(opening), 0 * opening, wide * np.sin(opening)], axis=1)
        parts.append(scaled(sweep(ring, wide * 0.35, 0, 8), [1, 0.8, 1]))
    return join(parts, "metal").centred()


def cutlery(rng: Generator) -> Mesh:
    """A spoon, a fork or a knife."""
    kind = rng.choice(["spoon", "fork", "knife"])
    length = rng.uniform(0.10, 0.15)
    t = np.linspace(0, 1, 9)
    stem = sweep(np.stack([length * t, 0.006 * np.sin(np.pi * t), 0 * t], axis=1), 0.0045 - 0.0015 * t, 0, 8)
    parts = [scaled(stem, [1, 0.6, 1.3])]
    if kind == "spoon":
        bowl = lathe(np.concatenate([arc((0, 0), (1, 1), -90, 0, 8), arc((0, 0), (0.93, 0.93), 0, -90, 8)]), 0, 24)
        parts.append(scaled(bowl, [0.030, 0.010, 0.019]).moved(None, [length + 0.026, 0.006, 0]))
    elif kind == "fork":
        parts.append(rounded_box([0.03, 0.002, 0.022], 0.0009, 0, 1).moved(None, [length + 0.01, 0.001, 0]))
        for z in (-0.009, -0.003, 0.003, 0.009):
            parts.append(sweep([[length + 0.02, 0.001, z], [length + 0.06, 0.004, z]], [0.0016, 0.0008], 0, 6))
    else:
        blade = np.array([[0.0, -0.008], [0.08, -0.008], [0.10, 0.0], [0.095, 0.008], [0.0, 0.008]])
        parts.append(extrude(blade, 0.0016, 0).moved(None, [length - 0.01, 0, 0]))
    surface = str(rng.choice(["metal", "plastic", "wood"], p=[0.75, 0.15, 0.10]))
    return join(parts, surface).centred()


def stapler(rng: Generator) -> Mesh:
    length, opening = rng.uniform(0.10, 0.16), rng.uniform(0.05, 0.2)
    base = rounded_box([length, 0.010, 0.036], 0.004, 0)
    arm = rounded_box([length, 0.022, 0.032], 0.009, 1).moved(None, [length / 2, 0, 0])
    rail = rounded_box([length * 0.95, 0.006, 0.018], 0.001, 2, 1).moved(None, [length / 2, -0.013, 0])
    rotation = rotation_about("z", opening)
    place = [-length / 2, 0.026, 0]
    hinge = rounded_box([0.022, 0.034, 0.038], 0.006, 0).moved(None, [-length / 2 + 0.010, 0.014, 0])
    return join(
        [base, arm.moved(rotation, place), rail.moved(rotation, place), hinge], "rubber", "plastic", "metal"
    ).centred()


def tape_roll(rng: Generator) -> Mesh:
    inner, thick, wide = rng.uniform(0.018, 0.040), rng.uniform(0.005, 0.022), rng.uniform(0.012, 0.055)
    outer = inner + thick
    tape = lathe([[inner + 0.002, 0], [outer, 0], [outer, wide], [inner + 0.002, wide]], 0, 40)
    core = lathe([[inner + 0.002, wide], [inner, wide], [inner, 0], [inner + 0.002, 0]], 1, 40)
    return join([tape, core], str(rng.choice(["plastic", "paper", "clear_plastic", "metal"])), "paper").centred()


def cable(rng: Generator) -> Mesh:
    """A cable in loose loops with a plug."""
    t = np.linspace(0, 2 * np.pi * rng.uniform(0.8, 2.6), 70)
    a, b = rng.uniform(0.04, 0.09, 2)
    drift = rng.uniform(-0.015, 0.015, 2)
    x = a * np.cos(t) + drift[0] * t + 0.005 * np.sin(2.3 * t + rng.uniform(0, 6))
    z = b * np.sin(t) + drift[1] * t + 0.005 * np.sin(1.7 * t + rng.uniform(0, 6))
    radius = rng.uniform(0.0018, 0.0035)
    wire = sweep(np.stack([x, radius * 1.5 * t / t[-1], z], axis=1), radius, 0, 7)
    plug = rounded_box([0.028, 0.012, 0.016], 0.003, 0).moved(None, [x[-1], 0.004, z[-1]])
    tip = rounded_box([0.016, 0.006, 0.011], 0.001, 1, 1).moved(None, [x[-1] + 0.02, 0.004, z[-1]])
    return join([wire, plug, tip], str(rng.choice(["rubber", "plastic"])), "metal").centred()


def battery(rng: Generator) -> Mesh:
    r, length = [(0.0072, 0.05), (0.0052, 0.044), (0.0165, 0.06), (0.013, 0.05)][rng.integers(4)]
    r, length = r * rng.uniform(0.96, 1.04), length * rng.uniform(0.96, 1.04)
    body = lathe([[0.0, 0], [r * 0.9, 0], [r, 0.001], [r, length * 0.75]], 0, 24)
    top = [
        [r, length * 0.75],
        [r, length - 0.001],
        [r * 0.4, length - 0.001],
        [r * 0.35, length + 0.001],
        [0, length + 0.001],
    ]
    cells = [
        join([body, lathe(top, 1, 24)]).moved(_LYING, [0, 0, i * 2.15 * r]) for i in range(int(rng.integers(1, 4)))
    ]
    return join(cells, "plastic", "metal").centred()


def pens(rng: Generator) -> Mesh:
    """One to five pens, pencils or markers side by side or crossed."""
    parts = []
    for i in range(int(rng.integers(1, 6))):
        r, length = rng.uniform(0.0035, 0.009), rng.uniform(0.12, 0.16)
        pen = sweep([[-length / 2, 0, 0], [length * 0.4, 0, 0], [length / 2, 0, 0]], [r, r, 0.001], i % 3, 10)
        parts.append(pen.moved(rotation_about("y", rng.normal(0, 0.5)), [0, r + 0.004 * i, 0.02 * i]))
    return join(parts, "plastic", "wood", "plastic").centred()
