# SPDX-License-Identifier: Apache-2.0
"""Data sets, samplers and data loaders of a training configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from torch.utils.data import DataLoader

from train.data.clips import ClipSample, NocsClips
from train.data.loader import make_loader
from train.data.nocs_sets import open_layout
from train.data.sampler import StepSampler
from train.fit.config import SetConfig, TrainConfig

_VALIDATION_BATCH = 8


def open_clips(config: TrainConfig, sets: Sequence[SetConfig], training: bool) -> NocsClips:
    """The clips of ``sets``, at the image and label sizes of the configuration.

    :param training: whether to augment, and to use camera motion from labels if ``data.camera_motion`` is ``labels``.
    :raises FileNotFoundError: a folder or a file is missing, with what was looked for.
    """
    data, model = config.data, config.model
    motion_from_labels = training and data.camera_motion == "labels"
    return NocsClips(
        [
            open_layout(
                part.root or data.root,
                part.split,
                part.labels,
                motion_from_labels,
                model.categories,
                Path(data.aligned_cache),
            )
            for part in sets
        ],
        image_size=(model.image_height, model.image_width),
        label_size=data.label_size,
        augmentation=data.augmentation if training else None,
        hidden_handles=data.hidden_handles,
    )


def make_sampler(
    config: TrainConfig, clips: NocsClips, start_step: int = 0, process: tuple[int, int] = (0, 1)
) -> StepSampler:
    """The sampler of training batches for ``process`` = (rank, number of processes)."""
    return StepSampler(
        clips.clip_lengths,
        config.stages,
        set_of_clip=clips.set_of_clip,
        weights=[part.weight for part in config.data.train],
        seed=config.seed,
        start_step=start_step,
        accumulate=config.accumulate,
        process=process,
    )


def stages_in_steps(config: TrainConfig) -> TrainConfig:
    """``config`` with the end of every stage in steps; the data is opened to count the steps of an epoch."""
    return replace(config, stages=make_sampler(config, open_clips(config, config.data.train, training=True)).stages)


class Batches(lightning.LightningDataModule):
    """Training batches from the trainer's current step on; validation batches of windows of all clips."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.clips = open_clips(config, config.data.train, training=True)
        #: The configuration with the end of every stage in steps.
        self.config = replace(config, stages=make_sampler(config, self.clips).stages)

    def train_dataloader(self) -> DataLoader[Any]:
        start, process = 0, (0, 1)
        if self.trainer is not None:
            start, process = self.trainer.global_step, (self.trainer.global_rank, self.trainer.world_size)
        sampler = make_sampler(self.config, self.clips, start, process)
        return make_loader(self.clips, sampler, workers=self.config.data.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        data = self.config.data
        clips = open_clips(self.config, data.val, training=False)
        length = min(data.val_frames, int(clips.clip_lengths.min()))
        windows = [
            ClipSample(clip, tuple(range(first, first + length)), 0)
            for clip, frames in enumerate(clips.clip_lengths.tolist())
            for first in range(0, frames - length + 1, length)
        ]
        selected = np.linspace(0, len(windows) - 1, min(data.val_windows, len(windows))).round().astype(int)
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        if len(selected) < processes:
            raise ValueError(
                f"validation has {len(selected)} windows for {processes} processes; each needs at least one"
            )
        own = [windows[index] for index in selected[rank::processes].tolist()]
        batches = [own[first : first + _VALIDATION_BATCH] for first in range(0, len(own), _VALIDATION_BATCH)]
        # A list of batches serves as batch sampler.
        return make_loader(clips, batches, data.workers, prefetch=2)  # type: ignore[arg-type]
