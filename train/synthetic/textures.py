# SPDX-License-Identifier: Apache-2.0
"""A bank of procedural textures: made once per worker and split, uploaded as one texture array.

Every kind is a function ``rng -> (SIZE, SIZE, 3)`` sRGB image in 0..1. Layers of a split are drawn from that split's
own seeds, so no texture of one split appears in another.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.float32]
SIZE = 256


def muted_colour(
    rng: Generator, value: tuple[float, float] = (0.12, 0.95), saturation: float = 0.55
) -> Image:
    """A colour (3,) as real things have: often grey, white or dark, seldom saturated."""
    s = rng.beta(1.1, 1.9) * saturation if rng.random() < 0.7 else rng.uniform(0, 0.08)
    v = rng.uniform(*value)
    hue = (rng.normal(28, 22) if rng.random() < 0.4 else rng.uniform(0, 360)) % 360
    hsv = np.array([[[hue, s, v]]], dtype=np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def noise(rng: Generator, cells: tuple[int, int], octaves: int = 4, gain: float = 0.55) -> Image:
    """Tiling fractal noise (SIZE, SIZE), zero mean, about unit range; ``cells`` (x, y) of the first octave."""
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


def _blend(a: Image, b: Image, t: Image) -> Image:
    t = np.clip(t, 0, 1)[..., None]
    return a * (1 - t) + b * t


def _grain(rng: Generator, image: Image, amount: float) -> Image:
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
    image = _blend(light, dark, rings * rng.uniform(0.2, 0.7) + 0.35 * fibre)
    planks = rng.integers(0, 5)
    if planks:
        edge = (np.arange(SIZE) * planks / SIZE) % 1
        shade = 1 - 0.5 * (edge < 0.015 * planks)
        tone = 1 + rng.normal(0, 0.08, planks)[(np.arange(SIZE) * planks // SIZE)]
        image = image * (shade * tone).astype(np.float32)[:, None, None]
    return _grain(rng, image, 0.015)


def marble(rng: Generator) -> Image:
    base = muted_colour(rng, (0.55, 0.95), 0.2)
    vein = base * rng.uniform(0.3, 0.8)
    field = np.abs(noise(rng, (3, 3), 5, 0.6))
    return _grain(rng, _blend(vein, base, field * rng.uniform(2, 6)), 0.01)


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
    image = _blend(a, b, t.astype(np.float32))
    weave = np.sin(x * 2 * np.pi * 64) * np.sin(y * 2 * np.pi * 64) * rng.uniform(0.02, 0.08)
    folds = noise(rng, (3, 3), 3) * 0.08
    return _grain(rng, np.clip(image * (1 + weave + folds)[..., None], 0, 1), 0.03)


def checks(rng: Generator) -> Image:
    a = muted_colour(rng)
    b = np.clip(a * rng.uniform(0.6, 1.6), 0, 1) if rng.random() < 0.7 else muted_colour(rng)
    n = int(rng.integers(2, 9))
    y, x = np.mgrid[0:SIZE, 0:SIZE] * n // SIZE
    image = _blend(a, b, ((x + y) % 2).astype(np.float32))
    if rng.random() < 0.6:
        edge = ((np.mgrid[0:SIZE, 0:SIZE] * n % SIZE) < 0.03 * SIZE * n / 2).any(axis=0)
        image = _blend(image, muted_colour(rng), edge.astype(np.float32))
    return _grain(rng, np.clip(image * (1 + 0.08 * noise(rng, (4, 4)))[..., None], 0, 1), 0.015)


def speckle(rng: Generator) -> Image:
    a, b = muted_colour(rng, (0.2, 0.95), 0.35), muted_colour(rng)
    cells = int(rng.integers(3, 60))
    return _grain(rng, _blend(a, b, 0.25 + noise(rng, (cells, cells), 4) * rng.uniform(0.2, 1.2)), 0.02)


def plain(rng: Generator) -> Image:
    base = muted_colour(rng)
    return _grain(
        rng, np.clip(base * (1 + rng.uniform(0.01, 0.1) * noise(rng, (2, 2), 5))[..., None], 0, 1), 0.012
    )


def _text(rng: Generator, image: Image, box: tuple[int, int, int, int], colour: Image, lines: int) -> None:
    """Write nonsense words into (x, y, width, height) of the image, in place."""
    x, y, w, h = box
    ink = np.zeros(image.shape[:2], np.uint8)  # OpenCV writes text on 8-bit images only
    for line in range(lines):
        word = "".join(rng.choice(list("AEIOUBCDFGLMNPRSTVabdeilmnorstu 0123456789"), rng.integers(3, 11)))
        font = int(rng.integers(0, 8))
        (tw, th), _ = cv2.getTextSize(word, font, 1.0, 1)
        scale = min(w / max(tw, 1), 0.8 * h / lines / max(th, 1))
        base = int(y + (line + 0.85) * h / lines)
        cv2.putText(ink, word, (x, base), font, scale, 255, max(1, round(scale * 1.6)), cv2.LINE_AA)
    cover = ink[..., None].astype(np.float32) / 255
    image += cover * (colour - image)


def label(rng: Generator) -> Image:
    """A printed wrap-around: background, bands, a logo, a few words, small print; twice round."""
    base = muted_colour(rng, (0.15, 0.98), 0.8)
    half = np.empty((SIZE, SIZE // 2, 3), np.float32)
    half[:] = base
    if rng.random() < 0.4:
        half[:] = (
            half
            + (muted_colour(rng, saturation=0.8) - base)
            * np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
        )
    for _ in range(rng.integers(0, 4)):
        y0 = int(rng.integers(0, SIZE))
        cv2.rectangle(
            half,
            (0, y0),
            (SIZE, y0 + int(rng.integers(3, 60))),
            muted_colour(rng, saturation=0.8).tolist(),
            -1,
        )
    for _ in range(rng.integers(0, 4)):
        c = (int(rng.integers(0, 128)), int(rng.integers(20, 236)))
        axes = (int(rng.integers(8, 50)), int(rng.integers(8, 60)))
        cv2.ellipse(
            half,
            c,
            axes,
            float(rng.uniform(0, 180)),
            0,
            360,
            muted_colour(rng, saturation=0.9).tolist(),
            -1,
            cv2.LINE_AA,
        )
    dark = muted_colour(rng, (0.0, 0.25)) if half.mean() > 0.45 else muted_colour(rng, (0.8, 1.0), 0.3)
    _text(
        rng,
        half,
        (8, int(rng.integers(30, 110)), 112, int(rng.integers(35, 90))),
        dark,
        int(rng.integers(1, 3)),
    )
    if rng.random() < 0.7:
        _text(rng, half, (int(rng.integers(5, 60)), 190, 60, 55), dark, 5)
    if rng.random() < 0.3:
        for x in range(70, 120, 3):
            cv2.line(half, (x, 205), (x, 235), (0.05, 0.05, 0.05), int(rng.integers(1, 3)))
    return np.concatenate([half, half], axis=1)


def screen(rng: Generator) -> Image:
    """A display: off, a desktop with windows of text, or a picture."""
    kind = rng.random()
    if kind < 0.25:
        return np.full((SIZE, SIZE, 3), rng.uniform(0.01, 0.05), np.float32)
    image = (
        scenery(rng)
        if kind < 0.7
        else np.full((SIZE, SIZE, 3), 1.0, np.float32) * muted_colour(rng, (0.1, 0.95))
    )
    for _ in range(rng.integers(0, 4)):
        x, y = int(rng.integers(0, 150)), int(rng.integers(5, 120))
        w, h = int(rng.integers(60, 180)), int(rng.integers(60, 140))
        dark = rng.random() < 0.4
        paper = np.full(3, rng.uniform(0.05, 0.2) if dark else rng.uniform(0.85, 1.0), np.float32)
        cv2.rectangle(image, (x, y), (x + w, y + h), paper.tolist(), -1)
        cv2.rectangle(image, (x, y), (x + w, y + 9), (paper * 0.8).tolist(), -1)
        for row in range(y + 16, y + h - 4, 7):
            ink = muted_colour(rng, (0.6, 0.9) if dark else (0.1, 0.5))
            cv2.line(
                image,
                (x + 6 + int(rng.integers(0, 12)), row),
                (x + int(w * rng.uniform(0.3, 0.95)), row),
                ink.tolist(),
                2,
            )
    if rng.random() < 0.7:
        cv2.rectangle(image, (0, 244), (SIZE, SIZE), muted_colour(rng, (0.05, 0.4)).tolist(), -1)
    return image


def keyboard(rng: Generator) -> Image:
    """A laptop keyboard: five or six rows of keys with letters and a space bar, its top row first."""
    deck = muted_colour(rng, (0.05, 0.8), 0.1)
    key = deck * rng.uniform(0.3, 0.7) if rng.random() < 0.7 else np.clip(deck * 1.5 + 0.1, 0, 1)
    ink = np.full(3, 0.9 if key.mean() < 0.4 else 0.15, np.float32)
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = deck
    rows = int(rng.integers(5, 7))
    step_y = SIZE / rows
    for row in range(rows):
        widths = np.ones(14) if row < rows - 1 else np.array([1.2, 1, 1, 1.2, 6, 1.2, 1, 1, 1])
        widths[-1] = 1.6 if row < rows - 1 else 1.0
        edges = np.concatenate([[0], np.cumsum(widths)]) / widths.sum() * (SIZE - 4) + 2
        for x0, x1 in pairwise(edges):
            top = (round(x0 + 1.2), round(row * step_y + 2))
            low = (round(x1 - 1.2), round((row + 1) * step_y - 2))
            cv2.rectangle(image, top, low, key.tolist(), -1)
            if x1 - x0 < 40:
                c = (round((x0 + x1) / 2 - 3), round((row + 0.45) * step_y))
                cv2.rectangle(image, c, (c[0] + 5, c[1] + 7), ink.tolist(), 1)
    return image


def scenery(rng: Generator) -> Image:
    """Blurred clutter: gradient, blocks, shelves and blobs, as a wall or a photograph far away looks."""
    a, b = muted_colour(rng, (0.2, 0.95), 0.4), muted_colour(rng, (0.1, 0.9), 0.4)
    image = a + (b - a) * np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None] * np.ones(
        (1, SIZE, 1), np.float32
    )
    for _ in range(rng.integers(2, 26)):
        colour = muted_colour(rng).tolist()
        x, y = int(rng.integers(-40, SIZE)), int(rng.integers(-40, SIZE))
        w, h = int(rng.integers(6, 110)), int(rng.integers(6, 130))
        if rng.random() < 0.75:
            cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
        else:
            cv2.ellipse(image, (x, y), (w // 2, h // 2), 0, 0, 360, colour, -1)
    image = np.ascontiguousarray(image, np.float32)
    sigma = rng.uniform(0.3, 5.0)
    image = cv2.GaussianBlur(image, (0, 0), sigma)
    return np.clip(image * (1 + 0.1 * noise(rng, (3, 3)))[..., None], 0, 1).astype(np.float32)


KINDS: dict[str, tuple[Callable[[Generator], Image], float]] = {
    "wood": (wood, 0.14),
    "marble": (marble, 0.06),
    "cloth": (cloth, 0.12),
    "checks": (checks, 0.06),
    "speckle": (speckle, 0.08),
    "plain": (plain, 0.08),
    "label": (label, 0.24),
    "screen": (screen, 0.06),
    "keyboard": (keyboard, 0.04),
    "scenery": (scenery, 0.12),
}
LAYERS = {"train": 640, "val": 160, "test": 160}


class TextureBank:
    """The textures of one split: ``layers`` (N, SIZE, SIZE, 3) uint8 sRGB and, per kind, which layers are of it."""

    def __init__(self, split: str, count: int | None = None) -> None:
        if split not in LAYERS:
            raise ValueError(f"split is {split!r}, expected one of {sorted(LAYERS)}")
        total = count or LAYERS[split]
        images: list[NDArray[np.uint8]] = []
        self.kinds: dict[str, list[int]] = {}
        for kind, (make, share) in KINDS.items():
            self.kinds[kind] = []
            for index in range(max(2, round(share * total))):
                rng = np.random.default_rng([zlib.crc32(f"{split}/{kind}".encode()), index])
                self.kinds[kind].append(len(images))
                images.append(np.round(np.clip(make(rng), 0, 1) * 255).astype(np.uint8))
        self.layers: NDArray[np.uint8] = np.stack(images)

    def pick(self, rng: Generator, *kinds: str) -> int:
        """A random layer of one of the kinds, each layer equally likely."""
        pool = [layer for kind in kinds for layer in self.kinds[kind]]
        return int(pool[rng.integers(len(pool))])
