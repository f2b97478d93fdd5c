# SPDX-License-Identifier: Apache-2.0
"""Run the scenes of the benchmark in worker processes; finished scenes are kept, so that a run can be resumed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from seqpose_core import PoseEstimator, checkpoint
from seqpose_core.grasping import Gripper
from seqpose_core.objects import ObjectPose
from seqpose_core.threads import set_threads
from train.data.atomic_file import atomic_write_text
from train.grasp.over_dds import estimate_over_dds
from train.grasp.scenes import sample_scene
from train.grasp.trial import as_record, attempt, estimate, feasible_targets, try_detections
from train.grasp.views import HEIGHT, WIDTH, StampedImage, take_pictures
from train.render.clips import RenderJob, RenderResources

#: Version of the scenes, the gripper and the rules; results of different versions are not comparable.
CONTENT_VERSION = 2


@dataclass(frozen=True)
class GraspJob:
    """What to run: output folder, number of scenes, seed, sources of the poses, the checkpoint of those other than
    true_pose, the gripper's opening in metres, and whether the poses come from the ROS node over DDS or from an
    estimator in process.

    ``score_threshold`` and ``smoothing`` are options of both. The threshold is lower than those of a checkpoint
    (None), because only objects that were detected in two frames running are grasped."""

    out: Path
    scenes: int
    seed: int = 0
    sources: tuple[str, ...] = ("true_pose",)
    checkpoint: str = "seqpose-lite2"
    opening: float = 0.085
    node: bool = False
    score_threshold: float | None = 0.2
    smoothing: float = 0.9

    def scene_path(self, number: int) -> Path:
        """File of the results of a scene."""
        return self.out / "scenes" / f"{number:04d}.json"


def _settings(job: GraspJob) -> dict[str, Any]:
    gripper = asdict(Gripper(opening=job.opening))
    settings = {"version": CONTENT_VERSION, "seed": job.seed, "sources": sorted(job.sources), "gripper": gripper}
    settings |= {"node": job.node, "score_threshold": job.score_threshold, "smoothing": job.smoothing}
    if set(job.sources) != {"true_pose"}:
        weights = checkpoint.resolve(job.checkpoint) / checkpoint.WEIGHTS
        settings["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return settings


def check_settings(job: GraspJob) -> None:
    """Write the settings beside the results, or compare them with those of earlier results.

    :raises ValueError: if the folder holds results of other settings, such as another checkpoint.
    """
    path, settings = job.out / "settings.json", _settings(job)
    if path.is_file():
        found = json.loads(path.read_text())
        different = [name for name in settings.keys() | found.keys() if settings.get(name) != found.get(name)]
        if different:
            name = sorted(different)[0]
            raise ValueError(
                f"{path} has {name} {found.get(name)} but this run has {settings.get(name)}; choose another --out"
            )
        return
    (job.out / "scenes").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1) + "\n")


class SceneRunner:
    """Runs single scenes. Opens the renderer and the estimator if a source of poses needs them.

    :param pictures: open the renderer in any case.
    """

    def __init__(self, job: GraspJob, pictures: bool = False) -> None:
        self.job = job
        self.gripper = Gripper(opening=job.opening)
        self._estimated_sources = [source for source in job.sources if source != "true_pose"]
        if self._estimated_sources or pictures:
            self.resources = RenderResources.open(RenderJob("test", job.seed, job.out, 1, WIDTH, HEIGHT))
        if self._estimated_sources and not job.node:
            self.estimator = PoseEstimator.from_pretrained(
                job.checkpoint, score_threshold=job.score_threshold, smoothing=job.smoothing
            )

    def detections(self, source: str, frames: Sequence[StampedImage]) -> list[ObjectPose]:
        """The objects in the last frame with poses of a source other than true_pose, camera frame."""
        if self.job.node:
            job = self.job
            return estimate_over_dds(job.checkpoint, frames, source == "plane", job.score_threshold, job.smoothing)
        return estimate(self.estimator, frames, source == "plane")

    def run(self, number: int) -> dict[str, Any]:
        """All sources of poses on scene ``number``; the record that :func:`train.grasp.report.summarise` reads."""
        scene = sample_scene(self.job.seed, number, self.gripper)
        targets = feasible_targets(scene, self.gripper)
        results = []
        if "true_pose" in self.job.sources:
            results += [attempt(scene, i, "true_pose", grasp, np.eye(4), None) for i, grasp in targets.items()]
        if self._estimated_sources:
            frames = take_pictures(scene, self.resources, self.job.seed)
            for source in self._estimated_sources:
                found = self.detections(source, frames)
                results += try_detections(scene, source, list(targets), found, frames[-1].camera_pose, self.gripper)
        return as_record(scene, targets, results)


_runner: SceneRunner | None = None


def _start_worker(job: GraspJob) -> None:
    global _runner
    os.environ["LP_NUM_THREADS"] = "1"
    set_threads(1)
    _runner = SceneRunner(job)


def _run_in_worker(number: int) -> None:
    assert _runner is not None
    _run_and_write(_runner, number)


def _run_and_write(runner: SceneRunner, number: int) -> None:
    atomic_write_text(runner.job.scene_path(number), json.dumps(runner.run(number)) + "\n")


def _run_in_pool(job: GraspJob, numbers: Sequence[int], workers: int) -> Iterator[None]:
    """Run scenes in worker processes; yields once per finished scene."""
    # Spawned, because each worker needs its own EGL context.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, (job,))
    try:
        for done in as_completed([pool.submit(_run_in_worker, number) for number in numbers]):
            done.result()
            yield
    finally:
        pool.shutdown(cancel_futures=True)


def _run_here(job: GraspJob, numbers: Sequence[int]) -> Iterator[None]:
    """Run scenes in this process; yields once per finished scene."""
    runner = SceneRunner(job)
    for number in numbers:
        _run_and_write(runner, number)
        yield


def run_scenes(job: GraspJob, workers: int = 1) -> list[dict[str, Any]]:
    """Run the scenes 0 .. scenes-1 that have no results yet; return the records of all of them.

    :param workers: processes; 1 = this one.
    :raises ValueError: if the folder holds results of other settings.
    :raises seqpose_core.checkpoint.CheckpointError: if the checkpoint cannot be loaded.
    """
    check_settings(job)
    todo = [number for number in range(job.scenes) if not job.scene_path(number).is_file()]
    if len(todo) < job.scenes:
        print(f"{job.scenes - len(todo)} of {job.scenes} scenes are finished already")
    if todo:
        runs = _run_here(job, todo) if workers == 1 else _run_in_pool(job, todo, workers)
        for _ in tqdm(runs, total=len(todo), unit="scene", smoothing=0.05):
            pass
    return [json.loads(job.scene_path(number).read_text()) for number in range(job.scenes)]
