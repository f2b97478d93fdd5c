# SPDX-License-Identifier: Apache-2.0
"""The parts of the benchmark: runtimes, stages, memory and scaling. All return what the JSON report contains."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from seqpose_core import PoseEstimator, SeqPose, SeqPoseConfig, threads
from seqpose_core.benchmark.networks import build_encoder_run, build_stock
from seqpose_core.benchmark.stages import StageTimer
from seqpose_core.benchmark.timing import Times, measure, resident_mb
from seqpose_core.model.step_graph import StepGraph, StepInput
from seqpose_core.preprocessing import fit_image
from seqpose_core.runtime.choose import build_engine, installed_runtimes
from seqpose_core.runtime.engine import Engine, RuntimeUnavailableError
from seqpose_core.runtime.sample import record_sample, recorded_step
from seqpose_core.samples import sample_frames

_CPU = torch.device("cpu")
_QUERIES, _FRAMES, _BATCHES = (300, 600, 900, 1200), (0, 1, 3, 8), (1, 2, 4)
_IMAGE_SCALES = (0.5, 1.0, 1.5)


def measure_runtimes(model: SeqPose, repeats: int) -> dict[str, Any]:
    """Stock, encoder with neck and step in every installed runtime, measured in turn."""
    step = recorded_step(record_sample(model), 1)
    runtimes = ["eager", *installed_runtimes()] if model.config.memory.frames else ["eager"]
    engines, memory, not_run = _build_engines(model, runtimes)
    image, intrinsics = torch.as_tensor(step.image), torch.as_tensor(step.intrinsics)
    encoders = {name: build_encoder_run(model, name, image, intrinsics) for name in runtimes if name in engines}
    runs: dict[str, Callable[[], object]] = {"stock": build_stock()}
    runs |= {f"encoder, {name}": run for name, run in encoders.items()}
    runs |= {f"step, {name}": (lambda e=engine: e(step)) for name, engine in engines.items()}  # type: ignore[misc]
    with torch.inference_mode():
        times = measure(runs, repeats)
    stock = times["stock"]
    steps = {name: times[f"step, {name}"] for name in engines}
    floor = {name: times[f"encoder, {name}"] for name in encoders}
    named = {"best": min(steps, key=lambda name: steps[name]["p50"]), "default": _default(engines)}
    over_stock = {name: _ratio(t, stock) for name, t in steps.items()}
    over_floor = {name: _ratio(t, floor[name]) for name, t in steps.items() if name in floor}
    return {
        "stock": stock,
        "floor": floor,
        "runtimes": steps,
        **named,
        "step_over_stock": over_stock | {role: over_stock[name] for role, name in named.items()},
        "step_over_floor": over_floor | {role: over_floor[name] for role, name in named.items() if name in over_floor},
        "floor_over_stock": {name: _ratio(t, stock) for name, t in floor.items()},
        "memory_mb": memory,
        "not_run": not_run,
    }


def _build_engines(model: SeqPose, runtimes: list[str]) -> tuple[dict[str, Engine], dict[str, float | None], list[str]]:
    """Engines by name, the resident memory that each adds after a step, and what cannot run here."""
    engines: dict[str, Engine] = {}
    memory: dict[str, float | None] = {"process": resident_mb()}
    not_run = []
    wanted = [(name, name, "fp32") for name in runtimes]
    if "openvino" in runtimes:
        wanted.append(("openvino bf16", "openvino", "bf16"))
    for name, runtime, precision in wanted:
        before = resident_mb()
        try:
            engines[name] = build_engine(model, runtime, _CPU, precision)
            estimator = PoseEstimator(engines[name])
        except RuntimeUnavailableError as error:
            not_run.append(f"{name}: not run ({error})")
            continue
        image, camera, stamp = next(iter(sample_frames()))
        estimator.step(image, camera, stamp)
        loaded = resident_mb()
        memory[name] = None if loaded is None or before is None else round(loaded - before, 1)
        if name == _default(engines):
            PoseEstimator(engines[name]).step(image, camera, stamp)
            after = resident_mb()
            memory["further stream"] = None if loaded is None or after is None else round(after - loaded, 1)
    if not torch.cuda.is_available():
        not_run += [f"{name}: not run (no CUDA device)" for name in ("cuda", "cuda bf16", "tensorrt")]
    return engines, memory, not_run


def measure_stages(model: SeqPose, repeats: int) -> dict[str, float]:
    """Median CPU milliseconds of the stages of a step in eager torch, and of the estimator around it."""
    image, camera, stamp = next(iter(sample_frames()))
    config = model.config
    graph = StepGraph(model).eval()
    step = StepInput(*(torch.as_tensor(x) for x in recorded_step(record_sample(model), 1)))
    estimator = PoseEstimator(model, runtime="eager")
    runs: dict[str, Callable[[], object]] = {
        "preprocessing": lambda: fit_image(image, camera, config.image_width, config.image_height),
        "step": lambda: graph(*step),
        "estimator": lambda: estimator.step(image, camera, stamp),
    }
    with torch.inference_mode():
        times = measure(runs, repeats)
        timer = StageTimer(graph.model)
        rows = []
        for _ in range(repeats):
            graph(*step)
            rows.append(timer.take())
        timer.remove()
    stages = {name: round(median(row[name] for row in rows), 2) for name in rows[0]}
    total = times["step"]["p50"]
    return {
        "preprocessing": times["preprocessing"]["p50"],
        **stages,
        "rest of the step": round(total - sum(stages.values()), 2),
        "step": total,
        "selection and tracking": round(times["estimator"]["p50"] - total - times["preprocessing"]["p50"], 2),
    }


def measure_scaling(config: SeqPoseConfig, repeats: int) -> dict[str, dict[str, Times]]:
    """Times of a step in eager torch, random weights: over queries, frames of memory, image size, batch and threads."""
    queries = {n: replace(config, queries=replace(config.queries, anchors=n, proposals=0)) for n in _QUERIES}
    frames = {n: replace(config, memory=replace(config.memory, frames=n)) for n in _FRAMES}
    sizes = [_resized(config, scale) for scale in _IMAGE_SCALES]
    steps = {
        "queries": {str(n): _build_step(changed) for n, changed in queries.items()},
        "memory frames": {str(n): _build_step(changed) for n, changed in frames.items()},
        "image size": {f"{c.image_width}x{c.image_height}": _build_step(c) for c in sizes},
        "batch": {str(n): _build_step(config, n) for n in _BATCHES},
    }
    with torch.inference_mode():
        scaling = {name: measure(runs, repeats) for name, runs in steps.items()}
        scaling["threads"] = _measure_threads(_build_step(config), repeats)
    return scaling


def _measure_threads(run: Callable[[], object], repeats: int) -> dict[str, Times]:
    """The step with 1, 2, 4, ... threads, at most one per core; ``wall`` is the duration."""

    def with_threads(count: int) -> Callable[[], object]:
        def start() -> object:
            threads.set_threads(count)
            return run()

        return start

    before, counts = torch.get_num_threads(), [n for n in (1, 2, 4, 8, 16) if n <= (os.cpu_count() or 1)]
    try:
        return measure({str(n): with_threads(n) for n in counts}, repeats)
    finally:
        threads.set_threads(before)


def _resized(config: SeqPoseConfig, scale: float) -> SeqPoseConfig:
    """The configuration for images of another size, a multiple of the patch size."""
    patch = config.encoder.patch_size
    height, width = (max(2, round(scale * side / patch)) * patch for side in (config.image_height, config.image_width))
    proposals = config.queries.proposals
    cells = (height // patch) * (width // patch) * config.encoder.finest_cells**2
    queries = replace(config.queries, proposals=min(proposals, cells))
    return replace(config, image_height=height, image_width=width, queries=queries)


def _build_step(config: SeqPoseConfig, batch: int = 1) -> Callable[[], object]:
    """A function that runs a step of ``batch`` streams with random weights."""
    torch.manual_seed(0)
    model = SeqPose(config).eval()
    graph = StepGraph(model).eval()
    step = recorded_step(record_sample(model), 1)
    tensors = [torch.cat([torch.as_tensor(x)] * batch) for x in step]
    return lambda: graph(*tensors)


def _default(engines: Mapping[str, Engine]) -> str:
    """The runtime that is used unless another one is requested."""
    return "openvino" if "openvino" in engines else "eager"


def _ratio(times: Times, reference: Times) -> float:
    return round(times["p50"] / reference["p50"], 3)
