# SPDX-License-Identifier: Apache-2.0
"""A table of ablations: rows that each change a training configuration, trained and scored one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from seqpose_core import config_io
from seqpose_core.metrics.iou import IouKind
from seqpose_core.metrics.nocs import evaluate
from seqpose_core.metrics.report import COLUMNS
from train.config import TrainConfig
from train.data.sampler import Stage
from train.evaluation_sets import open_set
from train.export import export
from train.fit import fit
from train.predict import PredictionJob, predict
from train.result_files import read_results


@dataclass(frozen=True)
class AblationRow:
    """One row.

    :param name: as printed. :param change: what differs from the base, nested as in a training configuration.
    :param frames: whether the estimator forgets before each frame ("single") or each clip ("multi").
    :param paper: the paper's eight figures on REAL275 in percent, where it has this row.
    """

    name: str
    change: Any = None
    frames: Literal["single", "multi"] = "multi"
    paper: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.change, (dict, type(None))):
            raise ValueError(f"change of row {self.name!r} is {self.change!r}; it must be a mapping")
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


def measure(row: AblationRow, config: TrainConfig, folder: Path, split: str, iou: IouKind, workers: int) -> Measurement:
    """Train and score one row in ``folder``; what is done already is not done again.

    :raises ValueError: if the folder holds a run of another configuration.
    """
    settings = {"config": config_io.to_dict(config), "split": split, "iou": iou, "frames": row.frames}
    path, done = folder / "settings.yaml", folder / "result.yaml"
    if path.is_file() and yaml.safe_load(path.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{folder} holds a run with other settings (see {path}); take another --out")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    if done.is_file():
        return Measurement(**yaml.safe_load(done.read_text(encoding="utf-8")))
    fit(config, folder / "run")
    steps = export(folder / "run", folder / "model")
    root = Path(config.data.root)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as train.evaluate: a result must not depend on the number of cores
    labels = config.data.val[0].labels  # mugs differ between the kinds: measured as it was validated
    job = PredictionJob(str(folder / "model"), root, split, folder / "predictions", frames=row.frames, labels=labels)
    paths, _ = predict(job, workers)
    torch.set_num_threads(threads)
    report = evaluate(read_results(paths)[0], iou)
    measurement = Measurement(report.columns(), open_set(root, split, labels).name, steps)
    partial = done.with_suffix(".part")
    partial.write_text(yaml.safe_dump(vars(measurement), sort_keys=False), encoding="utf-8")
    partial.replace(done)
    return measurement
