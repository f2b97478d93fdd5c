# SPDX-License-Identifier: Apache-2.0
"""What happens beside the steps of a training: averaging, saving, ending in time, reporting broken frames."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from lightning.pytorch.plugins import TorchCheckpointIO

from seqpose_core import checkpoint
from seqpose_core.model.seqpose import SeqPose
from train.data.atomic_file import atomic_write
from train.fit.distributed import gather
from train.fit.module import SeqPoseModule

_LISTED = 20


class AveragedWeights(EMAWeightAveraging):
    """The exponential average of the weights, which validation sees, on the device that trains."""

    _device: torch.device | int | None  # Lightning's own

    def setup(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        if self._device is None:
            # Lightning takes the module's, which is still the CPU: every step would bring all weights there.
            self._device = trainer.strategy.root_device
        super().setup(trainer, module, stage)

    @property
    def network(self) -> SeqPose:
        """The network with the averaged weights, once a fit has begun."""
        assert self._average_model is not None
        network: SeqPose = self._average_model.module.model
        return network


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints so that a path holds the former or the new one, whole, whatever happens meanwhile."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        # Lightning writes to the folder of temporary files; from another file system that ends in a copy.
        with atomic_write(Path(path), sync=True) as file:
            torch.save(checkpoint, file)


class ExportBest(Callback):
    """Writes the best model so far as a checkpoint folder, with the weights that were validated.

    :param averaging: what averages the weights; None = the weights are validated as they are.
    """

    def __init__(self, out: Path, monitor: str, averaging: AveragedWeights | None) -> None:
        self.out, self.monitor, self.averaging, self.best = out, monitor, averaging, -1.0

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        value = float(trainer.callback_metrics.get(self.monitor, -1.0))
        if trainer.sanity_checking or not trainer.is_global_zero or value < self.best:
            return
        self.best = value
        assert isinstance(module, SeqPoseModule)
        # The recall is known once the module has its own weights back.
        checkpoint.save(self.averaging.network if self.averaging else module.model, self.out)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class SaveLastCheckpoint(Callback):
    """Saves the last step's state, and ends the run early where a wall-clock budget says so."""

    def __init__(self, path: Path, hours: float | None) -> None:
        self.path = path
        self.deadline = math.inf if hours is None else time.monotonic() + 3600 * hours

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _: lightning.LightningModule, __: Any, ___: Any, batch: int
    ) -> None:
        if (batch + 1) % trainer.accumulate_grad_batches or trainer.should_stop:
            return
        # Clocks differ: the processes end together, when the first of them is late.
        late = trainer.strategy.reduce_boolean_decision(time.monotonic() > self.deadline, all=False)
        if late or trainer.global_step >= trainer.max_steps:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


class BrokenFrameReport(Callback):
    """Counts the frames that could not be used, in all processes and their loaders, and lists them in the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, None] = {}  # in order, once each: every loader process meets a frame for itself

    def on_train_batch_end(self, _: Any, __: Any, ___: Any, batch: dict[str, Any], ____: int) -> None:
        self.found.update(dict.fromkeys(batch["broken"]))

    def on_validation_batch_end(self, _: Any, __: Any, ___: Any, batch: dict[str, Any], *____: Any) -> None:
        self.found.update(dict.fromkeys(batch["broken"]))

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        module.log("data/broken_frames", float(len(dict.fromkeys(gather(list(self.found))))), rank_zero_only=False)

    def on_train_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        found = sorted(set(gather(list(self.found))))
        if not trainer.is_global_zero or not found:
            return
        self.path.write_text("".join(f"{line}\n" for line in found), encoding="utf-8")
        print(f"{len(found)} broken frames were skipped; all are listed in {self.path}")
        print("\n".join(f"  {line}" for line in found[:_LISTED]))

    def state_dict(self) -> dict[str, Any]:
        return {"found": list(self.found)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.found = dict.fromkeys(state["found"])
