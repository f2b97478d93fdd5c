# SPDX-License-Identifier: Apache-2.0
"""Surface textures: wood, marble, cloth, carpet, checks, speckle, plain, brushed metal; colours and noise.

Each texture function is ``rng -> (SIZE, SIZE, 3)`` sRGB in 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.float32]
SIZE = 256


def muted_colour(rng: Generator, value: tuple[float, float] = (0.12, 0.95), saturation: float = 0.55) -> Image:
    """A colour (3,) typical of real objects: often grey, white or dark, seldom saturated."""
    s = rng.beta(1.1, 1.9) * saturation if rng.random() < 0.7 else rng.uniform(0, 0.08)
    v = rng.uniform(*value)
    hue = (rng.normal(28, 22) if rng.random() < 0.4 else rng.uniform(0, 360)) % 360
    hsv = np.array([[[hue, s, v]]], dtype=np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def vivid_colour(rng: Generator) -> tuple[float, float, float]:
    """A saturated colour typical of paint, plastic and glazes: any hue, value 0.25 to 0.95."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(0.55, 0.98), rng.uniform(0.25, 0.95)]]], dtype=np.float32)
    r, g, b = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return float(r), float(g), float(b)


def ink_colour(rng: Generator) -> Image:
    """A colour (3,) of printing ink: vivid, white, black or muted."""
    kind = rng.random()
    if kind < 0.5:
        return np.array(vivid_colour(rng), dtype=np.float32)
    if kind < 0.75:
        return np.full(3, rng.uniform(0.88, 1.0) if rng.random() < 0.6 else rng.uniform(0.0, 0.12), np.float32)
    return muted_colour(rng, saturation=0.8)


def noise(rng: Generator, cells: tuple[int, int], octaves: int = 4, gain: float = 0.55) -> Image:
    """Tiling fractal noise (SIZE, SIZE) of zero mean; ``cells`` (x, y) of the first octave."""
    total = np.zeros((SIZE, SIZE), np.float32)
    amplitude, norm = 1.0, 0.0
    for octave in range(octaves):
        nx, ny = (min(SIZE, max(1, c) * 2**octave) for c in cells)
        small = rng.standard_normal((ny, nx)).astype(np.float32)
        wrapped = np.pad(small, 2, mode="wrap")
        big = cv2.resize(wrapped, None, fx=SIZE / nx, fy=SIZE / ny, interpolation=cv2.INTER_CUBIC)
        y0, x0 = round(2 * SIZE / ny), round(2 * SIZE / nx)
        total += amplitude * big[y0 : y0 + SIZE, x0 : x0 + SIZE]
        norm += amplitude**2
        amplitude *= gain
    return total / np.float32(np.sqrt(norm) * 2.0)


def blend(a: Image, b: Image, t: ArrayLike) -> Image:
    """``a`` where ``t`` (SIZE, SIZE) is 0, ``b`` where it is 1."""
    weight: Image = np.clip(np.asarray(t), 0, 1)[..., None]
    return a * (1 - weight) + b * weight


def grain(rng: Generator, image: Image, amount: float) -> Image:
    """The image with grey noise of standard deviation ``amount``."""
    return np.clip(image + amount * rng.standard_normal((SIZE, SIZE, 1)).astype(np.float32), 0, 1)


