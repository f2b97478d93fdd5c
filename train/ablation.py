# SPDX-License-Identifier: Apache-2.0
"""A table of ablations: rows that each change a training configuration, trained and scored one by one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from seqpose_core import config_io
from seqpose_core.metrics.iou import IouKind
from seqpose_core.metrics.nocs import evaluate
from seqpose_core.metrics.report import COLUMNS
from train.config import TrainConfig, explicit
from train.data.nocs_sets import Labels
from train.data.sampler import Stage
from train.evaluation_sets import EvaluationSet, open_set
from train.export import export
from train.predict import PredictionJob, predict
from train.result_files import read_results
from train.whole_file import whole_file


@dataclass(frozen=True)
class AblationRow:
    """One row.

    :param name: as printed. :param change: what differs from the base, nested as in a training configuration.
    :param scale: factors of the base's numbers, nested likewise.
    :param frames: whether the estimator forgets before each frame ("single") or each clip ("multi").
    :param paper: the paper's eight figures on REAL275 in percent, where it has this row.
    """

    name: str
    change: Any = None
    scale: Any = None
    frames: Literal["single", "multi"] = "multi"
    paper: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for key, value in (("change", self.change), ("scale", self.scale)):
            if not isinstance(value, (dict, type(None))):
                raise ValueError(f"{key} of row {self.name!r} is {value!r}; it must be a mapping")
        if len(self.paper) not in (0, len(COLUMNS)):
            raise ValueError(f"paper of row {self.name!r} has {len(self.paper)} figures; expected {len(COLUMNS)}")

    @property
    def slug(self) -> str:
        """The name as a folder."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class AblationTable:
    """A title and its rows; see config/ablate/*.yaml."""

    title: str
    rows: tuple[AblationRow, ...]

    def __post_init__(self) -> None:
        slugs = [row.slug for row in self.rows]
        double = {row.name for row in self.rows if slugs.count(row.slug) > 1}
        if double or not slugs:
            raise ValueError(f"rows need names of their own, at least one; twice: {sorted(double)}")


@dataclass(frozen=True)
class Scoring:
    """How a row is scored. :param frames: as the row's."""

    root: Path
    split: str
    labels: Labels
    iou: IouKind
    frames: Literal["single", "multi"]

    @classmethod
    def of(cls, row: AblationRow, config: TrainConfig, split: str | None, iou: IouKind) -> Scoring:
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
class Measurement:
    """What one trained row scored.

    :param ap: the paper's columns, 0..1. :param measured_on: name of the data. :param steps: of training.
    """

    ap: dict[str, float]
    measured_on: str
    steps: int


def changed(base: TrainConfig, change: Mapping[str, Any] | None) -> TrainConfig:
    """``base`` with some values replaced.

    :raises seqpose_core.config_io.ConfigError: for a key that does not exist or a bad value.
    """
    return config_io.from_dict(TrainConfig, config_io.merged(config_io.to_dict(base), change or {}))


def configured(base: TrainConfig, row: AblationRow) -> TrainConfig:
    """What a row trains.

    :raises seqpose_core.config_io.ConfigError: as :func:`changed`, and for a factor of what is no such number.
    """
    config = changed(base, row.change)
    return config_io.from_dict(TrainConfig, _scaled(config_io.to_dict(config), row.scale or {}))


def _scaled(data: Mapping[str, Any], factors: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(data)
    for key, factor in factors.items():
        value = result.get(key)
        if isinstance(value, Mapping) and isinstance(factor, Mapping):
            result[key] = _scaled(value, factor)
        elif isinstance(value, float) and isinstance(factor, (int, float)):
            result[key] = value * factor
        elif key in result:
            raise config_io.ConfigError(f"{key} is {value!r} and its scale {factor!r}; only real numbers can be scaled")
        else:
            result[key] = factor  # no such key: what builds the configuration says so
    return result


def refuse_alike(rows: Sequence[AblationRow], configs: Sequence[TrainConfig]) -> None:
    """Each row is to be a run of its own: on some bases a row changes nothing.

    :raises ValueError: naming the rows that are the same run, and those to choose instead.
    """
    groups: dict[str, list[AblationRow]] = {}
    for row, config in zip(rows, configs, strict=True):
        groups.setdefault(_run(row, config), []).append(row)
    alike = [" and ".join(repr(row.name) for row in group) for group in groups.values() if len(group) > 1]
    if alike:
        distinct = {group[-1].slug for group in groups.values()}
        chosen = " ".join(row.slug for row in rows if row.slug in distinct)
        raise ValueError(
            f"with this configuration {'; '.join(alike)} are the same run; leave out all but one: --rows {chosen}"
        )


def _run(row: AblationRow, config: TrainConfig) -> str:
    """What tells a run from others, as text: values without effect are set to one."""
    encoder = config.model.encoder
    if encoder.frozen or "encoder" in config.frozen_parts:
        # Blocks learn at rates of their own in the backbone alone.
        config = replace(config, optimizer=replace(config.optimizer, layer_decay=1.0))
    frames = row.frames if config.model.memory.frames else "single"
    return f"{frames}\n{config_io.dump_yaml(explicit(config))}"


def shortened(config: TrainConfig, steps: int) -> TrainConfig:
    """The same schedule drawn together to another number of steps. :raises ValueError: for stages given in epochs."""
    ratio = steps / config.max_steps
    kept: list[Stage] = []
    end = 0
    for stage in config.stages:
        start, end = end, max(1, round((stage.until_step or 0) * ratio))
        if end > start:
            kept.append(replace(stage, until_step=end))
    optimizer = replace(config.optimizer, warmup_steps=round(config.optimizer.warmup_steps * ratio))
    return replace(config, stages=tuple(kept), optimizer=optimizer, val_every=min(config.val_every, steps))


def train(config: TrainConfig, folder: Path, download: bool = False) -> None:
    """Train, or go on training, into ``folder``/run: by train.fit in processes of their own, as many as configured.

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


def measure(
    config: TrainConfig, folder: Path, scoring: Scoring, workers: int | None = None, download: bool = False
) -> Measurement:
    """Train and score a run in ``folder``; what is done already is not done again.

    One that was scored otherwise (split, IoU kind or frames) is scored again.

    :param workers: processes that predict; None = a core each, on a GPU one. :param download: see :func:`train`.
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
        return Measurement(**yaml.safe_load(done.read_text(encoding="utf-8")))
    if not _is_trained(folder / "run"):
        train(config, folder, download)
    steps = export(folder / "run", folder / "model")
    device = device_of(config)
    job = PredictionJob(
        str(folder / "model"), scoring.root, scoring.split, folder / "predictions", frames=scoring.frames,
        device=device, labels=scoring.labels,
    )  # fmt: skip
    paths, _ = predict(job, workers or (len(os.sched_getaffinity(0)) if device == "cpu" else 1))
    report = evaluate(read_results(paths)[0], scoring.iou)
    measurement = Measurement(report.columns(), scoring.open().name, steps)
    _write(done, yaml.safe_dump(vars(measurement), sort_keys=False))
    return measurement


def device_of(config: TrainConfig) -> str:
    """Where a row predicts: on a GPU if there is one, unless it is to train on the CPU."""
    return "cuda" if config.compute.accelerator != "cpu" and torch.cuda.is_available() else "cpu"


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())
