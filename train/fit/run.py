# SPDX-License-Identifier: Apache-2.0
"""Train or resume a run: build data, module and Lightning trainer, and fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.callbacks.progress import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from seqpose_core import config_io
from train.data.atomic_file import atomic_write_text
from train.fit import distributed
from train.fit.batches import Batches
from train.fit.callbacks import AtomicCheckpointIO, AveragedWeights, BrokenFrameReport, ExportBest, SaveLastCheckpoint
from train.fit.config import TrainConfig
from train.fit.initial_weights import load_initial_weights
from train.fit.module import SeqPoseModule
from train.fit.resume import resumed_config


def fit(
    config: TrainConfig,
    out: Path,
    hours: float | None = None,
    progress: bool = True,
    allow_download: bool = False,
    callbacks: Sequence[Callback] = (),
) -> SeqPoseModule:
    """Train or resume a run in the folder ``out``.

    :param hours: stop after this many hours; the learning rate schedule does not change.
    :param progress: whether to show a progress bar and a model summary.
    :param allow_download: whether encoder.pretrained may be downloaded from the hub.
    :param callbacks: further Lightning callbacks.
    :raises seqpose_core.config_io.ConfigError: if ``out`` holds a run with other settings.
    """
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision(config.compute.matmul_precision)
        torch.backends.cudnn.benchmark = True  # all images of a run have the same size
    try:
        batches = Batches(config)
    except ValueError as error:  # data that does not suit the schedule, or damaged model sizes
        raise config_io.ConfigError(str(error)) from error
    config, last = batches.config, out / "last.ckpt"
    resume = last.is_file()
    if resume:
        config = resumed_config(config, out)
    trainer = make_trainer(config, out, hours, progress, callbacks)
    if trainer.is_global_zero:
        atomic_write_text(out / "train.yaml", config_io.dump_yaml(config))  # other processes may read it meanwhile
    module = SeqPoseModule(config)
    if not resume:
        load_initial_weights(module.model, config, allow_download)
    trainer.fit(module, datamodule=batches, ckpt_path=last if resume else None)
    if trainer.global_step >= config.max_steps:
        # Training may end between two validations; the final weights are a candidate for the best model as well.
        trainer.validate(module, datamodule=batches, verbose=False)
    return module


def make_trainer(
    config: TrainConfig, out: Path, hours: float | None, progress: bool, callbacks: Sequence[Callback] = ()
) -> lightning.Trainer:
    """The Lightning trainer of a configuration whose stages end at steps."""
    own: list[Callback] = [
        ModelCheckpoint(
            out, filename="last", every_n_train_steps=config.save_every, save_top_k=1, enable_version_counter=False
        ),
        LearningRateMonitor("step"),
        BrokenFrameReport(out / "broken.txt"),
    ]
    averaging = AveragedWeights(decay=config.optimizer.ema) if config.optimizer.ema else None
    if averaging:
        own.append(averaging)
    own.append(ExportBest(out / "best", "val/recall_10deg10cm", averaging))
    own += [*callbacks, SaveLastCheckpoint(out / "last.ckpt", hours)]
    if progress:
        own.append(TQDMProgressBar(refresh_rate=10))
    devices, nodes = distributed.process_layout(config.compute)
    return lightning.Trainer(
        accelerator=config.compute.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=distributed.strategy_name(config.compute, devices * nodes),
        max_steps=config.max_steps,
        precision=config.precision,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.optimizer.clip_norm,
        val_check_interval=config.val_every * config.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        callbacks=own,
        plugins=[AtomicCheckpointIO(), *distributed.slurm_plugins()],
        default_root_dir=out,
        logger=[CSVLogger(out, name="csv"), TensorBoardLogger(out, name="", version="tensorboard")],
        enable_progress_bar=progress,
        enable_model_summary=progress,
        use_distributed_sampler=False,
    )
