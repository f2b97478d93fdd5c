# SPDX-License-Identifier: Apache-2.0
"""The phases of a recipe: render, train, export, evaluate. Each resumes where it was interrupted."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from seqpose_core import checkpoint, config_io
from train.data.atomic_file import atomic_write_text
from train.data.sampler import Stage
from train.fit.config import SetConfig, TrainConfig, load
from train.fit.resume import is_finished
from train.fit.run import fit
from train.recipe.budget import RENDER_SHARE, TRAIN_SHARE, Ledger
from train.render.splits import BENCHMARKS

_TRIAL_STEPS = 24
_SEED = 31
#: A run saves its weights every few minutes and validates about twenty times.
_SAVE_SECONDS, _VALIDATIONS = 180.0, 20


def render(ledger: Ledger, out: Path) -> None:
    """Render the benchmark, then training clips until the time or the number is reached."""
    recipe = ledger.state.recipe
    common: list[object] = ["--workers", recipe.workers]
    if recipe.assets is not None:
        common += ["--assets", recipe.assets]
    with ledger.spending("render"):
        ledger.run("train.render", "--benchmark", recipe.benchmark, "--out", out / "benchmark", *common)
        limit = max(60.0, ledger.remaining("render", RENDER_SHARE))
        config = load(recipe.config).model
        size = f"{config.image_width}x{config.image_height}"
        command = ["train.render", "--split", "train", "--clips", recipe.max_clips, "--seed", _SEED, "--size", size]
        ledger.run(*command, "--frames", recipe.frames, "--out", out / "data", *common, limit=limit)
    clips = sum(folder.is_dir() and folder.name.isdigit() for folder in (out / "data" / "train").iterdir())
    if clips == 0:
        raise ValueError(f"no training clip was rendered in {limit:.0f} s; give the recipe more hours")
    print(f"{clips} training clips of {recipe.frames} frames")
    ledger.update(clips=clips, done=(*ledger.state.done, "render"))


class _StepTimer(Callback):
    """Seconds of each training step, including the wait for the loader."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.monotonic())

    def seconds_per_step(self) -> float:
        """Median without the first third, in which caches and loaders fill."""
        return float(np.median(np.diff(self.ends)[len(self.ends) // 3 :]))


def training_config(ledger: Ledger, out: Path, steps: int, seconds_per_step: float) -> TrainConfig:
    """Single frames for 80 % of the steps, then clips of two and of four frames; the same frames in each step."""
    recipe = ledger.state.recipe
    config = load(recipe.config)
    batch = recipe.batch
    ends = [round(0.8 * steps), round(0.9 * steps), steps]
    stages = tuple(
        Stage(until_step=end, clip_length=length, batch_clips=batch // length)
        for end, length in zip(ends, (1, 2, 4), strict=True)
    )
    return replace(
        config,
        init_from=recipe.init or config.init_from,
        data=replace(
            config.data,
            root=str(out / "data"),
            train=(SetConfig("train"),),
            val=(SetConfig("val", root=str(out / "benchmark")),),
        ),
        stages=stages,
        optimizer=replace(config.optimizer, warmup_steps=min(config.optimizer.warmup_steps, steps // 10)),
        val_every=max(1, steps // _VALIDATIONS),
        save_every=max(1, round(_SAVE_SECONDS / seconds_per_step)),
    )


def train(ledger: Ledger, out: Path) -> None:
    """Measure the speed once, fix the number of steps, and train."""
    with ledger.spending("train"):
        if ledger.state.steps is None:
            timer = _StepTimer()
            trial = training_config(ledger, out, 2 * _TRIAL_STEPS, 1e9)
            trial = replace(trial, stages=(Stage(_TRIAL_STEPS, 1, ledger.state.recipe.batch),), val_every=10**6)
            shutil.rmtree(out / "trial", ignore_errors=True)
            fit(trial, out / "trial", progress=False, callbacks=[timer])
            step = timer.seconds_per_step()
            rendered = ledger.state.spent.render
            budget = (RENDER_SHARE + TRAIN_SHARE) * 3600 * ledger.state.recipe.hours - rendered
            steps = max(40, round(budget / step))
            print(f"{step:.3f} s per step of {ledger.state.recipe.batch} frames: {steps} steps")
            config = training_config(ledger, out, steps, step)
            atomic_write_text(out / "train.yaml", config_io.dump_yaml(config))
            ledger.update(steps=steps)
        while not is_finished(out / "run"):
            left = ledger.call_time_left()
            # A step, a checkpoint and a validation may follow after the time is over.
            hours = [] if left is None else ["--hours", max(0.01, (left - 60) / 3600)]
            ledger.run("train.fit", "--config", out / "train.yaml", "--out", out / "run", *hours)
    ledger.update(done=(*ledger.state.done, "train"))


def export(ledger: Ledger, out: Path) -> None:
    """Write the best weights on the validation split with 16 bits, and calibrate their scores on that split."""
    checkpoint.save(checkpoint.load(out / "run" / "best"), out / "uncalibrated", torch.float16)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    command: list[object] = ["train.calibrate", "--checkpoint", out / "uncalibrated", "--data", out / "benchmark"]
    ledger.run(*command, "--split", "val", "--device", device, "--out", out / "model")
    ledger.update(done=(*ledger.state.done, "export"))


def evaluate(ledger: Ledger, out: Path) -> None:
    """Evaluate every split of the benchmark, single-frame and with memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with ledger.spending("evaluate"):
        for part in BENCHMARKS[ledger.state.recipe.benchmark]:
            if (out / "evaluation" / part.split / "metrics.json").is_file():
                continue
            command: list[object] = ["train.evaluate", "--checkpoint", out / "model", "--data", out / "benchmark"]
            command += ["--split", part.split, "--frames", "single", "multi", "--device", device]
            command += ["--workers", 1 if device == "cuda" else ledger.state.recipe.workers]
            ledger.run(*command, "--out", out / "evaluation" / part.split)
    ledger.update(done=(*ledger.state.done, "evaluate"))
