# SPDX-License-Identifier: Apache-2.0
"""Batches as a pure function of (seed, step), so that a run resumed at step k gets the same batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from torch.utils.data import Sampler

from train.data.clips import ClipSample
from train.data.order import ClipOrder, Mixture, WindowOrder, proportional_counts


@dataclass(frozen=True)
class Stage:
    """A stage of the training schedule.

    :param until_step: the step that the stage ends before. :param epochs: its length in epochs. Exactly one is given.
        An epoch draws as many windows as all sets have without overlap.
    :param clip_length: frames of each clip in a batch.
    :param batch_clips: clips of a batch, over all processes.
    :param streaming: consecutive batches walk through clips, and the memory is kept from batch to batch; otherwise
        a batch holds random windows, and the memory starts empty.
    :param walk_frames: (min, max) frames of a walk: clips are cut into segments of random length, which are shuffled
        and augmented independently. None = walks go through full clips.
    :param reset_rate: probability that the memory of a walk is reset before a batch, in addition to the reset at the
        start of a walk, so that the network also learns to work without memory.
    """

    until_step: int | None = None
    clip_length: int = 1
    batch_clips: int = 16
    epochs: int | None = None
    streaming: bool = False
    walk_frames: tuple[int, int] | None = None
    reset_rate: float = 0.0

    def __post_init__(self) -> None:
        if (self.until_step is None) == (self.epochs is None) or (self.until_step or self.epochs or 0) < 1:
            raise ValueError(
                f"a stage has until_step {self.until_step} and epochs {self.epochs}; give one of them, at least 1"
            )
        if self.clip_length < 1 or self.batch_clips < 1:
            raise ValueError(f"{self} needs at least one clip of at least one frame")
        if not self.streaming and (self.walk_frames is not None or self.reset_rate):
            raise ValueError(f"{self} sets walk_frames or reset_rate, which act on streaming stages only")
        if not 0 <= self.reset_rate <= 1:
            raise ValueError(f"reset_rate is {self.reset_rate}; it must be in 0..1")
        if self.walk_frames is not None:
            low, high = self.walk_frames
            if low < self.clip_length or high < 2 * low:
                raise ValueError(
                    f"walk_frames is {list(self.walk_frames)}; the minimum must be at least clip_length "
                    f"{self.clip_length}, and the maximum at least twice the minimum"
                )


class StepSampler(Sampler[list[ClipSample]]):
    """Yields the batches of all steps from start_step to the end of the last stage.

    Windows are drawn in seeded passes over all clips of a set; sets are mixed by weight (see train.data.order). Clips
    shorter than a stage's clip_length are left out of it. Each process takes its part of every batch, so that W
    processes together get the same batch as a single one.

    :param clip_lengths: frames of each clip.
    :param stages: in order.
    :param set_of_clip: (N,) the set that each clip belongs to; one set if None.
    :param weights: sampling weight of each set.
    :param start_step: first step, for exact resume.
    :param reverse: probability of playing a window backwards; walks always go forwards.
    :param accumulate: number of parts that a process splits its batch into.
    :param process: (rank, number of processes).
    :raises ValueError: stages do not end in ascending order, no clip is long enough for a stage, or batch_clips is not
        divisible by the number of parts.
    """

    def __init__(
        self,
        clip_lengths: Sequence[int] | np.ndarray,
        stages: Sequence[Stage],
        *,
        set_of_clip: Sequence[int] | np.ndarray | None = None,
        weights: Sequence[float] = (1.0,),
        seed: int = 0,
        start_step: int = 0,
        reverse: float = 0.5,
        accumulate: int = 1,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        lengths = np.asarray(clip_lengths)
        sets = np.zeros(len(lengths), int) if set_of_clip is None else np.asarray(set_of_clip)
        self.seed, self.start_step, self.reverse = seed, start_step, reverse
        self.accumulate, self.process = accumulate, process
        orders: list[_Windows | _Walks] = []
        self.stages: tuple[Stage, ...] = ()
        for number, stage in enumerate(stages):
            _check_parts(stage, accumulate, process[1])
            orders.append((_Walks if stage.streaming else _Windows)(lengths, sets, weights, stage, [seed, number]))
            if stage.epochs is not None:
                end = self.max_steps + math.ceil(stage.epochs * orders[-1].steps_per_epoch)
                stage = replace(stage, until_step=end, epochs=None)
            self.stages += (stage,)
        ends = [0] + [stage.until_step or 0 for stage in self.stages]
        if len(ends) < 2 or any(end <= start for start, end in pairwise(ends)):
            raise ValueError(f"stages end at steps {ends[1:]}; at least one stage, each ending later than the last")
        self._starts, self._orders = ends[:-1], orders

    @property
    def max_steps(self) -> int:
        """The step after the last."""
        return (self.stages[-1].until_step or 0) if self.stages else 0

    def __len__(self) -> int:
        # The length of the full run, whatever start_step is: a resumed trainer counts from its current step, and
        # would treat the end of a shorter loader as the end of an epoch.
        return self.max_steps * self.accumulate

    def __iter__(self) -> Iterator[list[ClipSample]]:
        rank, processes = self.process
        for step in range(self.start_step, self.max_steps):
            batch = self.batch(step)
            count = len(batch) // processes
            own = batch[rank * count : (rank + 1) * count]
            size = count // self.accumulate
            yield from (own[first : first + size] for first in range(0, count, size))

    def batch(self, step: int) -> list[ClipSample]:
        """The batch of one step over all processes; does not depend on earlier calls."""
        number = next(i for i, stage in enumerate(self.stages) if step < (stage.until_step or 0))
        random = np.random.default_rng([self.seed, 2, step])
        return self._orders[number].batch(step - self._starts[number], random, self.reverse)


def _check_parts(stage: Stage, accumulate: int, processes: int) -> None:
    if stage.batch_clips % (processes * accumulate):
        raise ValueError(
            f"{stage} has {stage.batch_clips} clips per batch; they must divide into {processes} processes "
            f"x {accumulate} accumulated parts"
        )
    if stage.streaming and accumulate > 1:
        raise ValueError(f"{stage} keeps the memory between batches; this needs accumulate 1, not {accumulate}")


def _eligible(lengths: np.ndarray, sets: np.ndarray, number: int, stage: Stage) -> np.ndarray:
    """Indices of the clips of a set that are long enough for a stage."""
    clips = np.flatnonzero((sets == number) & (lengths >= stage.clip_length))
    if clips.size == 0:
        longest = lengths[sets == number].max(initial=0)
        raise ValueError(f"{stage} needs clips of {stage.clip_length} frames; the longest has {longest}")
    return clips


class _Windows:
    """Batches of random windows, for one stage."""

    def __init__(
        self, lengths: np.ndarray, sets: np.ndarray, weights: Sequence[float], stage: Stage, seed: list[int]
    ) -> None:
        self.stage = stage
        clips = [_eligible(lengths, sets, number, stage) for number in range(len(weights))]
        self.orders = [
            WindowOrder(lengths[chosen], stage.clip_length, [*seed, 3, number]) for number, chosen in enumerate(clips)
        ]
        self.clips = clips
        windows = sum(len(order) for order in self.orders)
        self.mixture = Mixture(proportional_counts(windows, weights), [*seed, 4])
        self.steps_per_epoch = windows / stage.batch_clips

    def batch(self, step: int, random: np.random.Generator, reverse: float) -> list[ClipSample]:
        """The batch of a step, counted from the start of the stage."""
        size, length = self.stage.batch_clips, self.stage.clip_length
        backwards = random.random(size) < reverse
        seeds = random.integers(0, 1 << 62, size)
        samples = []
        for index in range(size):
            number, position = self.mixture[step * size + index]
            clip, start = self.orders[number][position]
            frames = tuple(range(start, start + length))
            samples.append(
                ClipSample(
                    int(self.clips[number][clip]), frames[::-1] if backwards[index] else frames, int(seeds[index])
                )
            )
        return samples


class _Walks:
    """Batches that walk through clips, for one stage.

    The clips of an epoch are cut into pieces of clip_length frames and concatenated to one sequence, which is split
    into batch_clips streams of equal length. A batch takes the next piece of every stream. With ``walk_frames`` the
    sequence consists of shuffled segments of the clips. The memory is reset where a clip or segment starts, at the
    start of every stream, and at random with ``reset_rate``.
    """

    def __init__(
        self, lengths: np.ndarray, sets: np.ndarray, weights: Sequence[float], stage: Stage, seed: list[int]
    ) -> None:
        self.stage, self.seed = stage, seed
        self.clips = [_eligible(lengths, sets, number, stage) for number in range(len(weights))]
        self.pieces = lengths // stage.clip_length  # of every clip
        total = sum(int(self.pieces[chosen].sum()) for chosen in self.clips)
        self.steps_per_epoch = total // stage.batch_clips
        if not self.steps_per_epoch:
            raise ValueError(
                f"{stage} walks through {stage.batch_clips} clips at a time; there are only {total} pieces"
            )
        # Numbers of clips per set, such that the sets' numbers of pieces are in proportion to the weights.
        counts = [
            max(1, round(share / float(self.pieces[chosen].mean())))
            for share, chosen in zip(proportional_counts(total, weights), self.clips, strict=True)
        ]
        self.mixture = Mixture(counts, [*seed, 4])
        self.orders = [ClipOrder(len(chosen), [*seed, 3, number]) for number, chosen in enumerate(self.clips)]
        self._cached: tuple[int, np.ndarray] = (-1, np.zeros((0, 4), np.int64))

    def batch(self, step: int, _: np.random.Generator, __: float) -> list[ClipSample]:
        """The batch of a step, counted from the start of the stage."""
        length = self.stage.clip_length
        epoch, within = divmod(step, self.steps_per_epoch)
        samples = []
        for clip, piece, seed, reset in self._pieces(epoch)[within :: self.steps_per_epoch].tolist():
            frames = tuple(range(piece * length, (piece + 1) * length))
            samples.append(ClipSample(clip, frames, seed, piece=piece, reset_memory=bool(reset) or within == 0))
        return samples

    def _pieces(self, epoch: int) -> np.ndarray:
        """(steps · batch_clips, 4) clip, piece, seed and reset of an epoch's pieces, in order of the streams."""
        if self._cached[0] != epoch:
            count = len(self.mixture)
            drawn = [self.mixture[epoch * count + index] for index in range(count)]
            clips = np.array([self.clips[number][self.orders[number][position]] for number, position in drawn])
            first, pieces = np.zeros(count, np.int64), self.pieces[clips]
            random = np.random.default_rng([*self.seed, 6, epoch])
            if self.stage.walk_frames is not None:
                clips, first, pieces = self._segments(clips, random)
            seeds = np.random.default_rng([*self.seed, 5, epoch]).integers(0, 1 << 62, len(clips))
            within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
            reset = (within == 0) | (random.random(len(within)) < self.stage.reset_rate)
            sequence = np.stack(
                [np.repeat(clips, pieces), np.repeat(first, pieces) + within, np.repeat(seeds, pieces), reset], axis=1
            )
            # With several sets the number of pieces differs between epochs: the sequence is cut, or repeated.
            size = self.steps_per_epoch * self.stage.batch_clips
            self._cached = (epoch, np.resize(sequence, (size, 4)))
        return self._cached[1]

    def _segments(self, clips: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Clip, first piece and number of pieces (S,) of segments that cover ``clips``, shuffled."""
        assert self.stage.walk_frames is not None
        low = -(-self.stage.walk_frames[0] // self.stage.clip_length)
        high = max(self.stage.walk_frames[1] // self.stage.clip_length, 2 * low)
        segments = []
        for clip, remaining in zip(clips.tolist(), self.pieces[clips].tolist(), strict=True):
            first = 0
            while remaining:
                # Leaves no remainder shorter than the minimum.
                count = remaining if remaining <= high else int(random.integers(low, min(high, remaining - low) + 1))
                segments.append((clip, first, count))
                first, remaining = first + count, remaining - count
        shuffled = random.permutation(np.array(segments, np.int64))
        return shuffled[:, 0], shuffled[:, 1], shuffled[:, 2]
