# SPDX-License-Identifier: Apache-2.0
"""Run an estimator over the clips of a data set: one result file per frame; finished clips are not repeated."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import yaml
from tqdm import tqdm

from seqpose_core import checkpoint
from seqpose_core.estimator import NonFiniteError, PoseEstimator
from seqpose_core.estimator_options import Precision, Runtime
from seqpose_core.evaluation.support import HEIGHTS
from seqpose_core.runtime.exported import is_exported
from train.data.atomic_file import atomic_write
from train.data.nocs_sets import Labels
from train.evaluate.result_files import result_of_frame, result_path, write_result
from train.evaluate.sets import open_set
from train.evaluate.support import EXACT, PlaneNoise, plane_of_frame, support_heights

_SETTINGS = "predictions.yaml"


@dataclass(frozen=True)
class PredictionJob:
    """What to predict.

    :param frames: "single": the estimator is reset before each frame; "multi": before each clip.
    :param ego_motion: give the recorded camera poses to the estimator.
    :param support_plane: give the support plane of a rendered set, with simulated errors ``plane_noise``.
    :param depth: give the depth images.
    :param limit: only the first clips, None for all.
    :param runtime, precision: see seqpose_core.EstimatorOptions.
    :param min_score, max_objects: limits of the predictions of a frame; ranked AP needs low scores too.
    :param labels: which labels the results hold, see train.data.nocs_sets.
    """

    checkpoint: str
    data: Path
    split: str
    out: Path
    frames: str = "multi"
    ego_motion: bool = False
    support_plane: bool = False
    plane_noise: PlaneNoise = EXACT
    depth: bool = False
    limit: int | None = None
    min_score: float = 0.01
    max_objects: int = 20
    device: str = "cpu"
    runtime: Runtime = "eager"
    precision: Precision = "fp32"
    labels: Labels = "gts"

    @property
    def aligned_cache(self) -> Path:
        """Folder of the poses that are computed for ``aligned`` labels, shared by the runs of an output folder."""
        return self.out.parent / "aligned"

    def settings(self) -> dict[str, object]:
        """Everything that the predictions depend on, without where they are written and how many clips are done."""
        values = {k: v for k, v in asdict(self).items() if k not in ("out", "limit", "device", "data")}
        for name in (
            "support_plane",
            "plane_noise",
            "depth",
            "runtime",
            "precision",
        ):  # outputs of older versions have none of them
            if getattr(self, name) == getattr(PredictionJob, name):
                del values[name]
        return {
            **values,
            "data": str(self.data.resolve()),
            "weights_sha256": weights_digest(self.checkpoint),
        }


def weights_digest(name: str) -> str:
    """SHA-256 of the weights of a checkpoint, or of the network of an exported folder, in hexadecimal."""
    if is_exported(name):
        files = sorted(Path(name).expanduser().glob("step.*"))
    else:
        files = [checkpoint.resolve(name) / checkpoint.WEIGHTS]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def check_settings(job: PredictionJob) -> None:
    """Write the settings to the output folder, or compare them with those there, so that runs are never mixed.

    :raises ValueError: the folder holds predictions of other settings; names the first that differs.
    """
    path, settings = job.out / _SETTINGS, job.settings()
    if path.is_file():
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for key, value in settings.items():
            if found.get(key) != value:
                raise ValueError(
                    f"{path}: {key} is {found.get(key)!r} but this run has {value!r}; choose another --out"
                )
        return
    with atomic_write(path) as file:
        file.write(yaml.safe_dump(settings, sort_keys=False).encode())


class ClipPredictor:
    """An estimator and a data set; predicts one clip at a time."""

    def __init__(self, job: PredictionJob) -> None:
        self.job = job
        self.estimator = PoseEstimator.from_pretrained(
            job.checkpoint,
            job.device,
            score_threshold=job.min_score,
            max_objects=job.max_objects,
            runtime=job.runtime,
            precision=job.precision,
        )
        dataset = open_set(job.data, job.split, job.labels, self.estimator.categories, job.aligned_cache)
        self.layout, self.rendered = dataset.layout, dataset.rendered
        if job.support_plane and not self.rendered:
            raise ValueError(f"the support plane of {dataset.name} is unknown; only sets of train.render have one")

    def clips(self) -> list[int]:
        """Indices of the clips to predict."""
        return list(range(len(self.layout.clips)))[: self.job.limit]

    def paths(self, clip: int) -> list[Path]:
        """Paths of the results of a clip, of readable and broken frames."""
        folder = self.layout.clips[clip]
        return [result_path(self.job.out, self.job.split, folder.scene, name) for name in folder.frames]

    def predict(self, clip: int) -> tuple[int, dict[str, str]]:
        """Predict a clip unless its results exist.

        :return: its number of frames, and the broken ones and unlabelled objects with the reason.
        """
        folder = self.layout.clips[clip]
        done = self.job.out / f"{folder.scene}.done"  # lists what was skipped; written after all others
        if done.is_file():
            return len(folder.frames), dict(yaml.safe_load(done.read_text(encoding="utf-8")) or {})
        self.estimator.reset()
        for frame in self.layout.frames(clip):
            if self.job.frames == "single":
                self.estimator.reset()
            pose = frame.camera_pose if self.job.ego_motion else None
            plane = plane_of_frame(frame, self.job.plane_noise) if self.job.support_plane else None
            depth = frame.depth if self.job.depth else None
            try:
                estimates = self.estimator.step(
                    frame.image, frame.camera, frame.stamp, pose, support_plane=plane, depth=depth
                )
            except NonFiniteError as error:
                self.layout.broken[f"{frame.scene}/{frame.name}"] = f"{frame.scene}/{frame.name}: {error}"
                continue
            image_path = f"{self.job.split}/{frame.scene}/{frame.name}"
            result = result_of_frame(frame, int(frame.name), image_path, estimates, self.estimator.categories)
            if self.rendered:
                result[HEIGHTS] = support_heights(frame)
            write_result(result_path(self.job.out, self.job.split, frame.scene, frame.name), result)
        skipped = {**self.layout.broken, **self.layout.left_out}
        broken = {k: v for k, v in skipped.items() if k.startswith(f"{folder.scene}/")}
        done.write_text(yaml.safe_dump(broken), encoding="utf-8")
        return len(folder.frames), broken


_worker: ClipPredictor | None = None


def _start_worker(job: PredictionJob) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = ClipPredictor(job)


def _predict_clip(clip: int) -> tuple[int, dict[str, str]]:
    assert _worker is not None
    return _worker.predict(clip)


def predict(job: PredictionJob, workers: int = 1, shard: tuple[int, int] = (0, 1)) -> tuple[list[Path], dict[str, str]]:
    """Predict all clips of a shard, with a progress bar.

    :param workers: processes, each with its own estimator. The results do not depend on their number.
    :param shard: (i, n): every n-th clip from the i-th on.
    :return: result files of the shard in the order of the data set; broken frames with file and reason.
    """
    check_settings(job)
    predictor = ClipPredictor(job)
    clips = predictor.clips()[shard[0] :: shard[1]]
    total = sum(len(predictor.layout.clips[clip].frames) for clip in clips)
    broken: dict[str, str] = {}
    with tqdm(total=total, unit="frame", desc=f"{job.frames} frame", smoothing=0.05) as bar:
        for count, faults in _run(job, predictor, clips, workers):
            bar.update(count)
            broken.update(faults)
    return [path for clip in clips for path in predictor.paths(clip) if path.is_file()], broken


def _run(
    job: PredictionJob, predictor: ClipPredictor, clips: list[int], workers: int
) -> Iterator[tuple[int, dict[str, str]]]:
    if workers <= 1:
        yield from map(predictor.predict, clips)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _start_worker, (job,)) as pool:
        yield from pool.map(_predict_clip, clips)
