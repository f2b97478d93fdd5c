# SPDX-License-Identifier: Apache-2.0
"""Loading batches in worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Sampler

from train.data.clips import ClipSample, NocsClips


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack the samples of a batch: every tensor gets a leading dimension B; lists are concatenated."""
    batch: dict[str, Any] = {}
    for key, first in samples[0].items():
        parts = [sample[key] for sample in samples]
        batch[key] = torch.stack(parts) if isinstance(first, torch.Tensor) else list(chain(*parts))
    return batch


def _start_worker(_: int) -> None:
    # By default OpenCV and torch start one thread per core in every worker, which slows down training.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def make_loader(
    dataset: NocsClips, sampler: Sampler[list[ClipSample]], workers: int = 1, prefetch: int = 4
) -> DataLoader[dict[str, Any]]:
    """A data loader of the sampler's batches; the batches do not depend on the number of workers."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        persistent_workers=workers > 0,
        prefetch_factor=prefetch if workers > 0 else None,
        pin_memory=torch.cuda.is_available(),
    )
