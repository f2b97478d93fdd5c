# SPDX-License-Identifier: Apache-2.0
"""Procedural environments: rooms with windows and lamps, skies, and studios with soft boxes.

Each function is ``(rng, directions (H, W, 3)) -> radiance (H, W, 3)`` float32, linear, z up.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.render.meshes import Array
from train.render.patterns import muted_colour

Radiance = NDArray[np.float32]


def light_colour(rng: Generator, temperature: tuple[float, float] = (-0.35, 0.35)) -> Array:
    """Linear colour (3,) of a light from blue (negative) to warm (positive), green-neutral, mean about 1."""
    t = rng.uniform(*temperature)
    return np.array([1 + 0.8 * t, 1 + 0.05 * t, 1 - 0.8 * t])


def _soft_rectangle(u: Array, v: Array, half_u: float, half_v: float, edge: float) -> Array:
    """1 inside the rectangle, 0 outside, with a smooth edge."""
    inside = np.minimum(half_u - np.abs(u), half_v - np.abs(v))
    t = np.clip(inside / edge + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def room(rng: Generator, d: Array) -> Radiance:
    """The inside of a box room seen from above a table: windows, ceiling lamps, furniture and pictures."""
    half = np.array([rng.uniform(1.3, 4.5), rng.uniform(1.3, 4.5)])
    low, high = -rng.uniform(0.5, 1.1), rng.uniform(1.0, 2.4)
    limits = np.where(d > 0, [half[0], half[1], high], [-half[0], -half[1], low])
    reach = limits / np.where(np.abs(d) < 1e-6, 1e-6, d)
    face = reach.argmin(axis=-1)
    point = d * reach.min(axis=-1, keepdims=True)
    wall = muted_colour(rng, (0.35, 0.9), 0.3).astype(float) ** 2.2
    floor = muted_colour(rng, (0.15, 0.65), 0.5).astype(float) ** 2.2
    image = np.where((face < 2)[..., None], wall, np.where((d[..., 2] > 0)[..., None], wall * 0.8 + 0.15, floor))
    image = image * (0.55 + 0.45 * np.clip((point[..., 2:] - low) / (high - low), 0, 1))
    lateral = np.where(face == 0, point[..., 1], point[..., 0])
    for _ in range(rng.integers(3, 16)):  # furniture, doors and pictures
        axis, sign = int(rng.integers(2)), rng.choice([-1.0, 1.0])
        here = (face == axis) & (d[..., axis] * sign > 0)
        width, height = rng.uniform(0.15, 1.0), rng.uniform(0.15, 0.9)
        bottom = low if rng.random() < 0.5 else rng.uniform(low, high - 0.4)
        cover = _soft_rectangle(
            lateral - rng.uniform(-half[1 - axis], half[1 - axis]), point[..., 2] - bottom - height, width, height, 0.04
        )
        colour = muted_colour(rng, (0.05, 0.9), 0.8).astype(float) ** 2.2
        image = np.where(here[..., None], image + cover[..., None] * (colour - image), image)
    day = rng.random() < 0.7
    for _ in range(int(rng.integers(1, 4)) if day else 0):
        axis, sign = int(rng.integers(2)), rng.choice([-1.0, 1.0])
        here = (face == axis) & (d[..., axis] * sign > 0)
        width, height = rng.uniform(0.3, 1.4), rng.uniform(0.3, 0.8)
        u = lateral - rng.uniform(-0.6, 0.6) * half[1 - axis]
        v = point[..., 2] - rng.uniform(0.3, 0.8)
        cover = _soft_rectangle(u, v, width, height, 0.05) * here
        panes = rng.uniform(0.25, 0.8)
        cover = cover * np.where(np.abs((u / panes) % 1 - 0.5) > 0.45, 0.25, 1.0)
        outside = (
            rng.uniform(4, 25) * light_colour(rng, (-0.3, 0.1)) * (0.6 + 0.5 * np.clip(v / height, -1, 1))[..., None]
        )
        image = image + cover[..., None] * outside
    lamps = int(rng.integers(1, 7)) if (not day or rng.random() < 0.4) else 0
    tone = light_colour(rng, (-0.1, 0.45)) * rng.uniform(6, 30)
    size = rng.uniform([0.08, 0.08], [0.35, 0.9])
    for _ in range(lamps):
        x, y = rng.uniform(-0.8, 0.8, 2) * half
        here = (face == 2) & (d[..., 2] > 0)
        cover = _soft_rectangle(point[..., 0] - x, point[..., 1] - y, size[0], size[1], 0.1) * here
        image = image + cover[..., None] * tone
    return image.astype(np.float32)


def sky(rng: Generator, d: Array) -> Radiance:
    """Outdoors: sky gradient, a hazy sun or clouds, a dark line of trees or houses, ground."""
    z = d[..., 2:]
    horizon, zenith = (
        light_colour(rng, (-0.15, 0.3)) * rng.uniform(0.8, 2),
        np.array([0.5, 0.7, 1.1]) * rng.uniform(0.4, 1.2),
    )
    image = horizon + (zenith - horizon) * np.clip(z, 0, 1) ** 0.5
    azimuth = np.arctan2(d[..., 1], d[..., 0])
    waves = sum(rng.normal() / k * np.sin(k * azimuth + rng.uniform(0, 6.28) + 4 * d[..., 2]) for k in range(1, 9))
    image = image * (1 + 0.25 * np.asarray(waves)[..., None] * np.clip(1 - z, 0, 1))
    if rng.random() < 0.7:
        elevation, sun_azimuth = np.radians(rng.uniform(15, 65)), rng.uniform(0, 2 * np.pi)
        sun = np.array(
            [np.cos(elevation) * np.cos(sun_azimuth), np.cos(elevation) * np.sin(sun_azimuth), np.sin(elevation)]
        )
        width = np.radians(rng.uniform(4, 14))
        angle2 = 2 - 2 * (d @ sun)
        image = image + rng.uniform(15, 120) * light_colour(rng, (0.0, 0.35)) * np.exp(-angle2 / width**2)[..., None]
    ground = muted_colour(rng, (0.15, 0.6), 0.4).astype(float) ** 2.2
    image = np.where(z < 0, ground, image)
    skyline = 0.08 * np.abs(np.asarray(waves)) + rng.uniform(0, 0.2)
    shade = muted_colour(rng, (0.1, 0.5), 0.6).astype(float) ** 2.2
    image = np.where((z[..., 0] >= -0.03)[..., None] & (z < skyline[..., None]), shade, image)
    return image.astype(np.float32)


def studio(rng: Generator, d: Array) -> Radiance:
    """Even surroundings with one to four soft boxes."""
    base = muted_colour(rng, (0.2, 0.8), 0.15).astype(float) ** 2.2
    image = base * (0.5 + 0.5 * np.clip(d[..., 2:] + 0.5, 0, 1))
    for _ in range(rng.integers(1, 5)):
        elevation, azimuth = np.radians(rng.uniform(15, 85)), rng.uniform(0, 2 * np.pi)
        to = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        right = np.cross([0, 0, 1.0], to)
        right /= np.linalg.norm(right)
        depth = d @ to
        u, v = (d @ right) / np.maximum(depth, 1e-3), (d @ np.cross(to, right)) / np.maximum(depth, 1e-3)
        half_u, half_v = rng.uniform(0.15, 0.7, 2)
        cover = _soft_rectangle(u, v, half_u, half_v, 0.12) * (depth > 0)
        image = image + cover[..., None] * light_colour(rng) * rng.uniform(3, 18)
    return image.astype(np.float32)


def make_panorama(rng: Generator, directions: Array) -> Radiance:
    """A random environment: mostly rooms."""
    make = (room, room, room, room, room, sky, studio)[rng.integers(7)]
    return make(rng, directions)
