# SPDX-License-Identifier: Apache-2.0
"""``python -m train.fit``: train a SeqPose.

    python -m train.fit --config config/train/nano.yaml --out out/fit/nano
    torchrun --nproc-per-node 4 -m train.fit --config config/train/real275.yaml --data /data/nocs

Run it again with the same ``--out`` to go on from the last checkpoint. The best model so far lies in OUT/best, as
``PoseEstimator.from_pretrained`` reads it. See docs/training.md.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.callbacks.progress import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from seqpose_core import config_io
from train import processes
from train.batches import Batches
from train.callbacks import ExportBest, ReportBroken, SaveAtTheEnd
from train.config import TrainConfig, load
from train.initial import initialise
from train.module import SeqPoseModule


def fit(
    config: TrainConfig,
    out: Path,
    hours: float | None = None,
    progress: bool = True,
    allow_download: bool = False,
    callbacks: Sequence[Callback] = (),
) -> SeqPoseModule:
    """Train, or go on training, into ``out``.

    :param hours: stop after this many hours at the latest; the schedule is that of the configuration all the same.
    :param allow_download: whether encoder.pretrained may be fetched from the hub.
    :param callbacks: more of Lightning's callbacks.
    """
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    batches = Batches(config)
    config = batches.config
    trainer = make_trainer(config, out, hours, progress, callbacks)
    if trainer.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        (out / "train.yaml").write_text(config_io.dump_yaml(config), encoding="utf-8")
    module, last = SeqPoseModule(config), out / "last.ckpt"
    if not last.is_file():
        initialise(module.model, config, allow_download)
    trainer.fit(module, datamodule=batches, ckpt_path=last if last.is_file() else None)
    if trainer.global_step >= config.max_steps:
        # The end of training is a candidate for the best as well, wherever the last interval ended.
        trainer.validate(module, datamodule=batches, verbose=False)
    return module


def make_trainer(
    config: TrainConfig, out: Path, hours: float | None, progress: bool, more: Sequence[Callback] = ()
) -> lightning.Trainer:
    """Lightning's trainer for a configuration whose stages end by steps."""
    callbacks: list[Callback] = [
        ModelCheckpoint(
            out, filename="last", every_n_train_steps=config.save_every, save_top_k=1, enable_version_counter=False
        ),
        LearningRateMonitor("step"),
        ReportBroken(out / "broken.txt"),
    ]
    if config.optimizer.ema:
        callbacks.append(EMAWeightAveraging(decay=config.optimizer.ema))
    callbacks.append(ExportBest(out / "best", "val/recall_10deg10cm"))
    callbacks += [*more, SaveAtTheEnd(out / "last.ckpt", hours)]
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    devices, nodes = processes.layout(config.compute)
    return lightning.Trainer(
        accelerator=config.compute.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=processes.strategy(config.compute, devices * nodes),
        max_steps=config.max_steps,
        precision=config.precision,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.optimizer.clip_norm,
        val_check_interval=config.val_every * config.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        callbacks=callbacks,
        logger=[CSVLogger(out, name="csv"), TensorBoardLogger(out, name="", version="tensorboard")],
        enable_progress_bar=progress,
        enable_model_summary=progress,
        use_distributed_sampler=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a SeqPose.")
    parser.add_argument("--config", type=Path, required=True, help="training configuration, YAML")
    parser.add_argument("--out", type=Path, help="where logs and checkpoints go (default: out/fit/<config name>)")
    parser.add_argument("--data", help="folder in the NOCS layout, in place of the configuration's data.root")
    parser.add_argument("--devices", type=int, help="processes on this machine, in place of compute.devices")
    parser.add_argument("--hours", type=float, help="stop after this many hours")
    parser.add_argument("--threads", type=int, help="CPU threads of torch, in each process")
    parser.add_argument("--download", action="store_true", help="fetch encoder.pretrained from the hub if need be")
    parser.add_argument("--print-config", action="store_true", help="print the resolved configuration and stop")
    arguments = parser.parse_args()
    try:
        config = load(arguments.config)
    except (OSError, config_io.ConfigError) as error:
        parser.error(str(error))
    if arguments.data:
        config = replace(config, data=replace(config.data, root=arguments.data))
    if arguments.devices:
        config = replace(config, compute=replace(config.compute, devices=arguments.devices))
    if arguments.print_config:
        print(config_io.dump_yaml(config), end="")
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    # One loader process is a choice here, made by measurement; Lightning would ask for more.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    out = arguments.out or Path("out/fit") / arguments.config.stem
    fit(config, out, arguments.hours, allow_download=arguments.download)


if __name__ == "__main__":
    main()
