# SPDX-License-Identifier: Apache-2.0
"""Environment maps: procedural or HDR photographs, with their irradiance and main light for the shader.

An environment is radiance over the sphere (z up) in an octahedral map. Its irradiance is kept as spherical
harmonics (Ramamoorthi and Hanrahan 2001) without its brightest region, which becomes a light that casts shadows.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.render.meshes import Array
from train.render.panoramas import make_panorama

SIZE = 256  # texels per side of the octahedral map
RANGE = 16.0  # largest radiance that the 8-bit map holds, in units of the mean upward irradiance over pi
ENVIRONMENTS = {"train": 72, "val": 16, "test": 16}
ASSET_FILE = "environments.safetensors"
# Names of the HDR photographs of each pool, a partition of the 18 in `@pmndrs/assets`.
PHOTOGRAPHS = {
    "train": (
        *("apartment", "bridge", "city", "dawn", "esplanade", "forest"),
        *("hall", "lab", "night", "park", "studio", "warehouse"),
    ),
    "val": ("sky", "sunset", "workshop"),
    "test": ("lobby", "sunrise", "venice"),
}


@dataclass(frozen=True)
class Environment:
    """radiance (SIZE, SIZE, 3) float32 linear, octahedral; ``harmonics`` (9, 3): irradiance over pi in the basis of
    :func:`harmonic_basis`; the shadow-casting light: unit ``direction`` (3,) towards it, its ``irradiance`` (3,) over
    pi at normal incidence, its angular ``spread`` in radians."""

    name: str
    radiance: NDArray[np.float32]
    harmonics: Array
    direction: Array
    irradiance: Array
    spread: float


def octahedral_directions(size: int = SIZE) -> Array:
    """Unit directions (size, size, 3) of the texel centres; row is the second coordinate."""
    line = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(line, line)
    z = 1 - np.abs(x) - np.abs(y)
    below = z < 0
    fx = np.where(below, (1 - np.abs(y)) * np.sign(x), x)
    fy = np.where(below, (1 - np.abs(x)) * np.sign(y), y)
    d = np.stack([fx, fy, z], axis=-1)
    return d / np.linalg.norm(d, axis=-1, keepdims=True)


def solid_angles(size: int = SIZE) -> Array:
    """Solid angle (size, size) of each texel in steradians."""
    d = octahedral_directions(size)
    weight = np.abs(d).sum(axis=-1) ** 3  # 1 / |v|^3 for v on the octahedron
    return weight * (4 * np.pi / weight.sum())


def harmonic_basis(d: Array) -> Array:
    """Basis (..., 9) of directions (..., 3): 1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2."""
    x, y, z = d[..., 0], d[..., 1], d[..., 2]
    return np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=-1)


# Squared norms of the real harmonics and the cosine lobe's convolution factors over pi.
_NORM = np.array([0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274]) ** 2
_COSINE = np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])


def irradiance_harmonics(radiance: Array) -> Array:
    """Coefficients (9, 3) of irradiance over pi."""
    d = octahedral_directions(radiance.shape[0])
    basis = harmonic_basis(d) * solid_angles(radiance.shape[0])[..., None]
    return (_NORM * _COSINE)[:, None] * np.einsum("hwk,hwc->kc", basis, radiance)


def analyse(name: str, radiance: NDArray[np.float32]) -> Environment:
    """Split an environment into diffuse light and one shadow-casting light; scales it to unit upward irradiance."""
    d, omega = octahedral_directions(), solid_angles()
    luminance = radiance @ np.array([0.2126, 0.7152, 0.0722])
    mean = float((luminance * omega).sum() / (4 * np.pi))
    excess = np.clip(1 - 2.2 * mean / np.maximum(luminance, 1e-9), 0, 1)
    power = luminance * excess * omega * (d[..., 2] > 0.15)
    peak = np.unravel_index(int(cv2.GaussianBlur(power, (0, 0), 6).argmax()), power.shape)
    near = (d @ d[peak] > np.cos(np.radians(33))) & (d[..., 2] > 0.1)
    share = power * near
    total = share.sum()
    if total > 0:
        direction = np.einsum("hw,hwc->c", share, d)
        direction /= np.linalg.norm(direction)
        spread = float(np.sqrt((share * np.arccos(np.clip(d @ direction, -1, 1)) ** 2).sum() / total))
    else:
        direction, spread = np.array([0.3, 0.2, 0.93]), 0.3
    removed = radiance * (excess * near)[..., None]
    irradiance = np.einsum("hwc,hw->c", removed, omega * np.clip(d @ direction, 0, 1)) / np.pi
    harmonics = irradiance_harmonics(np.asarray(radiance - removed, dtype=float))
    up = harmonic_basis(np.array([0.0, 0.0, 1.0])) @ harmonics + irradiance * max(direction[2], 0)
    scale = 1 / float(np.mean(up))
    return Environment(
        name, (radiance * scale).astype(np.float32), harmonics * scale, direction, irradiance * scale, spread
    )


def from_panorama(panorama: NDArray[np.float32]) -> NDArray[np.float32]:
    """Octahedral map of an equirectangular panorama (H, W, 3) whose top row is the zenith."""
    height, width = panorama.shape[:2]
    d = octahedral_directions().astype(np.float32)
    u = (np.arctan2(d[..., 1], d[..., 0]) / (2 * np.pi) + 0.5) * width - 0.5
    v = np.arccos(np.clip(d[..., 2], -1, 1)) / np.pi * height - 0.5
    wrapped = np.concatenate([panorama[:, -1:], panorama, panorama[:, :1]], axis=1)
    return np.asarray(cv2.remap(wrapped, u + 1, np.clip(v, 0, height - 1), cv2.INTER_LINEAR), dtype=np.float32)


def light_balance(environment: Environment) -> Array:
    """White balance gains (3,) that remove most of the colour of the light on a level surface."""
    up = harmonic_basis(np.array([0.0, 0.0, 1.0])) @ environment.harmonics
    total = np.maximum(up + environment.irradiance * max(environment.direction[2], 0), 0.05)
    return np.asarray((total.mean() / total) ** 0.75)


class EnvironmentBank:
    """The environments of one pool. ``layers`` (N, SIZE, SIZE, 4) uint8 holds sqrt(radiance / RANGE)."""

    def __init__(self, pool: str, assets: Path | None = None, count: int | None = None) -> None:
        self.environments: list[Environment] = []
        for index in range(count or ENVIRONMENTS[pool]):
            rng = np.random.default_rng([zlib.crc32(f"{pool}/environment".encode()), index])
            radiance = make_panorama(rng, octahedral_directions())
            self.environments.append(analyse(f"{pool}_{index:03d}", radiance))
        self.procedural = len(self.environments)
        if assets is not None:
            self.environments += [analyse(name, radiance) for name, radiance in _read_photographs(assets, pool)]
        encoded = [np.sqrt(np.clip(e.radiance / RANGE, 0, 1)) * 255 + 0.5 for e in self.environments]
        self.layers = np.full((len(encoded), SIZE, SIZE, 4), 255, np.uint8)
        self.layers[..., :3] = np.stack(encoded)

    def pick(self, rng: Generator) -> int:
        """Index of a random environment: a photograph with probability 0.5 if there are any."""
        photographs = len(self.environments) - self.procedural
        if photographs and rng.random() < 0.5:
            return self.procedural + int(rng.integers(photographs))
        return int(rng.integers(self.procedural))


def _read_photographs(folder: Path, pool: str) -> list[tuple[str, NDArray[np.float32]]]:
    from safetensors.numpy import load_file

    path = folder / ASSET_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run python -m train.render.assets --out {folder}")
    panoramas = load_file(path)
    missing = [name for name in PHOTOGRAPHS[pool] if name not in panoramas]
    if missing:
        raise ValueError(
            f"{path} has no environment {missing[0]!r}; download the assets again with train.render.assets"
        )
    return [(name, from_panorama(panoramas[name].astype(np.float32))) for name in PHOTOGRAPHS[pool]]
