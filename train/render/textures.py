# SPDX-License-Identifier: Apache-2.0
"""A bank of procedural textures: made once per worker and split, uploaded as one texture array.

Layers of a split are drawn from that split's own seeds, so no texture of one split appears in another.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.render.patterns import Image, checks, cloth, marble, plain, speckle, wood
from train.render.prints import keyboard, label, scenery, screen

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
    """The textures of one split.

    ``layers`` (N, SIZE, SIZE, 3) uint8 sRGB; ``kinds``: the layers of each kind.
    """

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
