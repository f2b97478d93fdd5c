# SPDX-License-Identifier: Apache-2.0
"""A table of ablations: rows that each change a training configuration, trained and scored one by one."""

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
from train.data.atomic_file import atomic_write
from train.data.nocs_sets import Labels
from train.evaluate.predict import PredictionJob, predict
from train.evaluate.result_files import read_results
from train.evaluate.sets import EvaluationSet, open_set
from train.export import export
from train.fit.config import TrainConfig


@dataclass(frozen=True)
class Scoring:
    """How a row is scored. :param frames: as the row's."""

    root: Path
    split: str
    labels: Labels
    iou: IouKind
    frames: Literal["single", "multi"]

    @classmethod
    def from_row(cls, row: AblationRow, config: TrainConfig, split: str | None, iou: IouKind) -> Scoring:
        """:param split: None = the first that the configuration validates on; else the one of this name among those,
        or one that lies beside the first, with labels of its kind: mugs differ between the kinds."""
        first = config.data.val[0]
        beside = replace(first, split=split or first.split)
        on = next((each for each in config.data.val if each.split == split), beside)
        return cls(Path(on.root or config.data.root), on.split, on.labels, iou, row.frames)

    def open(self) -> EvaluationSet:
        """:raises FileNotFoundError: a folder or a file is missing, with what was looked for."""
        return open_set(self.root, self.split, self.labels)


@dataclass(frozen=True)
class RowResult:
    """What one trained row scored.

    :param ap: the paper's columns, 0..1. :param measured_on: name of the data. :param steps: of training.
    """

    ap: dict[str, float]
    measured_on: str
    steps: int


def run_training(config: TrainConfig, folder: Path, download: bool = False) -> None:
    """Train, or go on training, into ``folder``/run: by train.fit in processes of their own, as many as row_config.

    :param download: whether encoder.pretrained may be fetched from the hub.
    :raises ValueError: if it ends before its last step.
    """
    _write(folder / "config.yaml", config_io.dump_yaml(config))
    command = [sys.executable, "-m", "train.fit", "--config", str(folder / "config.yaml"), "--out", str(folder / "run")]
    with subprocess.Popen([*command, "--download"] if download else command) as process:
        try:
            status = process.wait()
        except BaseException:
            process.terminate()  # it would train on by itself
            raise
    if status or not _is_trained(folder / "run"):
        raise ValueError(f"the training in {folder / 'run'} ended early, with status {status}; what it said is above")


def _is_trained(run: Path) -> bool:
    """Whether the last checkpoint of a run stands at the end of its schedule."""
    if not (run / "last.ckpt").is_file():
        return False
    state = torch.load(run / "last.ckpt", map_location="cpu", weights_only=True, mmap=True)
    settings = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= settings["stages"][-1]["until_step"])


def train_and_score(
    config: TrainConfig, folder: Path, scoring: Scoring, workers: int | None = None, download: bool = False
) -> RowResult:
    """Train and score a run in ``folder``; what is done already is not done again.

    One that was scored otherwise (split, IoU kind or frames) is scored again.

    :param workers: processes that predict; None = a core each, on a GPU one. :param download: see :func:`run_training`.
    :raises ValueError: if the folder holds a run of another configuration, or training ends early.
    """
    scored = {"split": scoring.split, "iou": scoring.iou, "frames": scoring.frames}
    settings = {"config": config_io.to_dict(config), **scored}
    path, done = folder / "settings.yaml", folder / "result.yaml"
    if path.is_file():
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if found.get("config") != settings["config"]:
            raise ValueError(f"{folder} holds a run with other settings (see {path}); take another --out")
        if found != settings:
            done.unlink(missing_ok=True)
        if any(found[name] != scored[name] for name in ("split", "frames")):
            shutil.rmtree(folder / "predictions", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _write(path, yaml.safe_dump(settings, sort_keys=False))
    if done.is_file():
        return RowResult(**yaml.safe_load(done.read_text(encoding="utf-8")))
    if not _is_trained(folder / "run"):
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
    report = evaluate(read_results(paths)[0], scoring.iou)
    measurement = RowResult(report.columns(), scoring.open().name, steps)
    _write(done, yaml.safe_dump(vars(measurement), sort_keys=False))
    return measurement


def prediction_device(config: TrainConfig) -> str:
    """Where a row predicts: on a GPU if there is one, unless it is to train on the CPU."""
    return "cuda" if config.compute.accelerator != "cpu" and torch.cuda.is_available() else "cpu"


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())
