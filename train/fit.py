# SPDX-License-Identifier: Apache-2.0
"""``python -m train.fit``: train a SeqPose.

    python -m train.fit --config config/train/nano.yaml --out out/fit/nano

Run it again with the same ``--out`` to go on from the last checkpoint. The best model so far lies in OUT/best, as
``PoseEstimator.from_pretrained`` reads it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.callbacks.progress import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from seqpose_core import checkpoint, config_io
from train.config import TrainConfig
from train.data.clips import ClipSample, NocsClips
from train.data.loader import StepSampler, collate, make_loader
from train.data.nocs_layout import NocsLayout
from train.module import SeqPoseModule

_VALIDATION_FRAMES = 3


class Clips(lightning.LightningDataModule):
    """Training batches from the step that the trainer stands at; validation on whole clips."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config

    def train_dataloader(self) -> DataLoader[Any]:
        data = self.config.data
        dataset = self._clips(data.train_split, augment=True)
        start = self.trainer.global_step if self.trainer else 0
        sampler = StepSampler(
            dataset.clip_lengths, self.config.stages, seed=self.config.seed, start_step=start
        )
        return make_loader(dataset, sampler, workers=data.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        dataset = self._clips(self.config.data.val_split, augment=False)
        frames = tuple(range(min(_VALIDATION_FRAMES, int(dataset.clip_lengths.min()))))
        samples = [ClipSample(clip, frames, 0) for clip in range(len(dataset))]
        batches = [samples[i : i + 8] for i in range(0, len(samples), 8)]
        return DataLoader(dataset, batch_sampler=batches, collate_fn=collate)

    def _clips(self, split: str, augment: bool) -> NocsClips:
        data, model = self.config.data, self.config.model
        return NocsClips(
            [NocsLayout.open(data.root, split)],
            image_size=(model.image_height, model.image_width),
            label_size=data.label_size,
            augmentation=data.augmentation if augment else None,
            hidden_handles=data.hidden_handles,
        )


class ExportBest(Callback):
    """Writes the best model so far as a checkpoint folder, with the averaged weights that were validated."""

    def __init__(self, out: Path, monitor: str) -> None:
        self.out, self.monitor, self.best = out, monitor, -1.0

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        value = float(trainer.callback_metrics.get(self.monitor, -1.0))
        if trainer.sanity_checking or not trainer.is_global_zero or value < self.best:
            return
        self.best = value
        assert isinstance(module, SeqPoseModule)
        checkpoint.save(module.model, self.out)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class StopInTime(Callback):
    """Stops after a wall-clock budget, saving where it stands."""

    def __init__(self, hours: float, path: Path) -> None:
        self.deadline, self.path = time.monotonic() + 3600 * hours, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if time.monotonic() > self.deadline and not trainer.should_stop:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def fit(config: TrainConfig, out: Path, hours: float | None = None, progress: bool = True) -> SeqPoseModule:
    """Train, or go on training, into ``out``.

    :param hours: stop after this many hours at the latest; the schedule is that of the configuration all the same.
    """
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    (out / "train.yaml").write_text(config_io.dump_yaml(config), encoding="utf-8")
    monitor, last = "val/recall_10deg10cm", out / "last.ckpt"
    callbacks: list[Callback] = [
        ModelCheckpoint(
            out, filename="last", every_n_train_steps=config.save_every, save_top_k=1, enable_version_counter=False
        ),
        LearningRateMonitor("step"),
    ]
    if config.optimizer.ema:
        callbacks.append(EMAWeightAveraging(decay=config.optimizer.ema))
    callbacks.append(ExportBest(out / "best", monitor))
    if hours is not None:
        callbacks.append(StopInTime(hours, last))
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    trainer = lightning.Trainer(
        max_steps=config.max_steps,
        precision=config.precision,  # type: ignore[arg-type]
        gradient_clip_val=config.optimizer.clip_norm,
        val_check_interval=config.val_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        callbacks=callbacks,
        logger=[CSVLogger(out, name="csv"), TensorBoardLogger(out, name="", version="tensorboard")],
        enable_progress_bar=progress,
        enable_model_summary=progress,
        use_distributed_sampler=False,
    )
    module, clips = SeqPoseModule(config), Clips(config)
    if config.init_from and not last.is_file():
        module.model.load_state_dict(checkpoint.load(config.init_from).state_dict())
    trainer.fit(module, datamodule=clips, ckpt_path=last if last.is_file() else None)
    if trainer.global_step >= config.max_steps:
        # The end of training is a candidate for the best as well, wherever the last interval ended.
        trainer.validate(module, datamodule=clips, verbose=False)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a SeqPose.")
    parser.add_argument("--config", type=Path, required=True, help="training configuration, YAML")
    parser.add_argument("--out", type=Path, help="where logs and checkpoints go (default: out/fit/<config name>)")
    parser.add_argument("--data", help="folder in the NOCS layout, in place of the configuration's data.root")
    parser.add_argument("--hours", type=float, help="stop after this many hours")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--print-config", action="store_true", help="print the resolved configuration and stop")
    arguments = parser.parse_args()
    try:
        config = config_io.load_yaml(TrainConfig, arguments.config)
    except (OSError, config_io.ConfigError) as error:
        parser.error(str(error))
    if arguments.data:
        config = replace(config, data=replace(config.data, root=arguments.data))
    if arguments.print_config:
        print(config_io.dump_yaml(config), end="")
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    # One loader process is a choice here, made by measurement; Lightning would ask for more.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    fit(config, arguments.out or Path("out/fit") / arguments.config.stem, arguments.hours)


if __name__ == "__main__":
    main()
