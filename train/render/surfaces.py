# SPDX-License-Identifier: Apache-2.0
"""Materials: paint, glaze, print, metal, glass, skin and other surfaces of parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from train.render.patterns import muted_colour, vivid_colour
from train.render.textures import TextureBank

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """The look of one part.

    colour (3,) sRGB 0..1; ``layer`` of the texture bank, mixed in by ``mix`` and tiled by ``repeat`` (u, v);
    ``roughness`` 0..1; ``metal`` 0..1 tints reflections with the colour; ``gloss`` scales the reflection
    (0 matt, 1 dielectric); ``glow`` is light the surface emits, as a display does; ``transmission`` 0..1
    is the share of light that passes (0 opaque) and ``absorption`` the exponent of the colour it is tinted
    with; ``backdrop`` shows the environment instead of the surface, blurred by mip level ``mix``.
    """

    colour: Rgb
    layer: int = 0
    mix: float = 0.0
    repeat: tuple[float, float] = (1.0, 1.0)
    roughness: float = 0.6
    metal: float = 0.0
    gloss: float = 1.0
    glow: float = 0.0
    transmission: float = 0.0
    absorption: float = 0.0
    backdrop: bool = False


def rgb(rng: Generator, value: tuple[float, float] = (0.12, 0.95), saturation: float = 0.55) -> Rgb:
    """A muted colour."""
    r, g, b = muted_colour(rng, value, saturation)
    return float(r), float(g), float(b)


def grey(rng: Generator, low: float, high: float, cast: float = 0.02) -> Rgb:
    """A grey with a slight cast."""
    r, g, b = np.clip(rng.uniform(low, high) + rng.normal(0, cast, 3), 0, 1)
    return float(r), float(g), float(b)


def any_colour(rng: Generator) -> Rgb:
    """A colour typical of manufactured objects: vivid, white, black, grey or muted."""
    kind = rng.random()
    if kind < 0.45:
        return vivid_colour(rng)
    if kind < 0.65:
        return grey(rng, 0.82, 0.98)
    if kind < 0.75:
        return grey(rng, 0.02, 0.12, 0.005)
    return rgb(rng, saturation=0.8)


def matt(rng: Generator, colour: Rgb) -> Material:
    return Material(colour, roughness=rng.uniform(0.4, 0.9), gloss=rng.uniform(0.2, 0.8))


def glazed(rng: Generator, colour: Rgb) -> Material:
    return Material(colour, roughness=rng.uniform(0.04, 0.35), gloss=rng.uniform(0.8, 1.4))


def metal(rng: Generator, bank: TextureBank) -> Material:
    """Bare, brushed, coloured or enamelled metal."""
    colour = grey(rng, 0.55, 0.9)
    if rng.random() < 0.15:
        colour = [(0.83, 0.65, 0.32), (0.8, 0.5, 0.38), (0.45, 0.45, 0.48)][rng.integers(3)]
    if rng.random() < 0.4:
        repeat = (float(rng.integers(1, 4)), float(rng.integers(1, 3)))
        return Material(colour, bank.pick(rng, "brushed"), 1.0, repeat, rng.uniform(0.25, 0.55), 1.0)
    return Material(colour, roughness=rng.uniform(0.03, 0.4), metal=1.0)


def printed(rng: Generator, bank: TextureBank, colour: Rgb, *kinds: str) -> Material:
    """A textured surface; textures of labels and packaging are not tiled."""
    once = {"label", "box", "poster", "page", "screen", "keyboard"} & set(kinds)
    repeat = (1.0, 1.0) if once else (float(rng.integers(1, 4)), 1.0)
    tint = rng.uniform(0.8, 1.0)
    colour = (colour[0] * tint, colour[1] * tint, colour[2] * tint)
    return Material(colour, bank.pick(rng, *kinds), rng.uniform(0.85, 1.0), repeat, rng.uniform(0.15, 0.6))


def transparent(rng: Generator, tinted: float = 0.3) -> Material:
    """Clear or tinted glass and plastic."""
    colour: Rgb = (0.97, 0.985, 0.98)
    if rng.random() < tinted:
        colour = [
            *((0.20, 0.45, 0.22), (0.55, 0.30, 0.10), (0.35, 0.60, 0.80), (0.75, 0.75, 0.30)),
            vivid_colour(rng),
        ][rng.integers(5)]
    return Material(
        colour,
        roughness=rng.uniform(0.0, 0.12),
        gloss=rng.uniform(1.0, 1.6),
        transmission=rng.uniform(0.88, 1.0) if rng.random() < 0.8 else rng.uniform(0.5, 0.85),
        absorption=rng.uniform(0.3, 1.2),
    )


_COLOURS: dict[str, tuple[Rgb, ...]] = {
    "apple": ((0.62, 0.08, 0.08), (0.55, 0.68, 0.15), (0.80, 0.62, 0.15)),
    "banana": ((0.88, 0.74, 0.12), (0.72, 0.74, 0.20)),
    "lemon": ((0.92, 0.82, 0.15), (0.45, 0.65, 0.15)),
    "orange": ((0.92, 0.48, 0.06), (0.95, 0.58, 0.15)),
    "pear": ((0.66, 0.70, 0.25), (0.72, 0.60, 0.22)),
    "leaf": ((0.13, 0.32, 0.10), (0.25, 0.42, 0.15), (0.10, 0.25, 0.14)),
    "skin": ((0.85, 0.64, 0.52), (0.78, 0.57, 0.45), (0.62, 0.42, 0.30), (0.45, 0.29, 0.20), (0.28, 0.18, 0.13)),
    "soil": ((0.16, 0.10, 0.07), (0.25, 0.18, 0.12)),
    "liquid": ((0.12, 0.06, 0.03), (0.45, 0.28, 0.15), (0.45, 0.18, 0.05), (0.85, 0.8, 0.72), (0.8, 0.5, 0.1)),
}
_TEXTURES: dict[str, tuple[str, ...]] = {
    "print": ("label", "box", "box", "poster", "ornament"),
    "wood": ("wood",),
    "fabric": ("cloth", "cloth", "checks", "carpet", "ornament"),
    "tags": ("tags",),
    "keyboard": ("keyboard",),
}


def surface_material(rng: Generator, bank: TextureBank, surface: str) -> Material:
    """A material for one of :data:`train.render.meshes.SURFACES`."""
    if surface in _TEXTURES:
        return printed(rng, bank, (1, 1, 1), *_TEXTURES[surface])
    if surface in _COLOURS:
        colours = _COLOURS[surface]
        r, g, b = np.clip(np.array(colours[rng.integers(len(colours))]) * rng.normal(1, 0.08, 3), 0, 1)
        roughness = rng.uniform(0.03, 0.1) if surface == "liquid" else rng.uniform(0.3, 0.7)
        return Material(
            (float(r), float(g), float(b)), bank.pick(rng, "speckle"), 0.12, (2.0, 2.0), roughness, 0.0, 0.6
        )
    if surface in ("glass", "clear_plastic"):
        return transparent(rng, 0.25)
    if surface == "metal":
        return metal(rng, bank)
    if surface == "ceramic":
        return ceramic(rng, bank)
    if surface == "paper":
        return printed(rng, bank, (1, 1, 1), "page") if rng.random() < 0.6 else matt(rng, grey(rng, 0.75, 0.97))
    if surface == "screen":
        return replace(display(rng, bank), glow=rng.uniform(0.4, 1.5) if rng.random() < 0.65 else 0.0)
    if surface in ("rubber", "leather"):
        return matt(rng, grey(rng, 0.02, 0.25) if rng.random() < 0.7 else any_colour(rng))
    return Material(any_colour(rng), roughness=rng.uniform(0.1, 0.6))


def display(rng: Generator, bank: TextureBank) -> Material:
    """A display with content, or switched off."""
    if rng.random() < 0.15:
        return Material((0.02, 0.02, 0.025), roughness=rng.uniform(0.02, 0.25), gloss=1.2)
    return Material(
        (1, 1, 1), bank.pick(rng, "screen"), 1.0, roughness=rng.uniform(0.05, 0.3), glow=rng.uniform(0.4, 1.6)
    )


def ceramic(rng: Generator, bank: TextureBank) -> Material:
    """Glazed, plain or decorated."""
    if rng.random() < 0.35:
        return replace(printed(rng, bank, (1, 1, 1), "ornament"), roughness=rng.uniform(0.04, 0.3))
    return glazed(rng, any_colour(rng))


def sample_surface(rng: Generator, bank: TextureBank, kinds: tuple[str, ...]) -> Material:
    """A large surface in world coordinates: ``repeat`` is the number of texture widths per metre."""
    repeat = float(rng.uniform(0.8, 4.0))
    r, g, b = np.clip(rng.uniform(0.7, 1.0) * (1 + rng.normal(0, 0.04, 3)), 0, 1)
    roughness = rng.uniform(0.25, 0.95)
    gloss = rng.uniform(0.2, 0.9)
    return Material(
        (float(r), float(g), float(b)), bank.pick(rng, *kinds), 1.0, (repeat, repeat), roughness, 0.0, gloss
    )
