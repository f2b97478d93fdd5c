# SPDX-License-Identifier: Apache-2.0
"""``python -m train.benchmarks.loader``: frames per second of data loading and of the training step.

    python -m train.benchmarks.loader --config config/train/lite.yaml --data out/data

Both are measured one after the other for each stage of the configuration, in one training process with its own loader
processes. Loading is fast enough where the factor is above 1; on a CPU it shares the cores with the training, so the
factor should be well above 1.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from seqpose_core.command_line import command_parser
from train.command_line import check_at_least_one, load_config
from train.data.loader import make_loader
from train.data.sampler import Stage, StepSampler
from train.fit.batches import Batches
from train.fit.callbacks import AveragedWeights
from train.fit.config import TrainConfig
from train.fit.module import SeqPoseModule

_WARM_UP = 2  # steps that are not timed: memory is allocated, kernels are chosen


@dataclass(frozen=True)
class Rates:
    """Frames per second of one stage, and the loss of the last training step."""

    stage: Stage
    loaded: float
    trained: float
    loss: float

    @property
    def factor(self) -> float:
        return self.loaded / self.trained


def measure_rates(config: TrainConfig, batches: int = 40, steps: int = 10) -> Iterator[Rates]:
    """Rates of every stage, one after the other.

    :param batches: loaded for one figure; more than the loader prefetches. :param steps: of training.
    """
    data = Batches(replace(config, accumulate=1))
    for stage in data.config.stages:
        frames = stage.batch_clips * stage.clip_length
        sampler = StepSampler(
            data.clips.clip_lengths,
            [replace(stage, until_step=batches + 1)],
            set_of_clip=data.clips.set_of_clip,
            weights=[part.weight for part in config.data.train],
            seed=config.seed,
        )
        loader = iter(make_loader(data.clips, sampler, config.data.workers))
        batch = next(loader)  # the processes have started
        start = time.perf_counter()
        for _ in loader:
            pass
        loaded = batches * frames / (time.perf_counter() - start)
        seconds, loss = _time_step(data.config, batch, steps)
        yield Rates(stage, loaded, frames / seconds, loss)


class _Clock(Callback):
    def __init__(self) -> None:
        self.start = self.end = 0.0
        self.loss = math.nan

    def on_train_batch_end(self, _: Any, __: Any, outputs: Any, ___: Any, index: int) -> None:
        self.loss = float(outputs["loss"])
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.end = time.perf_counter()
        if index < _WARM_UP:
            self.start = self.end


def _time_step(config: TrainConfig, batch: dict[str, Any], steps: int) -> tuple[float, float]:
    """Seconds of one training step, without the time to load a batch, and the loss of the last one."""
    clock = _Clock()
    averaging = [AveragedWeights(decay=config.optimizer.ema)] if config.optimizer.ema else []
    trainer = lightning.Trainer(
        accelerator=config.compute.accelerator,
        devices=1,
        max_steps=_WARM_UP + steps,
        precision=config.precision,
        gradient_clip_val=config.optimizer.clip_norm,
        callbacks=[*averaging, clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # A list of batches serves as the data set.
    repeated: DataLoader[Any] = DataLoader([batch] * (_WARM_UP + steps), batch_size=None)  # type: ignore[arg-type]
    trainer.fit(SeqPoseModule(config), train_dataloaders=repeated)
    return (clock.end - clock.start) / steps, clock.loss


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="training configuration, YAML")
    parser.add_argument("--data", help="folder in the NOCS layout, in place of the configuration's data.root")
    parser.add_argument("--batches", type=int, default=40, help="batches to load for one figure (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="training steps for one figure (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads of torch in the training step")
    options = parser.parse_args(arguments)
    check_at_least_one(parser, options, "batches", "steps", "threads")
    config = load_config(parser, options)
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print(f"{config.data.workers} loader processes; step: {config.precision}, {torch.get_num_threads()} CPU threads")
    print(f"{'clips x frames':>14} {'loaded':>12} {'trained':>12} {'factor':>8}")
    for rates in measure_rates(config, options.batches, options.steps):
        size = f"{rates.stage.batch_clips} x {rates.stage.clip_length}"
        print(f"{size:>14} {rates.loaded:>8.0f} fps {rates.trained:>8.0f} fps {rates.factor:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
