# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks and checkpoint I/O: weight averaging, saving, time limit, report of broken frames."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from lightning.pytorch.plugins import TorchCheckpointIO
from torch.optim.swa_utils import get_ema_multi_avg_fn

from seqpose_core import checkpoint
from seqpose_core.model.seqpose import SeqPose
from train.data.atomic_file import atomic_write, atomic_write_text
from train.fit.distributed import gather_items
from train.fit.module import SeqPoseModule

_MAX_PRINTED = 20


class AveragedWeights(EMAWeightAveraging):
    """Exponential moving average of the weights, kept on the training device and used for validation."""

    _device: torch.device | int | None  # attributes of the base class
    _kwargs: dict[str, Any]

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)
        # All tensors in one operation. The base class averages one by one: on a GPU, thousands of launches per step.
        self._kwargs = {"multi_avg_fn": get_ema_multi_avg_fn(decay)}

    def setup(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        if self._device is None:
            # Lightning's default is the module's device, here still the CPU: all weights would be copied every step.
            self._device = trainer.strategy.root_device
        super().setup(trainer, module, stage)

    @property
    def network(self) -> SeqPose:
        """The network with the averaged weights; available once a fit has started."""
        assert self._average_model is not None
        network: SeqPose = self._average_model.module.model
        return network


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically: after an interruption the path holds the previous or the new checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        # Lightning writes to the system's temporary folder, and copies if that is on another file system.
        with atomic_write(Path(path), sync=True) as file:
            torch.save(checkpoint, file)


class ExportBest(Callback):
    """Writes the best model so far as a checkpoint folder, with the weights that were validated.

    :param monitor: metric that is maximised.
    :param averaging: the callback that averages the weights; None = the weights are not averaged.
    """

    def __init__(self, out: Path, monitor: str, averaging: AveragedWeights | None) -> None:
        self.out, self.monitor, self.averaging, self.best = out, monitor, averaging, -1.0

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        value = float(trainer.callback_metrics.get(self.monitor, -1.0))
        if trainer.sanity_checking or not trainer.is_global_zero or value < self.best:
            return
        self.best = value
        assert isinstance(module, SeqPoseModule)
        # Lightning restores the module's own weights before this hook, so the averaged ones are read from averaging.
        checkpoint.save(self.averaging.network if self.averaging else module.model, self.out)
        atomic_write_text(self._score, f"{value!r}\n")

    @property
    def _score(self) -> Path:
        return self.out.with_name(f"{self.out.name}_score.txt")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # A step's checkpoint is saved before its validation, which a resumed run does not repeat.
        stored = float(self._score.read_text(encoding="utf-8")) if self._score.is_file() else -1.0
        self.best = max(state["best"], stored)


class SaveLastCheckpoint(Callback):
    """Saves the state and stops the run after the last step, or when ``hours`` of wall-clock time are over."""

    def __init__(self, path: Path, hours: float | None) -> None:
        self.path = path
        self.deadline = math.inf if hours is None else time.monotonic() + 3600 * hours

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _: lightning.LightningModule, __: Any, ___: Any, batch: int
    ) -> None:
        if (batch + 1) % trainer.accumulate_grad_batches or trainer.should_stop:
            return
        # All processes stop at the same step, as soon as the time of one of them is over.
        late = trainer.strategy.reduce_boolean_decision(time.monotonic() > self.deadline, all=False)
        if late or trainer.global_step >= trainer.max_steps:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


class BrokenFrameReport(Callback):
    """Counts the broken frames and unlabelled objects of all processes and their loaders, and lists them at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Dicts serve as ordered sets: several loader processes may report the same frame.
        self.broken: dict[str, None] = {}
        self.left_out: dict[str, None] = {}

    def on_train_batch_end(self, _: Any, __: Any, ___: Any, batch: dict[str, Any], ____: int) -> None:
        self._add(batch)

    def on_validation_batch_end(self, _: Any, __: Any, ___: Any, batch: dict[str, Any], *____: Any) -> None:
        self._add(batch)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        for name, texts in (("broken_frames", self.broken), ("unlabelled_objects", self.left_out)):
            module.log(f"data/{name}", float(len(set(gather_items(list(texts))))), rank_zero_only=False)

    def on_train_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        broken, left_out = (sorted(set(gather_items(list(texts)))) for texts in (self.broken, self.left_out))
        lines = broken + left_out
        if not trainer.is_global_zero or not lines:
            return
        self.path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        counts = [f"{len(broken)} broken frames were skipped"] if broken else []
        counts += [f"{len(left_out)} objects have no label"] if left_out else []
        print(f"{' and '.join(counts)}; all are listed in {self.path}")
        print("\n".join(f"  {line}" for line in lines[:_MAX_PRINTED]))

    def state_dict(self) -> dict[str, Any]:
        return {"broken": list(self.broken), "left_out": list(self.left_out)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.broken = dict.fromkeys(state["broken"])
        self.left_out = dict.fromkeys(state.get("left_out", ()))  # runs of older versions have none

    def _add(self, batch: dict[str, Any]) -> None:
        self.broken.update(dict.fromkeys(batch["broken"]))
        self.left_out.update(dict.fromkeys(batch["left_out"]))
