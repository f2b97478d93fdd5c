# SPDX-License-Identifier: Apache-2.0
"""The steps from meshes to a checkpoint: render, extend, fine-tune, compare. Each resumes where it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seqpose_core import checkpoint
from seqpose_core.categories import Category
from seqpose_core.metrics.errors import DetectionErrors, match_detections
from train.data.sampler import Stage
from train.evaluate.predict import PredictionJob, predict
from train.evaluate.result_files import read_results
from train.export import export
from train.fit.config import SetConfig, TrainConfig
from train.fit.run import fit
from train.new_category.extend import blend, extend_network
from train.render.clips import RenderJob, render
from train.render.mesh_category import MeshCategory, mean_extents

_COLOUR = (0, 150, 136)
#: Predictions with this score and more are compared; the thresholds of a new category are not calibrated yet.
_COMPARED_SCORE = 0.3


@dataclass(frozen=True)
class NewCategory:
    """What to make.

    :param shapes: the category's meshes. :param checkpoint: what to start from.
    :param config: training settings; model and data are replaced. :param steps: None = as in ``config``.
    :param clips, val_clips: rendered clips for training and for validation. :param frames: per clip.
    :param workers: processes that render. :param blend: weight of the fine-tuned weights in the result, see
        :func:`train.new_category.extend.blend`.
    """

    shapes: MeshCategory
    checkpoint: str
    config: TrainConfig
    out: Path
    steps: int | None = None
    clips: int = 3000
    val_clips: int = 100
    frames: int = 2
    seed: int = 0
    assets: Path | None = None
    workers: int = 1
    blend: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.blend <= 1:
            raise ValueError(f"blend is {self.blend}; it must lie in 0..1")

    @property
    def start(self) -> Path:
        """Folder of the extended checkpoint that the training starts from."""
        return self.out / "start"

    @property
    def data(self) -> Path:
        """Folder of the rendered clips."""
        return self.out / "data"

    @property
    def result(self) -> Path:
        """Folder of the checkpoint with the new category."""
        return self.out / "checkpoint"


def render_scenes(job: NewCategory) -> None:
    """Render the clips of the splits train and val that are missing."""
    model = checkpoint.read_config(job.checkpoint)
    for split, clips in (("train", job.clips), ("val", job.val_clips)):
        width, height = model.image_width, model.image_height
        print(f"rendering {clips} clips, split {split}")
        render(
            RenderJob(split, job.seed, job.data, job.frames, width, height, None, job.assets, job.shapes),
            clips,
            job.workers,
        )


def extend_checkpoint(job: NewCategory) -> None:
    """Write the extended checkpoint to ``job.start``, unless it is there."""
    if (job.start / checkpoint.WEIGHTS).is_file():
        return
    torch.manual_seed(job.seed)
    model = checkpoint.load(job.checkpoint)
    number = len(model.config.categories) + 1
    added = Category(number, job.shapes.name, job.shapes.symmetric, mean_extents(job.shapes), _COLOUR)
    checkpoint.save(extend_network(model, added), job.start)


def training_config(job: NewCategory) -> TrainConfig:
    """``job.config`` for the extended network and the rendered clips, with ``job.steps`` steps."""
    config = job.config
    stages: Sequence[Stage] = config.stages
    if job.steps is not None:
        old = config.max_steps
        ends = [max(1, round(stage.until_step * job.steps / old)) for stage in stages if stage.until_step is not None]
        stages = [replace(stage, until_step=end) for stage, end in zip(stages, ends, strict=True)]
    steps = stages[-1].until_step
    assert steps is not None
    return replace(
        config,
        model=checkpoint.read_config(job.start),
        init_from=str(job.start),
        data=replace(config.data, root=str(job.data), train=(SetConfig("train"),), val=(SetConfig("val"),)),
        optimizer=replace(config.optimizer, warmup_steps=min(config.optimizer.warmup_steps, max(1, steps // 10))),
        stages=tuple(stages),
        val_every=min(config.val_every, steps),
        save_every=min(config.save_every, steps),
        seed=job.seed,
    )


def write_result(job: NewCategory) -> None:
    """Write the blend of the start and the last state of the training to ``job.result``."""
    last = job.out / "fit" / "last"
    export(job.out / "fit", last)
    checkpoint.save(blend(checkpoint.load(job.start), checkpoint.load(last), job.blend), job.result)


def compare(job: NewCategory) -> list[tuple[str, int, list[float], list[float]]]:
    """Recall on the rendered split val before and after the training.

    Before, the extended network does what the checkpoint does for its own categories.

    :return: name, number of ground-truth objects, and recall in percent at 10 cm and at 10°10 cm before and after, of
        each category.
    """
    folders = {"before": job.start, f"after-{job.blend:g}": job.result}
    before, after = (_errors(job, folder, name) for name, folder in folders.items())
    rows = []
    for category in before.categories:
        mine = before.category == category.id
        recalls = [
            [100 * float(e.within(*limits)[mine].mean()) if mine.any() else float("nan") for limits in _LIMITS]
            for e in (before, after)
        ]
        rows.append((category.name, int(mine.sum()), recalls[0], recalls[1]))
    return rows


_LIMITS = ((360.0, 10.0), (10.0, 10.0))  # degrees, centimetres


def _errors(job: NewCategory, folder: Path, name: str) -> DetectionErrors:
    prediction = PredictionJob(str(folder), job.data, "val", job.out / "predictions" / name, "single")
    results, _ = read_results(predict(prediction)[0])
    return match_detections(results, _COMPARED_SCORE, categories=checkpoint.read_config(folder).categories)


def run(job: NewCategory) -> list[tuple[str, int, list[float], list[float]]]:
    """All steps; returns the rows of :func:`compare`."""
    render_scenes(job)
    extend_checkpoint(job)
    fit(training_config(job), job.out / "fit")
    write_result(job)
    return compare(job)