def wood(rng: Generator) -> Image:
    hue = rng.uniform(16, 36)
    value = rng.uniform(0.28, 0.85)
    sat = rng.uniform(0.2, 0.55)
    light = cv2.cvtColor(np.array([[[hue, sat * 0.8, value]]], np.float32), cv2.COLOR_HSV2RGB)[0, 0]
    dark = light * rng.uniform(0.45, 0.8)
    warp = noise(rng, (2, 3), 3) * rng.uniform(0.4, 2.0)
    x = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None]
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (x * rng.integers(3, 12) + warp))
    fibre = noise(rng, (2, 64), 3)
    image = blend(light, dark, rings * rng.uniform(0.2, 0.7) + 0.35 * fibre)
    planks = rng.integers(0, 5)
    if planks:
        edge = (np.arange(SIZE) * planks / SIZE) % 1
        shade = 1 - 0.5 * (edge < 0.015 * planks)
        tone = 1 + rng.normal(0, 0.08, planks)[(np.arange(SIZE) * planks // SIZE)]
        image = image * (shade * tone).astype(np.float32)[:, None, None]
    return grain(rng, image, 0.015)


def marble(rng: Generator) -> Image:
    base = muted_colour(rng, (0.55, 0.95), 0.2)
    vein = base * rng.uniform(0.3, 0.8)
    field = np.abs(noise(rng, (3, 3), 5, 0.6))
    return grain(rng, blend(vein, base, field * rng.uniform(2, 6)), 0.01)


def cloth(rng: Generator) -> Image:
    a, b = muted_colour(rng), muted_colour(rng)
    pattern = rng.integers(0, 4)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    n = float(rng.integers(2, 14))
    if pattern == 0:
        t = np.full((SIZE, SIZE), 0.0, np.float32)
    elif pattern == 1:
        t = ((x * n % 1) < rng.uniform(0.2, 0.6)).astype(np.float32)
    elif pattern == 2:
        t = 0.5 * ((x * n % 1) < 0.5) + 0.5 * ((y * n % 1) < 0.5)
    else:
        t = (np.hypot((x * n % 1) - 0.5, (y * n % 1) - 0.5) < rng.uniform(0.1, 0.4)).astype(np.float32)
    image = blend(a, b, t.astype(np.float32))
    weave = np.sin(x * 2 * np.pi * 64) * np.sin(y * 2 * np.pi * 64) * rng.uniform(0.02, 0.08)
    folds = noise(rng, (3, 3), 3) * 0.08
    return grain(rng, np.clip(image * (1 + weave + folds)[..., None], 0, 1), 0.03)


def checks(rng: Generator) -> Image:
    a = muted_colour(rng)
    b = np.clip(a * rng.uniform(0.6, 1.6), 0, 1) if rng.random() < 0.7 else muted_colour(rng)
    n = int(rng.integers(2, 9))
    y, x = np.mgrid[0:SIZE, 0:SIZE] * n // SIZE
    image = blend(a, b, ((x + y) % 2).astype(np.float32))
    if rng.random() < 0.6:
        edge = ((np.mgrid[0:SIZE, 0:SIZE] * n % SIZE) < 0.03 * SIZE * n / 2).any(axis=0)
        image = blend(image, muted_colour(rng), edge.astype(np.float32))
    return grain(rng, np.clip(image * (1 + 0.08 * noise(rng, (4, 4)))[..., None], 0, 1), 0.015)


def speckle(rng: Generator) -> Image:
    a, b = muted_colour(rng, (0.2, 0.95), 0.35), muted_colour(rng)
    cells = int(rng.integers(3, 60))
    return grain(rng, blend(a, b, 0.25 + noise(rng, (cells, cells), 4) * rng.uniform(0.2, 1.2)), 0.02)


def plain(rng: Generator) -> Image:
    base = muted_colour(rng)
    return grain(rng, np.clip(base * (1 + rng.uniform(0.01, 0.1) * noise(rng, (2, 2), 5))[..., None], 0, 1), 0.012)


def carpet(rng: Generator) -> Image:
    """Short pile or a two-tone weave."""
    a = muted_colour(rng, (0.1, 0.7), 0.6)
    b = a * rng.uniform(0.5, 1.3) if rng.random() < 0.6 else muted_colour(rng, (0.1, 0.7), 0.6)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    n = float(rng.integers(12, 40))
    weave = 0.5 + 0.5 * np.sin(2 * np.pi * n * x + np.pi * (np.floor(y * n) % 2)) * np.sin(2 * np.pi * n * y)
    t = weave * rng.uniform(0.2, 1.0) + 0.4 * noise(rng, (90, 90), 2)
    return grain(rng, np.clip(blend(a, b, t), 0, 1), rng.uniform(0.02, 0.07))


def brushed(rng: Generator) -> Image:
    """Fine parallel scratches, bright, along u."""
    lines = noise(rng, (3, 200), 2) * rng.uniform(0.05, 0.25)
    return np.clip(rng.uniform(0.75, 0.95) + lines + 0.04 * noise(rng, (4, 4)), 0, 1)[..., None] * np.ones(
        3, np.float32
    )


def ornament(rng: Generator) -> Image:
    """Decoration of ceramics and plastic: bands, stripes, dots, waves, blocks, a gradient, on one ground colour."""
    ground, first, second = ink_colour(rng), ink_colour(rng), ink_colour(rng)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = ground
    kind = int(rng.integers(0, 8))
    n = float(rng.integers(2, 12))
    if kind == 0:  # bands around
        for _ in range(rng.integers(1, 5)):
            at, width = rng.uniform(0, 1), rng.uniform(0.01, 0.15)
            image = blend(image, first if rng.random() < 0.5 else second, np.abs(y - at) < width)
    elif kind == 1:  # stripes along the axis, or slanted
        image = blend(image, first, ((x * n + y * float(rng.integers(0, 4))) % 1) < rng.uniform(0.15, 0.6))
    elif kind == 2:  # dots, every other row shifted
        row = np.floor(y * n)
        image = blend(
            image, first, np.hypot((x * n + 0.5 * (row % 2)) % 1 - 0.5, (y * n) % 1 - 0.5) < rng.uniform(0.12, 0.42)
        )
    elif kind == 3:  # gradient
        image = blend(image, first, np.clip((y - rng.uniform(0, 0.5)) / rng.uniform(0.2, 1.0), 0, 1))
    elif kind == 4:  # two-tone dip
        image = blend(image, first, y + 0.05 * np.sin(2 * np.pi * n * x) * rng.uniform(0, 1) > rng.uniform(0.2, 0.8))
    elif kind == 5:  # waves
        image = blend(image, first, ((y * n + 0.3 * np.sin(2 * np.pi * n * x)) % 1) < 0.35)
    elif kind == 6:  # petals and spirals
        for _ in range(rng.integers(3, 14)):
            cx, cy, r = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.03, 0.16)
            dx, dy = (x - cx + 0.5) % 1 - 0.5, y - cy
            angle = np.arctan2(dy, dx)
            edge = r * (0.7 + 0.3 * np.cos(float(rng.integers(0, 9)) * angle))
            image = blend(image, first if rng.random() < 0.5 else second, np.hypot(dx, dy) < edge)
    else:  # speckled glaze
        image = blend(image, first, np.clip((noise(rng, (40, 40), 2) - rng.uniform(0.2, 0.7)) * 8, 0, 1))
    return grain(rng, np.ascontiguousarray(image, np.float32), 0.008)
