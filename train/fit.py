# SPDX-License-Identifier: Apache-2.0
"""``python -m train.fit``: train a SeqPose.

    python -m train.fit --config config/train/nano.yaml --out out/fit/nano
    torchrun --nproc-per-node 4 -m train.fit --config config/train/real275.yaml --data /data/nocs

Run it again with the same ``--out`` to go on from the last checkpoint. The best model so far lies in OUT/best, as
``PoseEstimator.from_pretrained`` reads it. See docs/training.md.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.callbacks.progress import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from seqpose_core import config_io
from train import processes
from train.batches import Batches
from train.callbacks import AveragedWeights, ExportBest, ReportBroken, SaveAtTheEnd, WholeFiles
from train.config import ComputeConfig, TrainConfig, explicit, load
from train.initial import initialise
from train.module import SeqPoseModule
from train.whole_file import whole_file


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
    :raises seqpose_core.config_io.ConfigError: if ``out`` holds a run with other settings.
    """
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    batches = Batches(config)
    config, last = batches.config, out / "last.ckpt"
    resumes = last.is_file()
    if resumes:
        config = _resumed(config, out)
    trainer = make_trainer(config, out, hours, progress, callbacks)
    if trainer.is_global_zero:
        with whole_file(out / "train.yaml") as file:  # other processes may be reading it
            file.write(config_io.dump_yaml(config).encode())
    module = SeqPoseModule(config)
    if not resumes:
        initialise(module.model, config, allow_download)
    trainer.fit(module, datamodule=batches, ckpt_path=last if resumes else None)
    if trainer.global_step >= config.max_steps:
        # The end of training is a candidate for the best as well, wherever the last interval ended.
        trainer.validate(module, datamodule=batches, verbose=False)
    return module


def _resumed(config: TrainConfig, out: Path) -> TrainConfig:
    """The configuration that the run in ``out`` goes on with: ``config``, but begun as it was.

    :raises seqpose_core.config_io.ConfigError: naming what differs and must not.
    """
    begun = config_io.load_yaml(TrainConfig, out / "train.yaml")
    old, new = _lasting(begun), _lasting(config)
    changed = [
        f"{key} was {old.get(key, 'absent')} and is {new.get(key, 'absent')}"
        for key in {**old, **new}
        if old.get(key, "absent") != new.get(key, "absent")
    ]
    if changed:
        raise config_io.ConfigError(
            f"{out} holds a run with other settings: {'; '.join(changed)}. Give those that it began with, or another "
            f"--out; with init_from: {out / 'best'} that starts from these weights"
        )
    return replace(config, init_from=begun.init_from, init_parts=begun.init_parts)


def _lasting(config: TrainConfig) -> dict[str, Any]:
    """What must stay as it is from a run's first step to its last, by dotted names."""
    data = config.data
    train, val = (tuple(replace(part, root=None) for part in parts) for parts in (data.train, data.val))
    data = replace(data, root="", workers=0, train=train, val=val)
    config = replace(config, data=data, compute=ComputeConfig(), val_every=1, save_every=1)
    return _named(config_io.to_dict(replace(config, init_from=None, init_parts=())))


def _named(value: Any, name: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted names, those of mappings in lists too."""
    if isinstance(value, dict):
        inner = {f"{name}.{key}" if name else key: entry for key, entry in value.items()}
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        inner = {f"{name}[{index}]": entry for index, entry in enumerate(value)}
    else:
        return {name: value}
    return {path: leaf for key, entry in inner.items() for path, leaf in _named(entry, key).items()}


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
    averaging = AveragedWeights(decay=config.optimizer.ema) if config.optimizer.ema else None
    if averaging:
        callbacks.append(averaging)
    callbacks.append(ExportBest(out / "best", "val/recall_10deg10cm", averaging))
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
        plugins=[WholeFiles(), *processes.environments()],
        default_root_dir=out,
        logger=[CSVLogger(out, name="csv"), TensorBoardLogger(out, name="", version="tensorboard")],
        enable_progress_bar=progress,
        enable_model_summary=progress,
        use_distributed_sampler=False,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a refused input ends it with its message."""
    parser = argparse.ArgumentParser(description="Train a SeqPose.")
    parser.add_argument("--config", type=Path, required=True, help="training configuration, YAML")
    parser.add_argument("--out", type=Path, help="where logs and checkpoints go (default: out/fit/<config name>)")
    parser.add_argument("--data", help="folder in the NOCS layout, in place of the configuration's data.root")
    parser.add_argument("--devices", type=int, help="processes on this machine, in place of compute.devices")
    parser.add_argument("--hours", type=float, help="stop after this many hours")
    parser.add_argument("--threads", type=int, help="CPU threads of torch, in each process")
    parser.add_argument("--download", action="store_true", help="fetch encoder.pretrained from the hub if need be")
    parser.add_argument("--print-config", action="store_true", help="print the resolved configuration and stop")
    options = parser.parse_args(arguments)
    for name in ("devices", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} is {value}; it must be at least 1")
    try:
        config = load(options.config)
    except (OSError, config_io.ConfigError) as error:
        parser.error(str(error))
    if options.data:
        config = replace(config, data=replace(config.data, root=options.data))
    if options.devices:
        config = replace(config, compute=replace(config.compute, devices=options.devices))
    if options.print_config:
        print(config_io.dump_yaml(explicit(config)), end="")
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    # One loader process is a choice here, made by measurement; Lightning would ask for more.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    out = options.out or Path("out/fit") / options.config.stem
    try:
        fit(config, out, options.hours, allow_download=options.download)
    except config_io.ConfigError as error:
        sys.exit(f"fit: {error}")


if __name__ == "__main__":
    main()
