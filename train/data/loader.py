# SPDX-License-Identifier: Apache-2.0
"""Batches as a pure function of (seed, step): a training resumed at step k sees what it would have seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from train.data.clips import ClipSample, NocsClips


@dataclass(frozen=True)
class Stage:
    """Steps up to `until_step`, not included, draw `batch_clips` clips of `clip_length` frames."""

    until_step: int
    clip_length: int
    batch_clips: int


class StepSampler(Sampler[list[ClipSample]]):
    """Yields the batches of steps start_step .. the last stage's end.

    Within a stage, clips come in seeded permutations, one an epoch, so that all are seen equally often; the
    window of frames moves on by one each epoch from a seeded start, so that all frames are too. Clips shorter
    than a stage's clip_length take no part in it.

    :param clip_lengths: frames of each clip.
    :param stages: in order.
    :param start_step: where to begin, for exact resume.
    :param reverse: probability of playing a clip backwards.
    :raise ValueError: stages that do not rise, or that no clip is long enough for.
    """

    def __init__(
        self,
        clip_lengths: Sequence[int] | np.ndarray,
        stages: Sequence[Stage],
        *,
        seed: int = 0,
        start_step: int = 0,
        reverse: float = 0.5,
    ) -> None:
        self.stages = tuple(stages)
        self.seed = seed
        self.start_step = start_step
        self.reverse = reverse
        lengths = np.asarray(clip_lengths)
        ends = [0] + [stage.until_step for stage in self.stages]
        if len(ends) < 2 or any(end <= start for start, end in pairwise(ends)):
            raise ValueError(
                f"stages end at steps {ends[1:]}; at least one stage, each ending later than the last"
            )
        for stage in self.stages:
            if stage.clip_length < 1 or stage.batch_clips < 1:
                raise ValueError(f"{stage} needs at least one clip of at least one frame")
            if lengths.size == 0 or lengths.max() < stage.clip_length:
                longest = lengths.max(initial=0)
                raise ValueError(
                    f"{stage} needs clips of {stage.clip_length} frames; the longest has {longest}"
                )
        self._starts = ends[:-1]
        self._eligible = [np.flatnonzero(lengths >= stage.clip_length) for stage in self.stages]
        self._lengths = lengths
        self._offsets = np.random.default_rng([seed, 1]).integers(0, 1 << 31, lengths.size)
        self._permutation: tuple[tuple[int, int], np.ndarray] = ((-1, -1), np.zeros(0, np.intp))

    @property
    def max_steps(self) -> int:
        """The step after the last."""
        return self.stages[-1].until_step

    def __len__(self) -> int:
        # The whole run's, wherever it starts: a resumed trainer goes on counting from the step it stands at, and
        # would take the end of a shorter loader for the end of an epoch and begin it again.
        return self.max_steps

    def __iter__(self) -> Iterator[list[ClipSample]]:
        for step in range(self.start_step, self.max_steps):
            yield self.batch(step)

    def batch(self, step: int) -> list[ClipSample]:
        """The batch of one step, whatever was asked for before."""
        number = next(i for i, stage in enumerate(self.stages) if step < stage.until_step)
        stage = self.stages[number]
        random = np.random.default_rng([self.seed, 2, step])
        backwards = random.random(stage.batch_clips) < self.reverse
        seeds = random.integers(0, 1 << 62, stage.batch_clips)
        first = (step - self._starts[number]) * stage.batch_clips
        samples = []
        for index in range(stage.batch_clips):
            epoch, place = divmod(first + index, len(self._eligible[number]))
            clip = int(self._order(number, epoch)[place])
            windows = int(self._lengths[clip]) - stage.clip_length + 1
            start = int((self._offsets[clip] + epoch) % windows)
            frames = tuple(range(start, start + stage.clip_length))
            samples.append(ClipSample(clip, frames[::-1] if backwards[index] else frames, int(seeds[index])))
        return samples

    def _order(self, stage: int, epoch: int) -> np.ndarray:
        if self._permutation[0] != (stage, epoch):
            random = np.random.default_rng([self.seed, 3, stage, epoch])
            self._permutation = ((stage, epoch), random.permutation(self._eligible[stage]))
        return self._permutation[1]


def collate(samples: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Stack the samples of a batch: every tensor gets a leading dimension B."""
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def _start_worker(_: int) -> None:
    # The cores are the trainer's; OpenCV would start one thread for each of them in every worker.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def make_loader(
    dataset: NocsClips, sampler: Sampler[list[ClipSample]], workers: int = 1, prefetch: int = 4
) -> DataLoader[dict[str, torch.Tensor]]:
    """A loader of the sampler's batches; the result does not depend on the number of workers."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        persistent_workers=workers > 0,
        prefetch_factor=prefetch if workers > 0 else None,
    )
