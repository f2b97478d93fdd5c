# SPDX-License-Identifier: Apache-2.0
"""Endless seeded orders with random access: of windows in clips, of clips, and of the sets of a mixture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def proportional_counts(total: int, weights: Sequence[float]) -> list[int]:
    """``total`` divided in proportion to ``weights``, into integers of at least 1."""
    exact = total * np.asarray(weights, float) / sum(weights)
    counts = np.floor(exact).astype(int)
    rest = np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]
    counts[rest] += 1
    return [max(1, int(count)) for count in counts]


def interleave(counts: Sequence[int] | np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random order of counts[0] zeros, counts[1] ones, ..., in which each value is spread evenly."""
    counts = np.asarray(counts)
    kinds = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(kinds)) - np.repeat(np.cumsum(counts) - counts, counts)
    return kinds[np.argsort((rank + random.random(len(kinds))) / counts[kinds], kind="stable")]


class _Passes:
    """Passes by number; the last two are cached, as a batch may span two of them."""

    def __init__(self, make: Callable[[int], np.ndarray]) -> None:
        self._make = make
        self._made: dict[int, np.ndarray] = {}

    def __getitem__(self, number: int) -> np.ndarray:
        if number not in self._made:
            self._made = dict(list(self._made.items())[-1:])
            self._made[number] = self._make(number)
        return self._made[number]


class WindowOrder:
    """Windows of ``length`` frames, pass after pass.

    A pass cuts each clip into length // ``length`` windows and spreads them evenly, in random order. In each pass the
    windows start one frame later than in the previous one, so that all frames are seen equally often.
    """

    def __init__(self, clip_lengths: np.ndarray, length: int, seed: Sequence[int]) -> None:
        self._seed, self._length = list(seed), length
        self._windows = clip_lengths // length
        self._first = np.cumsum(self._windows) - self._windows
        self._starts = clip_lengths - length + 1
        self._offsets = np.random.default_rng([*seed, 1]).integers(0, 1 << 31, len(clip_lengths))
        self._passes = _Passes(self._pass)

    def __len__(self) -> int:
        """Number of windows of one pass."""
        return int(self._windows.sum())

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Clip and first frame of the window at a position of the endless order."""
        number, within = divmod(position, len(self))
        clip, window = self._passes[number][within].tolist()
        return clip, int((self._offsets[clip] + number + window * self._length) % self._starts[clip])

    def _pass(self, number: int) -> np.ndarray:
        random = np.random.default_rng([*self._seed, 2, number])
        clips = interleave(self._windows, random)
        # The k-th occurrence of a clip is the k-th of its windows in random order.
        shuffled = random.permutation(len(clips))
        owner = np.repeat(np.arange(len(self._windows)), self._windows)
        windows = shuffled[np.argsort(owner[shuffled], kind="stable")] - self._first[owner]
        result = np.empty((len(clips), 2), np.int64)
        result[:, 0] = clips
        result[np.argsort(clips, kind="stable"), 1] = windows
        return result


class ClipOrder:
    """Clip indices, one random permutation after another."""

    def __init__(self, count: int, seed: Sequence[int]) -> None:
        self._count = count
        self._passes = _Passes(lambda number: np.random.default_rng([*seed, number]).permutation(count))

    def __getitem__(self, position: int) -> int:
        number, within = divmod(position, self._count)
        return int(self._passes[number][within])


class Mixture:
    """The set of each sample: every epoch has ``counts`` samples of the sets, spread evenly."""

    def __init__(self, counts: Sequence[int], seed: Sequence[int]) -> None:
        self._counts, self._seed = np.asarray(counts), list(seed)
        self._passes = _Passes(self._pass)

    def __len__(self) -> int:
        """Number of samples of one epoch."""
        return int(self._counts.sum())

    def __getitem__(self, position: int) -> tuple[int, int]:
        """The set, and the number of earlier samples from it."""
        if len(self._counts) == 1:
            return 0, position
        epoch, within = divmod(position, len(self))
        number, rank = self._passes[epoch][within].tolist()
        return number, epoch * int(self._counts[number]) + rank

    def _pass(self, epoch: int) -> np.ndarray:
        sets = interleave(self._counts, np.random.default_rng([*self._seed, epoch]))
        ranks = np.empty(len(sets), np.int64)
        for number in range(len(self._counts)):
            positions = np.flatnonzero(sets == number)
            ranks[positions] = np.arange(len(positions))
        return np.stack([sets, ranks], axis=1)
