# SPDX-License-Identifier: Apache-2.0
"""Render clips: scene, camera path, images and labels, in any number of worker processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from tqdm import tqdm

from train.render.device import create_context
from train.render.environments import EnvironmentBank
from train.render.mesh_category import MeshCategory
from train.render.meshes import Array
from train.render.motion import HandHeldMotion
from train.render.renderer import Renderer
from train.render.scene import Scene, sample_intrinsics, sample_occluder, sample_scene
from train.render.sensor import Exposure, take_picture
from train.render.splits import Split, split_settings
from train.render.textures import TextureBank
from train.render.writer import ClipWriter, is_complete

CONTENT_VERSION = 2  # of the rendered scenes; clips of different versions are different data
_CLEARANCE = 0.05  # m between the camera and the sphere around any object


@dataclass(frozen=True)
class RenderJob:
    """What to render. ``fps`` fixes the time between frames; None draws each step from 0.1 to 0.5 s;
    ``assets`` is the folder of :mod:`train.render.assets`, if any; ``added`` is a seventh category."""

    split: str
    seed: int
    out: Path
    frames: int = 4
    width: int = 224
    height: int = 168
    fps: float | None = None
    assets: Path | None = None
    added: MeshCategory | None = None


@dataclass(frozen=True)
class RenderResources:
    """The renderer and the texture and environment banks of a pool, which a worker reuses for all clips."""

    renderer: Renderer
    textures: TextureBank
    environments: EnvironmentBank

    @staticmethod
    def open(job: RenderJob, textures: int | None = None, environments: int | None = None) -> RenderResources:
        """Create the resources of a job.

        :param textures, environments: sizes of the banks; None = full size, smaller in tests.
        """
        pool = split_settings(job.split).pool
        bank, surroundings = TextureBank(pool, textures), EnvironmentBank(pool, job.assets, environments)
        return RenderResources(Renderer(bank, surroundings, job.width, job.height), bank, surroundings)


def _clear_of_objects(scene: Scene, poses: list[Array]) -> bool:
    """Whether every camera position (4, 4) keeps its distance from all objects."""
    eyes = np.array([pose[:3, 3] for pose in poses])
    for item in scene.objects:
        half = item.mesh.extents / 2 + _CLEARANCE
        local = (eyes - item.world_from_object[:3, 3]) @ item.world_from_object[:3, :3]
        if (np.abs(local) < half).all(axis=1).any():
            return False
    return True


def sample_path(rng: Generator, scene: Scene, split: Split, stamps: Array) -> HandHeldMotion:
    """A camera path that looks at the objects and does not collide with them."""
    room = scene.room
    for attempt in range(12):
        aims = [item for item in scene.objects if item.class_id] or scene.objects
        aim = aims[int(rng.integers(len(aims)))] if aims else None
        target = np.array([0, 0, 0.04]) if aim is None else aim.world_from_object[:3, 3] * rng.uniform(0.4, 1.0)
        size = 0.0 if aim is None else float(np.linalg.norm(aim.mesh.extents))
        nearest = max(0.3, 0.9 * size) + 0.05 * attempt
        motion = HandHeldMotion.sample(rng, nearest, target, split.pace, room.front, room.highest)
        if _clear_of_objects(scene, [motion.world_from_camera(float(stamp)) for stamp in stamps]):
            return motion
    return motion


def render_clip(job: RenderJob, resources: RenderResources, clip: int) -> None:
    """Render and write one clip; a pure function of the job's settings and the clip's index."""
    split = replace(split_settings(job.split), added=job.added)
    rng = np.random.default_rng([zlib.crc32(job.split.encode()), job.seed, clip])
    scene = sample_scene(rng, split, resources.textures, resources.environments)
    intrinsics = sample_intrinsics(rng, job.width, job.height)
    steps = np.full(job.frames - 1, 1 / job.fps) if job.fps else rng.uniform(0.1, 0.5, job.frames - 1)
    stamps = np.concatenate([[0.0], np.cumsum(steps)])
    motion = sample_path(rng, scene, split, stamps)
    if rng.random() < split.occluder:
        eye = motion.world_from_camera(0.0)[:3, 3]
        target = np.array([0, 0, 0.05])
        occluder = sample_occluder(rng, split, resources.textures, eye, target, float(stamps[-1]))
        scene = replace(scene, objects=[*scene.objects, occluder])
    writer = ClipWriter(job.out, job.split, clip, scene, intrinsics)
    resources.renderer.load(scene)
    exposure = Exposure(scene.sensor, rng)
    for stamp in map(float, stamps):
        pose = motion.world_from_camera(stamp)
        view = resources.renderer.render(intrinsics, pose, stamp)
        open_, close = (motion.world_from_camera(stamp + s * scene.sensor.shutter / 2) for s in (-1, 1))
        moved = np.linalg.inv(close) @ open_
        colour = take_picture(scene.sensor, exposure, rng, view.radiance, view.depth, intrinsics, moved, stamp)
        writer.add(view, colour, pose, stamp)
    writer.finish()


_worker: tuple[RenderJob, RenderResources] | None = None


def _end_with_parent() -> None:
    """Exit when the parent process is killed; otherwise the workers of the pool would finish their queue."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _start_worker(job: RenderJob) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["LP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    _worker = (job, RenderResources.open(job))


def _render_clip(clip: int) -> int:
    assert _worker is not None
    render_clip(*_worker, clip)
    return clip


def _check_settings(job: RenderJob) -> None:
    """Write the settings next to the clips of a split, or compare them with those of earlier clips.

    :raises ValueError: the folder holds clips of other settings.
    """
    path = job.out / job.split / "render.json"
    settings = {
        "world": CONTENT_VERSION,
        "seed": job.seed,
        "frames": job.frames,
        "size": [job.width, job.height],
        "fps": job.fps,
        "assets": job.assets is not None,
    }
    if job.added is not None:
        settings["added"] = job.added.settings()
    if path.is_file():
        found = json.loads(path.read_text())
        if found != settings:
            raise ValueError(f"{path} has {found} but this run has {settings}; choose another --out or --seed")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings) + "\n")


def render(job: RenderJob, clips: int, workers: int = 1) -> int:
    """Render the missing clips of 0..clips-1; returns their number.

    :raises RuntimeError: no OpenGL through EGL.
    :raises ValueError: the folder holds clips of other settings.
    """
    _check_settings(job)
    todo = [clip for clip in range(clips) if not is_complete(job.out, job.split, clip, job.frames)]
    if len(todo) < clips:
        print(f"{clips - len(todo)} of {clips} clips exist already")
    if not todo:
        return 0
    # Raises one error if the driver is missing; in the workers it would break the process pool.
    create_context().release()
    # Spawned instead of forked, because each worker needs its own EGL context.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, (job,))
    try:
        with tqdm(total=len(todo) * job.frames, unit="frame", smoothing=0.05) as bar:
            for done in as_completed([pool.submit(_render_clip, clip) for clip in todo]):
                done.result()
                bar.update(job.frames)
    finally:
        pool.shutdown(cancel_futures=True)
    return len(todo)
