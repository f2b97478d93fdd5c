# SPDX-License-Identifier: Apache-2.0
"""A bank of procedural textures: generated once per worker and pool, uploaded as one texture array.

Layers of a pool are drawn from that pool's own seeds, so no texture of one pool appears in another.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.render import packaging, prints
from train.render.patterns import (
    Image,
    brushed,
    carpet,
    checks,
    cloth,
    marble,
    ornament,
    plain,
    speckle,
    wood,
)

KINDS: dict[str, tuple[Callable[[Generator], Image], float]] = {
    "wood": (wood, 0.11),
    "marble": (marble, 0.04),
    "cloth": (cloth, 0.08),
    "carpet": (carpet, 0.05),
    "checks": (checks, 0.05),
    "speckle": (speckle, 0.06),
    "plain": (plain, 0.06),
    "brushed": (brushed, 0.02),
    "ornament": (ornament, 0.12),
    "label": (prints.label, 0.16),
    "box": (packaging.box, 0.07),
    "poster": (packaging.poster, 0.04),
    "page": (packaging.page, 0.03),
    "tags": (packaging.tags, 0.02),
    "screen": (prints.screen, 0.05),
    "keyboard": (prints.keyboard, 0.04),
    "scenery": (prints.scenery, 0.06),
}
LAYERS = {"train": 800, "val": 200, "test": 200}


class TextureBank:
    """The textures of one pool.

    ``layers`` (N, SIZE, SIZE, 3) uint8 sRGB; ``kinds``: the layers of each kind.
    """

    def __init__(self, pool: str, count: int | None = None) -> None:
        if pool not in LAYERS:
            raise ValueError(f"pool is {pool!r}; it must be one of {sorted(LAYERS)}")
        total = count or LAYERS[pool]
        images: list[NDArray[np.uint8]] = []
        self.kinds: dict[str, list[int]] = {}
        for kind, (make, share) in KINDS.items():
            self.kinds[kind] = []
            for index in range(max(2, round(share * total))):
                rng = np.random.default_rng([zlib.crc32(f"{pool}/{kind}".encode()), index])
                self.kinds[kind].append(len(images))
                images.append(np.round(np.clip(make(rng), 0, 1) * 255).astype(np.uint8))
        self.layers: NDArray[np.uint8] = np.stack(images)

    def pick(self, rng: Generator, *kinds: str) -> int:
        """A random layer: one of the kinds, equally likely, then one of its layers."""
        pool = self.kinds[kinds[rng.integers(len(kinds))]]
        return int(pool[rng.integers(len(pool))])
