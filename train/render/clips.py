# SPDX-License-Identifier: Apache-2.0
"""Render clips: a clip is a pure function of (split, seed, clip index, frames, size, fps)."""

from __future__ import annotations

import json
import multiprocessing
import os
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from train.render.motion import HandHeldMotion
from train.render.renderer import Renderer, create_context
from train.render.scene import sample_intrinsics, sample_scene
from train.render.textures import TextureBank
from train.render.writer import ClipWriter, is_complete, sensor


@dataclass(frozen=True)
class RenderJob:
    """What to render. ``fps`` fixes the time between frames; None draws each step from 0.1 to 0.5 s."""

    split: str
    seed: int
    out: Path
    frames: int = 4
    width: int = 224
    height: int = 168
    fps: float | None = None


def render_clip(job: RenderJob, renderer: Renderer, bank: TextureBank, clip: int) -> None:
    """Render and write one clip."""
    rng = np.random.default_rng([zlib.crc32(job.split.encode()), job.seed, clip])
    scene = sample_scene(rng, job.split, bank)
    intrinsics = sample_intrinsics(rng, job.width, job.height)
    # A laptop up close would fill the picture.
    motion = HandHeldMotion.sample(rng, 0.6 if any(item.kind == "laptop" for item in scene.objects) else 0.45)
    steps = np.full(job.frames - 1, 1 / job.fps) if job.fps else rng.uniform(0.1, 0.5, job.frames - 1)
    stamps = np.concatenate([[0.0], np.cumsum(steps)])
    writer = ClipWriter(job.out, job.split, clip, scene, intrinsics)
    renderer.load(scene)
    for stamp in stamps:
        pose = motion.world_from_camera(float(stamp))
        view = renderer.render(intrinsics, pose)
        writer.add(view, sensor(rng, view.colour, scene.blur, scene.noise), pose, float(stamp))
    writer.finish()


_worker: tuple[RenderJob, Renderer, TextureBank] | None = None


def _start_worker(job: RenderJob) -> None:
    global _worker
    os.environ["LP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    bank = TextureBank(job.split)
    _worker = (job, Renderer(bank, job.width, job.height), bank)


def _work(clip: int) -> int:
    assert _worker is not None
    render_clip(*_worker, clip)
    return clip


def _claim(job: RenderJob) -> None:
    """Note the settings beside the split's clips, so that no other settings are mixed in later.

    :raise ValueError: the folder holds clips of other settings.
    """
    path = job.out / job.split / "render.json"
    settings = {"seed": job.seed, "frames": job.frames, "size": [job.width, job.height], "fps": job.fps}
    if path.is_file():
        found = json.loads(path.read_text())
        if found != settings:
            raise ValueError(f"{path} says {found} but this run is {settings}; choose another --out or --seed")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings) + "\n")


def render(job: RenderJob, clips: int, workers: int = 1) -> int:
    """Render clips 0..clips-1 that are not there yet; returns how many were rendered.

    :raise RuntimeError: no OpenGL through EGL.
    :raise ValueError: the folder holds clips of other settings.
    """
    _claim(job)
    todo = [clip for clip in range(clips) if not is_complete(job.out, job.split, clip, job.frames)]
    if len(todo) < clips:
        print(f"{clips - len(todo)} of {clips} clips are already there")
    if not todo:
        return 0
    # A missing driver is told here, once, rather than as a broken pool of workers.
    create_context().release()
    # Spawned, not forked: every worker needs an EGL context of its own.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, (job,))
    try:
        with tqdm(total=len(todo) * job.frames, unit="frame", smoothing=0.05) as bar:
            for done in as_completed([pool.submit(_work, clip) for clip in todo]):
                done.result()
                bar.update(job.frames)
    finally:
        pool.shutdown(cancel_futures=True)
    return len(todo)
