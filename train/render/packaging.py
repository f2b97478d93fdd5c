# SPDX-License-Identifier: Apache-2.0
"""Textures of printed surfaces: cartons, posters, book covers, paper with text, tag boards.

Each texture function is ``rng -> (SIZE, SIZE, 3)`` sRGB in 0..1. Words are random letters.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from train.render.patterns import SIZE, Image, ink_colour, muted_colour
from train.render.prints import scenery, write_words


def _ground(rng: Generator) -> Image:
    image = np.empty((SIZE, SIZE, 3), np.float32)
    image[:] = ink_colour(rng)
    return image


def box(rng: Generator) -> Image:
    """A carton's front: strong ground, a title across, a picture or blob, bands, small print."""
    image = _ground(rng)
    if rng.random() < 0.5:
        y = int(rng.integers(0, SIZE - 40))
        cv2.rectangle(image, (0, y), (SIZE, y + int(rng.integers(30, 130))), ink_colour(rng).tolist(), -1)
    if rng.random() < 0.6:
        centre = (int(rng.integers(50, 206)), int(rng.integers(110, 220)))
        axes = (int(rng.integers(25, 100)), int(rng.integers(20, 70)))
        cv2.ellipse(image, centre, axes, float(rng.uniform(-30, 30)), 0, 360, ink_colour(rng).tolist(), -1, cv2.LINE_AA)
        for _ in range(rng.integers(0, 6)):
            spot = (centre[0] + int(rng.normal(0, 25)), centre[1] + int(rng.normal(0, 15)))
            cv2.circle(image, spot, int(rng.integers(4, 22)), ink_colour(rng).tolist(), -1, cv2.LINE_AA)
    title = ink_colour(rng)
    write_words(
        rng, image, (12, int(rng.integers(8, 90)), 232, int(rng.integers(40, 90))), title, int(rng.integers(1, 3))
    )
    if rng.random() < 0.7:
        write_words(rng, image, (int(rng.integers(8, 90)), 180, 110, 66), ink_colour(rng), 6)
    if rng.random() < 0.3:
        x, y = int(rng.integers(10, 180)), int(rng.integers(140, 190))
        cv2.rectangle(image, (x, y), (x + 60, y + 40), (1, 1, 1), -1)
        for stripe in range(x + 5, x + 55, 4):
            cv2.line(image, (stripe, y + 5), (stripe, y + 35), (0.05, 0.05, 0.05), int(rng.integers(1, 3)))
    return image


def poster(rng: Generator) -> Image:
    """A poster or a magazine page: a scene, a title, sometimes columns of text."""
    image = scenery(rng) if rng.random() < 0.6 else _ground(rng)
    write_words(rng, image, (10, int(rng.integers(5, 180)), 236, int(rng.integers(25, 70))), ink_colour(rng), 1)
    if rng.random() < 0.4:
        write_words(rng, image, (14, 120, 100, 120), ink_colour(rng), 9)
    return image


def page(rng: Generator) -> Image:
    """White or tinted paper with lines of text and a figure."""
    image = np.full((SIZE, SIZE, 3), rng.uniform(0.85, 1.0), np.float32) * (1 - 0.1 * rng.random(3).astype(np.float32))
    ink = muted_colour(rng, (0.0, 0.3))
    write_words(rng, image, (20, 10, 200, 24), ink, 1)
    for y in range(45, 245, int(rng.integers(6, 11))):
        cv2.line(image, (18, y), (int(rng.integers(120, 240)), y), (ink + 0.25).tolist(), int(rng.integers(1, 3)))
    if rng.random() < 0.5:
        x, y = int(rng.integers(20, 120)), int(rng.integers(50, 150))
        cv2.rectangle(
            image, (x, y), (x + int(rng.integers(40, 110)), y + int(rng.integers(40, 90))), ink_colour(rng).tolist(), -1
        )
    return image


def tags(rng: Generator) -> Image:
    """A board of square black-and-white tags, or a checkerboard."""
    image = np.full((SIZE, SIZE, 3), rng.uniform(0.88, 1.0), np.float32)
    n = int(rng.integers(1, 6))
    step = SIZE // n
    if rng.random() < 0.3:
        y, x = np.mgrid[0:SIZE, 0:SIZE] * 2 * n // SIZE
        image[(x + y) % 2 == 0] = 0.05
        return image
    cells = int(rng.integers(5, 9))
    for row in range(n):
        for column in range(n):
            code = rng.integers(0, 2, (cells, cells)).astype(np.float32)
            code[[0, -1]], code[:, [0, -1]] = 0, 0
            side = int(step * 0.8)
            patch = cv2.resize(code, (side, side), interpolation=cv2.INTER_NEAREST)
            y0, x0 = row * step + step // 10, column * step + step // 10
            image[y0 : y0 + side, x0 : x0 + side] = patch[..., None] * 0.9 + 0.04
    return image
