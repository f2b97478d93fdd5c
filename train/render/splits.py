# SPDX-License-Identifier: Apache-2.0
"""The splits of the rendered data: their pools of shapes, textures and environments, and their difficulty.

Splits of different pools share no shape instance, texture, environment or random seed.
"""

from __future__ import annotations

from dataclasses import dataclass

from train.render.mesh_category import MeshCategory

POOLS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """The distribution of a split.

    ``pool`` is one of :data:`POOLS`; ``empty`` is the share of scenes without any of the six categories;
    ``pace`` scales the camera's speed; ``occluder`` is the share of clips with a passing occluder; ``added`` is a
    seventh category.
    """

    pool: str
    empty: float = 0.1
    pace: float = 1.0
    occluder: float = 0.12
    added: MeshCategory | None = None


SPLITS = {
    "train": Split("train"),
    "val": Split("val"),
    "test": Split("test", pace=0.6),
    "test-motion": Split("test", empty=0.0, pace=1.8, occluder=0.6),
    "test-empty": Split("test", empty=1.0),
}


@dataclass(frozen=True)
class BenchmarkPart:
    """Clips of one split of a benchmark: their number, frames per clip, frame rate (None: irregular) and seed."""

    split: str
    clips: int
    frames: int
    fps: float | None
    seed: int


BENCHMARKS = {
    "seqpose-synth": (
        BenchmarkPart("val", 60, 4, None, 20),
        BenchmarkPart("test", 100, 30, 10.0, 21),
        BenchmarkPart("test-motion", 40, 30, 10.0, 22),
        BenchmarkPart("test-empty", 40, 10, 10.0, 23),
    ),
    # A few frames to test a pipeline; figures measured on them are meaningless.
    "smoke": (
        BenchmarkPart("val", 1, 4, None, 20),
        BenchmarkPart("test", 1, 4, 10.0, 21),
        BenchmarkPart("test-empty", 1, 2, 10.0, 23),
    ),
}


def split_settings(name: str) -> Split:
    """The settings of a split.

    :raises ValueError: for an unknown split.
    """
    if name not in SPLITS:
        raise ValueError(f"split is {name!r}; it must be one of {sorted(SPLITS)}")
    return SPLITS[name]
