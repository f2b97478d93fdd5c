# SPDX-License-Identifier: Apache-2.0
"""Materials of the parts of each category; the meshes of distractors list their own materials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from train.render.surfaces import (
    Material,
    any_colour,
    display,
    glazed,
    grey,
    matt,
    metal,
    printed,
    surface_material,
    transparent,
)
from train.render.textures import TextureBank


def _bottle(rng: Generator, bank: TextureBank) -> list[Material]:
    kind = rng.random()
    if kind < 0.38:
        body = transparent(rng, 0.45)
    elif kind < 0.46:  # dark glass
        hue = [(0.05, 0.09, 0.05), (0.10, 0.05, 0.02), (0.03, 0.04, 0.03)][rng.integers(3)]
        body = Material(hue, roughness=rng.uniform(0.03, 0.12), gloss=1.6)
    elif kind < 0.56:
        body = metal(rng, bank) if rng.random() < 0.5 else replace(metal(rng, bank), colour=any_colour(rng))
    elif kind < 0.68:
        body = printed(rng, bank, (1, 1, 1), "label", "ornament")
    else:
        body = Material(any_colour(rng), roughness=rng.uniform(0.1, 0.6))
    label = printed(rng, bank, (1, 1, 1), "label")
    cap = matt(rng, any_colour(rng)) if rng.random() < 0.8 else body
    return [body, label, cap]


def _bowl(rng: Generator, bank: TextureBank) -> list[Material]:
    kind = rng.random()
    outer = glazed(rng, any_colour(rng))
    if kind < 0.12:
        outer = metal(rng, bank)
    elif kind < 0.2:
        outer = printed(rng, bank, (1, 1, 1), "wood")
    elif kind < 0.5:
        outer = printed(rng, bank, (1, 1, 1), "ornament", "ornament", "speckle", "checks")
    elif kind < 0.6:
        outer = transparent(rng, 0.4)
    if outer.transmission > 0:
        return [outer] * 4
    same = rng.random()
    inner = outer if same < 0.5 else glazed(rng, any_colour(rng))
    if same > 0.85:
        inner = replace(printed(rng, bank, (1, 1, 1), "ornament"), roughness=0.2)
    rim = inner if rng.random() < 0.7 else glazed(rng, any_colour(rng))
    return [outer, inner, inner, rim]


def _camera(rng: Generator, bank: TextureBank) -> list[Material]:
    body_colour = grey(rng, 0.03, 0.12, 0.006) if rng.random() < 0.7 else any_colour(rng)
    body = Material(body_colour, bank.pick(rng, "speckle"), 0.08, (5.0, 3.0), rng.uniform(0.4, 0.85), 0.0, 0.7)
    silver = rng.random() < 0.35
    trim = (
        metal(rng, bank)
        if silver
        else Material(grey(rng, 0.03, 0.14, 0.006), roughness=rng.uniform(0.3, 0.6), gloss=0.8)
    )
    lens = Material(grey(rng, 0.02, 0.09, 0.004), roughness=rng.uniform(0.25, 0.5), gloss=0.9)
    if silver and rng.random() < 0.4:
        lens = trim
    elif rng.random() < 0.08:
        lens = Material(grey(rng, 0.75, 0.9), roughness=0.4)
    glass = Material((0.03, 0.03, 0.06), roughness=0.03, gloss=2.5)
    back = Material((0.03, 0.03, 0.035), bank.pick(rng, "screen"), float(rng.random() < 0.3), roughness=0.06, gloss=1.2)
    if back.mix > 0:
        back = display(rng, bank)
    plate = Material(grey(rng, 0.75, 0.95), bank.pick(rng, "label"), 0.5, (0.5, 0.4), 0.5)
    dial = trim if rng.random() < 0.5 else matt(rng, grey(rng, 0.03, 0.3))
    return [body, trim, lens, glass, back, plate, dial, dial]


def _can(rng: Generator, bank: TextureBank) -> list[Material]:
    kind = rng.random()
    if kind < 0.8:
        body = replace(
            printed(rng, bank, (1, 1, 1), "label", "label", "label", "label", "ornament"),
            roughness=rng.uniform(0.1, 0.6),
            metal=rng.uniform(0, 0.6) if rng.random() < 0.5 else 0.0,
        )
    elif kind < 0.9:
        body = Material(any_colour(rng), roughness=rng.uniform(0.15, 0.4), metal=rng.uniform(0.0, 0.8))
    else:
        body = metal(rng, bank)
    ends = metal(rng, bank) if rng.random() < 0.8 else matt(rng, any_colour(rng))
    return [body, ends, matt(rng, any_colour(rng)), ends]


def _laptop(rng: Generator, bank: TextureBank) -> list[Material]:
    shell = grey(rng, 0.5, 0.9) if rng.random() < 0.5 else grey(rng, 0.04, 0.25)
    if rng.random() < 0.1:
        shell = any_colour(rng)
    amount = rng.uniform(0.0, 0.7)
    base = Material(shell, roughness=rng.uniform(0.3, 0.6), metal=amount)
    keys = Material((1, 1, 1), bank.pick(rng, "keyboard"), 1.0, roughness=0.6, gloss=0.6)
    r, g, b = np.clip(np.array(shell) * rng.uniform(0.75, 1.1), 0, 1)
    pad = Material((float(r), float(g), float(b)), roughness=0.35, metal=amount)
    lid = base
    if rng.random() < 0.15:
        lid = replace(base, layer=bank.pick(rng, "ornament", "poster", "scenery"), mix=1.0, colour=(1, 1, 1))
    bezel = Material(grey(rng, 0.01, 0.06), roughness=0.3) if rng.random() < 0.8 else base
    hinge = Material(grey(rng, 0.05, 0.3), roughness=0.4)
    return [base, keys, pad, display(rng, bank), lid, bezel, hinge, hinge]


def _mug(rng: Generator, bank: TextureBank) -> list[Material]:
    kind = rng.random()
    if kind < 0.07:
        outer = transparent(rng, 0.3)
    elif kind < 0.15:
        outer = metal(rng, bank)
    elif kind < 0.6:
        outer = glazed(rng, any_colour(rng))
    else:
        names = ("label", "label", "ornament", "ornament", "ornament", "speckle", "marble")
        outer = replace(printed(rng, bank, (1, 1, 1), *names), roughness=rng.uniform(0.04, 0.4))
    inner = outer if kind < 0.15 or rng.random() < 0.4 else glazed(rng, grey(rng, 0.7, 0.97))
    if outer.mix > 0 and kind > 0.6 and rng.random() < 0.8:
        inner = glazed(rng, grey(rng, 0.75, 0.97) if rng.random() < 0.7 else any_colour(rng))
    handle = glazed(rng, any_colour(rng))
    if rng.random() < 0.8:
        handle = inner if outer.mix > 0 and kind > 0.15 else outer
    return [outer, inner, handle, surface_material(rng, bank, "liquid")]


# Water, orange juice, tea, cola, red syrup, lemonade.
_LIQUIDS = (
    *((0.93, 0.96, 0.97), (0.9, 0.45, 0.05), (0.6, 0.25, 0.05)),
    *((0.12, 0.04, 0.02), (0.85, 0.1, 0.05), (0.3, 0.7, 0.3)),
)
_MAKERS = {"bottle": _bottle, "bowl": _bowl, "camera": _camera, "can": _can, "laptop": _laptop, "mug": _mug}


def sample_materials(rng: Generator, bank: TextureBank, kind: str, surfaces: tuple[str, ...] = ()) -> list[Material]:
    """Materials for the parts of an object of a category, or of a distractor by its surfaces; at most 8."""
    if kind in _MAKERS:
        return _MAKERS[kind](rng, bank)
    return [surface_material(rng, bank, surface) for surface in surfaces]


def sample_liquid(rng: Generator) -> tuple[float, float, float]:
    """Linear colour of the content of a transparent vessel."""
    return _LIQUIDS[rng.integers(len(_LIQUIDS))]
