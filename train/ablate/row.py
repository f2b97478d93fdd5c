# SPDX-License-Identifier: Apache-2.0
"""Train and score one row of an ablation table."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import yaml

from seqpose_core import config_io
from seqpose_core.metrics.iou import IouKind
from seqpose_core.metrics.nocs import evaluate
from train.ablate.table import AblationRow
from train.data.atomic_file import atomic_write_text
from train.data.nocs_sets import Labels
from train.evaluate.predict import PredictionJob, predict
from train.evaluate.result_files import read_results
from train.evaluate.sets import EvaluationSet, open_set
from train.export import export
from train.fit.config import TrainConfig
from train.fit.resume import is_finished


@dataclass(frozen=True)
class Scoring:
    """The data and metric that a row is scored with.

    :param frames: whether the memory is reset before each frame ("single") or each clip ("multi").
    """

    root: Path
    split: str
    labels: Labels
    iou: IouKind
    frames: Literal["single", "multi"]

    @classmethod
    def from_row(cls, row: AblationRow, config: TrainConfig, split: str | None, iou: IouKind) -> Scoring:
        """The scoring of a row.

        :param split: None = the first validation set; else the validation set of this split, or this split in the
            root of the first validation set, with the same kind of labels (mugs differ between the kinds).
        """
        first = config.data.val[0]
        default = replace(first, split=split or first.split)
        scored = next((each for each in config.data.val if each.split == split), default)
        return cls(Path(scored.root or config.data.root), scored.split, scored.labels, iou, row.frames)

    def open(self) -> EvaluationSet:
        """Open the data set. :raises FileNotFoundError: if a folder or file is missing, naming it."""
        return open_set(self.root, self.split, self.labels)


@dataclass(frozen=True)
class RowResult:
    """Scores of one trained row.

    :param ap: AP by the paper's columns, 0..1. :param measured_on: name of the data set. :param steps: of training.
    """

    ap: dict[str, float]
    measured_on: str
    steps: int


def run_training(config: TrainConfig, folder: Path, download: bool = False) -> None:
    """Train or resume the run in ``folder``/run with ``python -m train.fit`` in a separate process.

    :param download: whether encoder.pretrained may be downloaded from the hub.
    :raises ValueError: if training ends before its last step.
    """
    atomic_write_text(folder / "config.yaml", config_io.dump_yaml(config))
    command = [sys.executable, "-m", "train.fit", "--config", str(folder / "config.yaml"), "--out", str(folder / "run")]
    with subprocess.Popen([*command, "--download"] if download else command) as process:
        try:
            status = process.wait()
        except BaseException:
            process.terminate()  # otherwise it would continue after this process
            raise
    if status or not is_finished(folder / "run"):
        raise ValueError(f"the training in {folder / 'run'} ended early, with status {status}; its output is above")


def train_and_score(
    config: TrainConfig, folder: Path, scoring: Scoring, workers: int | None = None, download: bool = False
) -> RowResult:
    """Train and score a run in ``folder``; finished parts are read from the folder.

    A run that was scored with other settings (split, IoU kind or frames) is scored again.

    :param workers: processes that predict; None = one per core, on a GPU one. :param download: see
        :func:`run_training`.
    :raises ValueError: if the folder holds a run of another configuration, or if training ends early.
    """
    scored = {"split": scoring.split, "iou": scoring.iou, "frames": scoring.frames}
    settings = {"config": config_io.to_dict(config), **scored}
    path, done = folder / "settings.yaml", folder / "result.yaml"
    if path.is_file():
        previous = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if previous.get("config") != settings["config"]:
            raise ValueError(f"{folder} holds a run with other settings (see {path}); choose another --out")
        if previous != settings:
            done.unlink(missing_ok=True)
        if any(previous[name] != scored[name] for name in ("split", "frames")):
            shutil.rmtree(folder / "predictions", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, yaml.safe_dump(settings, sort_keys=False))
    if done.is_file():
        return RowResult(**yaml.safe_load(done.read_text(encoding="utf-8")))
    if not is_finished(folder / "run"):
        run_training(config, folder, download)
    steps = export(folder / "run", folder / "model")
    device = prediction_device(config)
    job = PredictionJob(
        str(folder / "model"),
        scoring.root,
        scoring.split,
        folder / "predictions",
        frames=scoring.frames,
        device=device,
        labels=scoring.labels,
    )
    paths, _ = predict(job, workers or (len(os.sched_getaffinity(0)) if device == "cpu" else 1))
    report = evaluate(read_results(paths)[0], scoring.iou, categories=config.model.categories)
    result = RowResult(report.columns(), scoring.open().name, steps)
    atomic_write_text(done, yaml.safe_dump(vars(result), sort_keys=False))
    return result


def prediction_device(config: TrainConfig) -> str:
    """The device that a row predicts on: a GPU if available, unless the configuration trains on the CPU."""
    return "cuda" if config.compute.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
