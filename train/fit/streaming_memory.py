# SPDX-License-Identifier: Apache-2.0
"""The memory that one training step leaves to the next, where batches walk through clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from seqpose_core.model.memory import QueryMemory
from train.fit.distributed import gather_samples


class StreamingMemory:
    """Memory and clip of every place of the batch. It is part of a training's state: a resumed run has it again."""

    def __init__(self) -> None:
        self._memory: QueryMemory | None = None
        self._clips = torch.zeros(0, dtype=torch.long)

    def select(self, batch: Mapping[str, Tensor]) -> QueryMemory | None:
        """What the samples of a batch remember; None where all begin.

        Nothing of another clip, as where a clip with broken frames was stood in for.
        """
        reset_memory, clips = batch["reset_memory"], batch["clip"]
        if self._memory is None or bool(reset_memory.all()):
            return None
        return self._memory.to(clips.device).reset(reset_memory | (clips != self._clips.to(clips.device)))

    def store(self, batch: Mapping[str, Tensor], memory: QueryMemory) -> None:
        """Keep what the last frames of a batch left, without its gradients."""
        self._memory, self._clips = memory.detach(), batch["clip"]

    def state_dict(self) -> dict[str, Any]:
        """Tensors (B, …) of the whole batch, whatever the number of processes; all of them have to ask."""
        if self._memory is None:
            return {}
        state = {f.name: getattr(self._memory, f.name) for f in fields(QueryMemory)}
        # Not every backend gathers bool.
        state = {name: value.to(torch.uint8) if value.dtype == torch.bool else value for name, value in state.items()}
        return {name: gather_samples(value) for name, value in {**state, "clips": self._clips}.items()}

    def load_state_dict(self, state: Mapping[str, Any], rank: int, processes: int) -> None:
        """Take this process's part of what :meth:`state_dict` gave."""
        if not state:
            return
        part = {name: value.chunk(processes)[rank] for name, value in state.items()}
        self._clips = part.pop("clips")
        self._memory = QueryMemory(
            **{name: value.bool() if value.dtype == torch.uint8 else value for name, value in part.items()}
        )
