# SPDX-License-Identifier: Apache-2.0
"""The phases of a recipe: render, train, export, evaluate. Each resumes where it was interrupted."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from seqpose_core import checkpoint, config_io
from train.data.atomic_file import atomic_write_text
from train.data.sampler import Stage
from train.fit.config import SetConfig, TrainConfig, load
from train.fit.resume import is_finished
from train.fit.run import fit
from train.recipe.budget import RENDER_SHARE, TRAIN_SHARE, Progress
from train.render.splits import BENCHMARKS

#: Steps of the trial that measures the speed, of single frames and of windows. On a GPU the first ones are not typical.
_TRIAL_STEPS = {"cpu": (16, 8), "cuda": (120, 40)}
#: Frames of each window of the last stage, and its share of the training time.
WINDOW, _WINDOW_SHARE = 4, 0.28
#: Training may take this much longer than planned before it is stopped.
_OVERTIME = 1.1
_SEED = 31
#: A run saves its weights every few minutes and validates about twenty times.
_SAVE_SECONDS, _VALIDATIONS = 180.0, 20


def render(progress: Progress, out: Path) -> None:
    """Render the benchmark, then training clips until the time or the number is reached."""
    recipe = progress.state.recipe
    common: list[object] = ["--workers", recipe.workers]
    if recipe.assets is not None:
        common += ["--assets", recipe.assets]
    with progress.timed("render"):
        progress.run("train.render", "--benchmark", recipe.benchmark, "--out", out / "benchmark", *common)
        limit = max(120.0, progress.remaining("render", RENDER_SHARE))
        config = load(recipe.config).model
        size = f"{config.image_width}x{config.image_height}"
        command = ["train.render", "--split", "train", "--clips", recipe.max_clips, "--seed", _SEED, "--size", size]
        progress.run(*command, "--frames", recipe.frames, "--out", out / "data", *common, limit=limit)
    clips = sum(folder.is_dir() and folder.name.isdigit() for folder in (out / "data" / "train").iterdir())
    if clips == 0:
        raise ValueError(f"no training clip was rendered in {limit:.0f} s; give the recipe more hours")
    print(f"{clips} training clips of {recipe.frames} frames")
    progress.update(clips=clips, done=(*progress.state.done, "render"))


class _StepTimer(Callback):
    """The end of each training step, including the wait for the loader."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.monotonic())

    def seconds_per_step(self, start: int, end: int) -> float:
        """Mean over the second half of the steps ``start`` to ``end``; before it, caches and loaders fill."""
        middle = (start + end) // 2
        return (self.ends[end - 1] - self.ends[middle - 1]) / (end - middle)


def stages_within(seconds: float, single_step: float, window_step: float, batch: int) -> tuple[Stage, ...]:
    """Single frames, then windows of four frames, that take ``seconds`` in total; the same frames in each step.

    :param single_step, window_step: seconds of a step of each stage.
    """
    single = max(30, round((1 - _WINDOW_SHARE) * seconds / single_step))
    windows = max(10, round(_WINDOW_SHARE * seconds / window_step))
    return Stage(single, 1, batch), Stage(single + windows, WINDOW, batch // WINDOW)


def training_config(progress: Progress, out: Path, stages: tuple[Stage, ...], seconds_per_step: float) -> TrainConfig:
    """The recipe's configuration with its own data, stages and intervals."""
    recipe = progress.state.recipe
    config = load(recipe.config)
    steps = stages[-1].until_step or 0
    # A GPU reads faster than a few processes load; without one, training itself takes the cores.
    loaders = max(1, (os.cpu_count() or 1) - 2) if torch.cuda.is_available() else min(config.data.workers, 1)
    return replace(
        config,
        init_from=recipe.init or config.init_from,
        data=replace(
            config.data,
            root=str(out / "data"),
            train=(SetConfig("train"),),
            val=(SetConfig("val", root=str(out / "benchmark")),),
            workers=loaders,
        ),
        stages=stages,
        optimizer=replace(config.optimizer, warmup_steps=min(config.optimizer.warmup_steps, steps // 10)),
        val_every=max(1, steps // _VALIDATIONS),
        save_every=max(1, round(_SAVE_SECONDS / seconds_per_step)),
    )


def train(progress: Progress, out: Path) -> None:
    """Measure the speed once, fix the number of steps, and train."""
    recipe = progress.state.recipe
    budget = (RENDER_SHARE + TRAIN_SHARE) * 3600 * recipe.hours - progress.state.spent.render
    with progress.timed("train"):
        if progress.state.steps is None:
            single_step, window_step = _measure(progress, out)
            stages = stages_within(budget, single_step, window_step, recipe.batch)
            print(
                f"{single_step:.3f} s per step of {recipe.batch} single frames, {window_step:.3f} s in windows of "
                f"{WINDOW}: {stages[0].until_step} steps, then to step {stages[1].until_step}"
            )
            config = training_config(progress, out, stages, single_step)
            atomic_write_text(out / "train.yaml", config_io.dump_yaml(config))
            progress.update(steps=config.max_steps)
        start, spent = time.monotonic(), progress.state.spent.train
        while not is_finished(out / "run"):
            left = progress.call_time_left()
            over = _OVERTIME * budget - spent - (time.monotonic() - start)
            if over <= 0 and (out / "run" / "best").is_dir():
                print("training takes longer than planned and ends here, with the best weights so far")
                break
            # A step, a checkpoint and a validation may follow after the time is over.
            limit = max(36.0, over if left is None else min(over, left - 60))
            progress.run("train.fit", "--config", out / "train.yaml", "--out", out / "run", "--hours", limit / 3600)
    progress.update(done=(*progress.state.done, "train"))


def _measure(progress: Progress, out: Path) -> tuple[float, float]:
    """Seconds of a step of single frames and of a step of windows, from a trial that is thrown away."""
    batch = progress.state.recipe.batch
    single, windows = _TRIAL_STEPS["cuda" if torch.cuda.is_available() else "cpu"]
    stages = (Stage(single, 1, batch), Stage(single + windows, WINDOW, batch // WINDOW))
    trial = replace(training_config(progress, out, stages, 1e9), val_every=10**6)
    timer = _StepTimer()
    shutil.rmtree(out / "trial", ignore_errors=True)
    fit(trial, out / "trial", progress=False, callbacks=[timer])
    return timer.seconds_per_step(0, single), timer.seconds_per_step(single, single + windows)


def export(progress: Progress, out: Path) -> None:
    """Write the best weights on the validation split with 16 bits, and calibrate their scores on that split."""
    checkpoint.save(checkpoint.load(out / "run" / "best"), out / "uncalibrated", torch.float16)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    command: list[object] = ["train.calibrate", "--checkpoint", out / "uncalibrated", "--data", out / "benchmark"]
    progress.run(*command, "--split", "val", "--device", device, "--out", out / "model")
    progress.update(done=(*progress.state.done, "export"))


def evaluate(progress: Progress, out: Path) -> None:
    """Evaluate every split of the benchmark, single-frame and with memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with progress.timed("evaluate"):
        for part in BENCHMARKS[progress.state.recipe.benchmark]:
            if (out / "evaluation" / part.split / "metrics.json").is_file():
                continue
            command: list[object] = ["train.evaluate", "--checkpoint", out / "model", "--data", out / "benchmark"]
            command += ["--split", part.split, "--frames", "single", "multi", "--device", device]
            command += ["--workers", 1 if device == "cuda" else progress.state.recipe.workers]
            progress.run(*command, "--out", out / "evaluation" / part.split)
    progress.update(done=(*progress.state.done, "evaluate"))
