# SPDX-License-Identifier: Apache-2.0
"""Batches as a pure function of (seed, step): a training resumed at step k sees what it would have seen."""

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
    """What the batches hold for a part of the training.

    :param until_step: the step that the stage ends before; :param epochs: how many epochs it lasts. One of the two.
        An epoch draws as many windows as all sets hold side by side.
    :param clip_length: frames of each clip in a batch.
    :param batch_clips: clips of a batch, of all processes together.
    :param streaming: walk through whole clips in consecutive batches, the memory carried from batch to batch;
        otherwise each batch holds windows from anywhere, and the memory starts empty.
    """

    until_step: int | None = None
    clip_length: int = 1
    batch_clips: int = 16
    epochs: int | None = None
    streaming: bool = False

    def __post_init__(self) -> None:
        if (self.until_step is None) == (self.epochs is None) or (self.until_step or self.epochs or 0) < 1:
            raise ValueError(
                f"a stage ends by until_step {self.until_step} or by epochs {self.epochs}; give one, at least 1"
            )
        if self.clip_length < 1 or self.batch_clips < 1:
            raise ValueError(f"{self} needs at least one clip of at least one frame")


class StepSampler(Sampler[list[ClipSample]]):
    """Yields the batches of steps start_step .. the last stage's end.

    Windows come in seeded passes over all clips of a set, sets mixed by weight (see train.data.order). Clips shorter
    than a stage's clip_length take no part in it. Of every batch each process takes its own part, so that W processes
    together see what one would.

    :param clip_lengths: frames of each clip.
    :param stages: in order.
    :param set_of_clip: (N,) the set that each clip belongs to; one set if None.
    :param weights: how often a sample comes from each set, relative to the others.
    :param start_step: where to begin, for exact resume.
    :param reverse: probability of playing a window backwards; walks go forwards.
    :param accumulate: parts that a process takes one after the other for one step.
    :param process: (rank, number of processes).
    :raise ValueError: stages that do not rise, or that no clip is long enough for; batches that cannot be shared out.
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
        # The whole run's, wherever it starts: a resumed trainer goes on counting from the step it stands at, and
        # would take the end of a shorter loader for the end of an epoch and begin it again.
        return self.max_steps * self.accumulate

    def __iter__(self) -> Iterator[list[ClipSample]]:
        rank, processes = self.process
        for step in range(self.start_step, self.max_steps):
            whole = self.batch(step)
            part = len(whole) // processes
            mine = whole[rank * part : (rank + 1) * part]
            size = part // self.accumulate
            yield from (mine[first : first + size] for first in range(0, part, size))

    def batch(self, step: int) -> list[ClipSample]:
        """The batch of one step, of all processes, whatever was asked for before."""
        number = next(i for i, stage in enumerate(self.stages) if step < (stage.until_step or 0))
        random = np.random.default_rng([self.seed, 2, step])
        return self._orders[number].batch(step - self._starts[number], random, self.reverse)


def _check_parts(stage: Stage, accumulate: int, processes: int) -> None:
    if stage.batch_clips % (processes * accumulate):
        raise ValueError(
            f"{stage} has {stage.batch_clips} clips a batch; they must divide into {processes} processes "
            f"x {accumulate} accumulated parts"
        )
    if stage.streaming and accumulate > 1:
        raise ValueError(f"{stage} carries a memory from batch to batch, which accumulate {accumulate} would mix up")


def _eligible(lengths: np.ndarray, sets: np.ndarray, number: int, stage: Stage) -> np.ndarray:
    """Numbers of a set's clips that are long enough."""
    clips = np.flatnonzero((sets == number) & (lengths >= stage.clip_length))
    if clips.size == 0:
        longest = lengths[sets == number].max(initial=0)
        raise ValueError(f"{stage} needs clips of {stage.clip_length} frames; the longest has {longest}")
    return clips


class _Windows:
    """Batches of windows of one stage."""

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
        """The batch of a step counted from the start of the stage."""
        size, length = self.stage.batch_clips, self.stage.clip_length
        backwards = random.random(size) < reverse
        seeds = random.integers(0, 1 << 62, size)
        samples = []
        for index in range(size):
            chosen, place = self.mixture[step * size + index]
            clip, start = self.orders[chosen][place]
            frames = tuple(range(start, start + length))
            samples.append(
                ClipSample(
                    int(self.clips[chosen][clip]), frames[::-1] if backwards[index] else frames, int(seeds[index])
                )
            )
        return samples


class _Walks:
    """Batches that walk through clips, for one stage.

    All pieces of an epoch's clips lie on one tape, cut into as many equal tracks as a batch has places; a batch takes
    the next piece of every track. A clip that a cut or the end of an epoch interrupts reset_memory afresh.
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
                f"{stage} walks through {stage.batch_clips} clips at a time; there are only {total} pieces in all"
            )
        # Sets are mixed by their share of pieces, whole clips at a time.
        counts = [
            max(1, round(share / float(self.pieces[chosen].mean())))
            for share, chosen in zip(proportional_counts(total, weights), self.clips, strict=True)
        ]
        self.mixture = Mixture(counts, [*seed, 4])
        self.orders = [ClipOrder(len(chosen), [*seed, 3, number]) for number, chosen in enumerate(self.clips)]
        self._tape: tuple[int, np.ndarray] = (-1, np.zeros((0, 3), np.int64))

    def batch(self, step: int, _: np.random.Generator, __: float) -> list[ClipSample]:
        """The batch of a step counted from the start of the stage."""
        length = self.stage.clip_length
        epoch, place = divmod(step, self.steps_per_epoch)
        samples = []
        for clip, piece, seed in self._pieces(epoch)[place :: self.steps_per_epoch].tolist():
            frames = tuple(range(piece * length, (piece + 1) * length))
            samples.append(ClipSample(clip, frames, seed, piece=piece, reset_memory=piece == 0 or place == 0))
        return samples

    def _pieces(self, epoch: int) -> np.ndarray:
        """(steps · batch_clips, 3) clip, piece and seed of everything on an epoch's tape."""
        if self._tape[0] != epoch:
            count = len(self.mixture)
            drawn = [self.mixture[epoch * count + index] for index in range(count)]
            clips = np.array([self.clips[chosen][self.orders[chosen][place]] for chosen, place in drawn])
            seeds = np.random.default_rng([*self.seed, 5, epoch]).integers(0, 1 << 62, count)
            pieces = self.pieces[clips]
            number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
            tape = np.stack([np.repeat(clips, pieces), number, np.repeat(seeds, pieces)], axis=1)
            # With several sets an epoch's clips need not have the same length in all: cut, or begun again.
            wanted = self.steps_per_epoch * self.stage.batch_clips
            self._tape = (epoch, np.resize(tape, (wanted, 3)))
        return self._tape[1]
