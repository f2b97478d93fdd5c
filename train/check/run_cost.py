# SPDX-License-Identifier: Apache-2.0
"""Initial weights, one training step of every stage with its memory and time, and the expected hours of a run."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator
from dataclasses import replace

import torch

from seqpose_core.model.seqpose import SeqPose
from train.benchmarks.loader import measure_rates
from train.check.finding import Finding
from train.fit.batches import make_sampler, open_clips
from train.fit.config import TrainConfig
from train.fit.initial_weights import freeze, load_initial_weights

#: Cost of a frame in validation relative to training: a backward pass costs about twice the forward pass.
_FORWARD = 1 / 3


def check_weights(config: TrainConfig, allow_download: bool) -> Iterator[Finding]:
    """Build the network and load the weights that a run would start from."""
    model = SeqPose(config.model)
    freeze(model, config.frozen_parts)
    load_initial_weights(model, config, allow_download)
    total, trained = (
        sum(p.numel() for p in model.parameters() if p.requires_grad or every) / 1e6 for every in (True, False)
    )
    source = config.init_from or config.model.encoder.pretrained or "random"
    yield Finding("ok", "network", f"{total:.1f} million parameters, {trained:.1f} trained; initial weights: {source}")


def check_steps(config: TrainConfig, steps: int) -> Iterator[Finding]:
    """Train a few steps of every stage in one process, with its part of the batch, and estimate the hours of the run.

    :param steps: that are timed, after two that are not.
    """
    devices = config.compute.devices * config.compute.num_nodes
    clips = open_clips(config, config.data.train, training=True)
    sampler = make_sampler(config, clips, process=(0, devices))  # checks that the batches can be divided
    config = replace(config, stages=sampler.stages)
    parts = tuple(replace(s, batch_clips=s.batch_clips // (devices * config.accumulate)) for s in config.stages)
    use_gpu = torch.cuda.is_available() and config.compute.accelerator != "cpu"
    if use_gpu:
        torch.cuda.reset_peak_memory_stats()
    hours, start = 0.0, 0
    rates_of_stages = measure_rates(replace(config, stages=parts), batches=4 * max(1, config.data.workers), steps=steps)
    for stage, part, rates in zip(config.stages, parts, rates_of_stages, strict=True):
        end = stage.until_step or 0
        frames = part.batch_clips * part.clip_length * config.accumulate
        step, load = frames / rates.trained, frames / rates.loaded
        hours += (end - start) * max(step, load) / 3600
        subject = f"steps {start} to {end}"
        start = end
        text = (
            f"{step:.2f} s per step of {frames} frames, {load:.2f} s to load them with {config.data.workers} processes"
        )
        yield Finding("warning" if load > step else "ok", subject, text + ("; loading is slower" * (load > step)))
        if not math.isfinite(rates.loss):
            yield Finding("error", subject, f"the loss is {rates.loss}")
    yield _memory(use_gpu)
    windows = min(config.data.val_windows, sum(len(c.frames) for layout in clips.layouts for c in layout.clips))
    validated = start / config.val_every * windows * config.data.val_frames / devices
    hours += validated * _FORWARD / rates.trained / 3600
    where = torch.cuda.get_device_name(0) if use_gpu else "the CPU"
    text = f"{hours:.1f} hours with validation; processes: {devices}, each as fast as this one on {where}"
    yield Finding("ok", "expected time", text)


def _memory(use_gpu: bool) -> Finding:
    if not use_gpu:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        return Finding("ok", "memory", f"{peak:.1f} GB at most in this process")
    peak, total = torch.cuda.max_memory_allocated() / 1e9, torch.cuda.get_device_properties(0).total_memory / 1e9
    return Finding("warning" if peak > 0.9 * total else "ok", "memory", f"{peak:.1f} of {total:.1f} GB of the GPU")
