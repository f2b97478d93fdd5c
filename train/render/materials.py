# SPDX-License-Identifier: Apache-2.0
"""How surfaces look: for each part of an object a base colour, a texture, roughness, metal and gloss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from train.render.patterns import muted_colour
from train.render.textures import TextureBank


@dataclass(frozen=True)
class Material:
    """The look of one part.

    colour (3,) sRGB 0..1; ``layer`` of the texture bank, mixed in by ``mix`` and tiled by ``repeat`` (u, v);
    ``roughness`` 0..1; ``metal`` 0..1 tints reflections with the colour; ``gloss`` scales the reflection
    (0 matt, 1 dielectric); ``glow`` is light the surface gives off itself, as a display does.
    """

    colour: tuple[float, float, float]
    layer: int = 0
    mix: float = 0.0
    repeat: tuple[float, float] = (1.0, 1.0)
    roughness: float = 0.6
    metal: float = 0.0
    gloss: float = 1.0
    glow: float = 0.0


Rgb = tuple[float, float, float]


def _rgb(rng: Generator, value: tuple[float, float] = (0.12, 0.95), saturation: float = 0.55) -> Rgb:
    r, g, b = muted_colour(rng, value, saturation)
    return float(r), float(g), float(b)


def _grey(rng: Generator, low: float, high: float, cast: float = 0.02) -> Rgb:
    r, g, b = np.clip(rng.uniform(low, high) + rng.normal(0, cast, 3), 0, 1)
    return float(r), float(g), float(b)


def _matt(rng: Generator, colour: Rgb) -> Material:
    return Material(colour, roughness=rng.uniform(0.4, 0.9), gloss=rng.uniform(0.2, 0.8))


def _glazed(rng: Generator, colour: Rgb) -> Material:
    return Material(colour, roughness=rng.uniform(0.06, 0.35))


def _metal(rng: Generator) -> Material:
    return Material(_grey(rng, 0.55, 0.85), roughness=rng.uniform(0.15, 0.45), metal=1.0)


def _printed(rng: Generator, bank: TextureBank, colour: Rgb, *kinds: str) -> Material:
    repeat = (1.0, 1.0) if "label" in kinds else (float(rng.integers(1, 4)), 1.0)
    tint = rng.uniform(0.75, 1.0)
    colour = (colour[0] * tint, colour[1] * tint, colour[2] * tint)
    return Material(colour, bank.pick(rng, *kinds), rng.uniform(0.75, 1.0), repeat, rng.uniform(0.15, 0.6))


def _bottle(rng: Generator, bank: TextureBank) -> list[Material]:
    kind = rng.random()
    if kind < 0.3:  # dark or tinted glass
        hue = [(0.05, 0.09, 0.05), (0.10, 0.05, 0.02), (0.03, 0.04, 0.03), (0.12, 0.17, 0.14)][rng.integers(4)]
        body = Material(hue, roughness=rng.uniform(0.03, 0.12), gloss=1.6)
    elif kind < 0.45:  # clear plastic with content
        body = Material(_rgb(rng, (0.45, 0.8), 0.3), roughness=rng.uniform(0.05, 0.15), gloss=1.5)
    elif kind < 0.55:
        body = Material(_rgb(rng, (0.3, 0.9)), roughness=rng.uniform(0.2, 0.4), metal=rng.uniform(0.3, 1.0))
    else:
        body = Material(_rgb(rng, saturation=0.8), roughness=rng.uniform(0.15, 0.6))
    label = _printed(rng, bank, (1, 1, 1), "label")
    return [body, label, _matt(rng, _rgb(rng, saturation=0.8))]


def _bowl(rng: Generator, bank: TextureBank) -> list[Material]:
    kind = rng.random()
    outer = _glazed(rng, _rgb(rng, (0.3, 0.97)))
    if kind < 0.15:
        outer = _metal(rng)
    elif kind < 0.3:
        outer = _printed(rng, bank, (1, 1, 1), "wood")
    elif kind < 0.5:
        outer = _printed(rng, bank, (1, 1, 1), "cloth", "speckle", "checks")
    inner = outer if rng.random() < 0.5 else _glazed(rng, _rgb(rng, (0.4, 0.97)))
    rim = inner if rng.random() < 0.7 else _glazed(rng, _rgb(rng))
    return [outer, inner, inner, rim]


def _camera(rng: Generator, bank: TextureBank) -> list[Material]:
    body_colour = _grey(rng, 0.03, 0.12, 0.006) if rng.random() < 0.75 else _rgb(rng, (0.2, 0.75))
    body = Material(body_colour, bank.pick(rng, "speckle"), 0.08, (5.0, 3.0), rng.uniform(0.5, 0.85), 0.0, 0.7)
    silver = rng.random() < 0.35
    trim = (
        _metal(rng) if silver else Material(_grey(rng, 0.03, 0.14, 0.006), roughness=rng.uniform(0.3, 0.6), gloss=0.8)
    )
    lens = Material(_grey(rng, 0.02, 0.09, 0.004), roughness=rng.uniform(0.25, 0.5), gloss=0.9)
    if silver and rng.random() < 0.4:
        lens = trim
    glass = Material((0.03, 0.03, 0.06), roughness=0.03, gloss=2.5)
    back = Material((0.03, 0.03, 0.035), bank.pick(rng, "screen"), float(rng.random() < 0.3), roughness=0.06, gloss=1.2)
    plate = Material(_grey(rng, 0.75, 0.95), bank.pick(rng, "label"), 0.5, (0.5, 0.4), 0.5)
    dial = trim if rng.random() < 0.5 else _matt(rng, _grey(rng, 0.03, 0.3))
    return [body, trim, lens, glass, back, plate, dial]


def _can(rng: Generator, bank: TextureBank) -> list[Material]:
    if rng.random() < 0.88:
        body = _printed(rng, bank, (1, 1, 1), "label")
        body = Material(body.colour, body.layer, body.mix, roughness=rng.uniform(0.15, 0.5), metal=rng.uniform(0, 0.6))
    else:
        body = Material(_rgb(rng, saturation=0.9), roughness=rng.uniform(0.2, 0.4), metal=rng.uniform(0.3, 1.0))
    return [body, _metal(rng), _matt(rng, _rgb(rng, (0.3, 0.97), 0.8))]


def _laptop(rng: Generator, bank: TextureBank) -> list[Material]:
    shell = _grey(rng, 0.5, 0.8) if rng.random() < 0.5 else _grey(rng, 0.04, 0.25)
    if rng.random() < 0.1:
        shell = _rgb(rng, (0.3, 0.8))
    metal = rng.uniform(0.0, 0.7)
    base = Material(shell, roughness=rng.uniform(0.35, 0.6), metal=metal)
    keys = Material((1, 1, 1), bank.pick(rng, "keyboard"), 1.0, roughness=0.6, gloss=0.6)
    tone = rng.uniform(0.75, 1.1)
    pad = Material(tuple(np.clip(np.array(shell) * tone, 0, 1)), roughness=0.35, metal=metal)
    screen = Material(
        (1, 1, 1), bank.pick(rng, "screen"), 1.0, roughness=rng.uniform(0.05, 0.3), glow=rng.uniform(0.4, 1.1)
    )
    bezel = Material(_grey(rng, 0.01, 0.06), roughness=0.3) if rng.random() < 0.8 else base
    hinge = Material(_grey(rng, 0.05, 0.3), roughness=0.4)
    return [base, keys, pad, screen, base, bezel, hinge, hinge]


def _mug(rng: Generator, bank: TextureBank) -> list[Material]:
    plain = _glazed(rng, _rgb(rng, (0.3, 0.97), 0.75) if rng.random() < 0.6 else _grey(rng, 0.75, 0.95))
    outer = plain
    if rng.random() < 0.5:
        outer = _printed(rng, bank, (1, 1, 1), "label", "label", "cloth", "speckle", "marble")
    inner = plain if rng.random() < 0.5 else _glazed(rng, _grey(rng, 0.7, 0.95))
    handle = plain if rng.random() < 0.8 else _glazed(rng, _rgb(rng))
    drink = Material(
        [(0.07, 0.03, 0.015), (0.35, 0.2, 0.1), (0.3, 0.12, 0.03), (0.6, 0.6, 0.6)][rng.integers(4)],
        roughness=0.05,
    )
    return [outer, inner, handle, drink]


_FRUIT: dict[str, tuple[Rgb, ...]] = {
    "apple": ((0.62, 0.08, 0.08), (0.55, 0.68, 0.15), (0.80, 0.62, 0.15)),
    "banana": ((0.88, 0.74, 0.12), (0.72, 0.74, 0.20)),
    "lemon": ((0.92, 0.82, 0.15), (0.45, 0.65, 0.15)),
    "orange": ((0.92, 0.48, 0.06), (0.95, 0.58, 0.15)),
    "pear": ((0.66, 0.70, 0.25), (0.72, 0.60, 0.22)),
    "leaf": ((0.13, 0.32, 0.10), (0.25, 0.42, 0.15), (0.10, 0.25, 0.14)),
    "skin": ((0.85, 0.64, 0.52), (0.72, 0.50, 0.38), (0.45, 0.29, 0.20), (0.28, 0.18, 0.13)),
    "soil": ((0.16, 0.10, 0.07), (0.25, 0.18, 0.12)),
    "liquid": ((0.07, 0.03, 0.015), (0.35, 0.2, 0.1), (0.3, 0.12, 0.03), (0.6, 0.6, 0.6)),
}
_TEXTURED: dict[str, tuple[str, ...]] = {
    "print": ("label",),
    "wood": ("wood",),
    "fabric": ("cloth", "checks"),
    "tags": ("checks",),
    "screen": ("screen",),
    "keyboard": ("keyboard",),
}


def surface_material(rng: Generator, bank: TextureBank, surface: str) -> Material:
    """A material for one of :data:`train.render.meshes.SURFACES`."""
    if surface in _TEXTURED:
        return _printed(rng, bank, (1, 1, 1), *_TEXTURED[surface])
    if surface in _FRUIT:
        colours = _FRUIT[surface]
        r, g, b = np.clip(np.array(colours[rng.integers(len(colours))]) * rng.normal(1, 0.08, 3), 0, 1)
        return Material((float(r), float(g), float(b)), roughness=rng.uniform(0.3, 0.7), gloss=0.6)
    if surface in ("glass", "clear_plastic"):
        return Material(_rgb(rng, (0.45, 0.8), 0.2), roughness=rng.uniform(0.03, 0.12), gloss=1.6)
    if surface == "metal":
        return _metal(rng)
    if surface == "ceramic":
        return _glazed(rng, _rgb(rng, (0.3, 0.97), 0.75))
    if surface == "paper":
        return _matt(rng, _grey(rng, 0.75, 0.97))
    if surface in ("rubber", "leather"):
        return _matt(rng, _grey(rng, 0.02, 0.25))
    return Material(_rgb(rng, saturation=0.9), roughness=rng.uniform(0.15, 0.6))


_MAKERS = {"bottle": _bottle, "bowl": _bowl, "camera": _camera, "can": _can, "laptop": _laptop, "mug": _mug}


def sample_materials(rng: Generator, bank: TextureBank, kind: str, surfaces: tuple[str, ...] = ()) -> list[Material]:
    """Materials for the parts of an object of a category, or of a distractor by its surfaces; at most 8."""
    if kind in _MAKERS:
        return _MAKERS[kind](rng, bank)
    return [surface_material(rng, bank, surface) for surface in surfaces]


def sample_surface(rng: Generator, bank: TextureBank, kinds: tuple[str, ...]) -> Material:
    """A large surface in world coordinates: ``repeat`` is the number of texture widths a metre."""
    repeat = float(rng.uniform(0.8, 4.0))
    tint = rng.uniform(0.7, 1.0) * (1 + rng.normal(0, 0.04, 3))
    r, g, b = np.clip(tint, 0, 1)
    roughness = rng.uniform(0.12, 0.9)
    gloss = rng.uniform(0.3, 1.0)
    return Material(
        (float(r), float(g), float(b)), bank.pick(rng, *kinds), 1.0, (repeat, repeat), roughness, 0.0, gloss
    )
