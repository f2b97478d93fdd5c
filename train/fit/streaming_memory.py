# SPDX-License-Identifier: Apache-2.0
"""Query memory kept between training steps, for stages whose batches walk through clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from seqpose_core.model.memory import QueryMemory
from train.fit.distributed import gather_samples


class StreamingMemory:
    """The memory after the last step and the clip it belongs to, per sample of the batch.

    It is saved in checkpoints, so that a resumed run continues with the same memory.
    """

    def __init__(self) -> None:
        self._memory: QueryMemory | None = None
        self._clips = torch.zeros(0, dtype=torch.long)

    def select(self, batch: Mapping[str, Tensor]) -> QueryMemory | None:
        """The memory that a batch starts from; None if every sample starts empty.

        A sample is reset if its ``reset_memory`` is set, or if its clip differs from the last step's: a clip with
        broken frames may have been replaced by another.
        """
        reset, clips = batch["reset_memory"], batch["clip"]
        if self._memory is None or bool(reset.all()):
            return None
        return self._memory.to(clips.device).reset(reset | (clips != self._clips.to(clips.device)))

    def store(self, batch: Mapping[str, Tensor], memory: QueryMemory) -> None:
        """Keep the memory after the last frames of a batch, detached."""
        self._memory, self._clips = memory.detach(), batch["clip"]

    def state_dict(self) -> dict[str, Any]:
        """Tensors (B, ...) of the full batch over all processes. All processes must call it (collective)."""
        if self._memory is None:
            return {}
        state = {f.name: getattr(self._memory, f.name) for f in fields(QueryMemory)}
        # Not every backend gathers bool.
        state = {name: value.to(torch.uint8) if value.dtype == torch.bool else value for name, value in state.items()}
        return {name: gather_samples(value) for name, value in {**state, "clips": self._clips}.items()}

    def load_state_dict(self, state: Mapping[str, Any], rank: int, processes: int) -> None:
        """Restore this process's share of what :meth:`state_dict` returned."""
        if not state:
            return
        part = {name: value.chunk(processes)[rank] for name, value in state.items()}
        self._clips = part.pop("clips")
        self._memory = QueryMemory(
            **{name: value.bool() if value.dtype == torch.uint8 else value for name, value in part.items()}
        )
