# SPDX-License-Identifier: Apache-2.0
"""Textures with content: labels, displays, keyboards, and the background of a room.

Each texture function is ``rng -> (SIZE, SIZE, 3)`` sRGB in 0..1. Words are random letters.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator

from train.render.patterns import SIZE, Image, ink_colour, muted_colour, noise


def write_words(rng: Generator, image: Image, box: tuple[int, int, int, int], colour: Image, lines: int) -> None:
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
    """A printed wrap-around: background, bands, a logo, a few words, small print; repeated twice around the object."""
    base = ink_colour(rng) if rng.random() < 0.7 else muted_colour(rng, (0.15, 0.98), 0.8)
    half = np.empty((SIZE, SIZE // 2, 3), np.float32)
    half[:] = base
    if rng.random() < 0.4:
        half[:] = (
            half + (muted_colour(rng, saturation=0.8) - base) * np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
        )
    for _ in range(rng.integers(0, 4)):
        y0 = int(rng.integers(0, SIZE))
        cv2.rectangle(
            half,
            (0, y0),
            (SIZE, y0 + int(rng.integers(3, 60))),
            ink_colour(rng).tolist(),
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
            ink_colour(rng).tolist(),
            -1,
            cv2.LINE_AA,
        )
    dark = muted_colour(rng, (0.0, 0.25)) if half.mean() > 0.45 else muted_colour(rng, (0.8, 1.0), 0.3)
    write_words(
        rng,
        half,
        (8, int(rng.integers(30, 110)), 112, int(rng.integers(35, 90))),
        dark,
        int(rng.integers(1, 3)),
    )
    if rng.random() < 0.7:
        write_words(rng, half, (int(rng.integers(5, 60)), 190, 60, 55), dark, 5)
    if rng.random() < 0.3:
        for x in range(70, 120, 3):
            cv2.line(half, (x, 205), (x, 235), (0.05, 0.05, 0.05), int(rng.integers(1, 3)))
    return np.concatenate([half, half], axis=1)


def screen(rng: Generator) -> Image:
    """A display: off, a desktop with windows of text, or a picture."""
    kind = rng.random()
    if kind < 0.25:
        return np.full((SIZE, SIZE, 3), rng.uniform(0.01, 0.05), np.float32)
    image = scenery(rng) if kind < 0.7 else np.full((SIZE, SIZE, 3), 1.0, np.float32) * muted_colour(rng, (0.1, 0.95))
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
    """Blurred clutter: gradient, blocks, shelves and blobs, like a distant wall or photograph."""
    a, b = muted_colour(rng, (0.2, 0.95), 0.4), muted_colour(rng, (0.1, 0.9), 0.4)
    image = a + (b - a) * np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None] * np.ones((1, SIZE, 1), np.float32)
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
