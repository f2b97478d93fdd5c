# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_core.benchmark``: time of a step per runtime, relative to stock Depth Anything V2 Small.

All are measured in one run with the same number of threads, in turn, so that other load on the machine affects all of
them. Stock is transformers' Depth Anything V2 Small with random weights on a 238x322 image, in eager torch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqpose_core import SeqPose, SeqPoseConfig, checkpoint, threads
from seqpose_core.runtime.choose import build_engine, installed_runtimes
from seqpose_core.runtime.sample import record_sample, recorded_step

_STOCK_SIZE = (238, 322)  # rows, columns
_WARM_UP = 3


def measure(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Median, 5th and 95th percentile of the CPU time of each function, milliseconds, measured in turn.

    CPU time of the process: time during which other programs have the core is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_WARM_UP + repeats):
        for name, run in runs.items():
            begin = time.process_time()
            run()
            times[name].append(1e3 * (time.process_time() - begin))
    return {
        name: {f"p{p}": round(float(np.percentile(values[_WARM_UP:], p)), 2) for p in (5, 50, 95)}
        for name, values in times.items()
    }


def build_stock() -> Callable[[], object]:
    """A function that runs stock Depth Anything V2 Small once."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=384,
        num_attention_heads=6,
        image_size=518,
        patch_size=14,
        out_indices=[3, 6, 9, 12],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=384,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
    )
    network, image = DepthAnythingForDepthEstimation(config).eval(), torch.rand(1, 3, *_STOCK_SIZE)
    return lambda: network(image)


def benchmark(model: SeqPose, repeats: int) -> dict[str, Any]:
    """Times of stock, of the model's encoder with neck in eager torch, and of its step in every installed runtime."""
    recorded = record_sample(model)
    step = recorded_step(recorded, 1)
    image, intrinsics = (
        torch.from_numpy(step.image).permute(0, 3, 1, 2).float() / 255,
        torch.from_numpy(step.intrinsics),
    )
    runtimes = ["eager", *installed_runtimes()]
    engines = {name: build_engine(model, name, torch.device("cpu"), "fp32") for name in runtimes}
    runs: dict[str, Callable[[], object]] = {
        "stock": build_stock(),
        "encoder": lambda: model.encoder((image - model.pixel_mean) / model.pixel_std, intrinsics),
        **{name: (lambda e=engine: e(step)) for name, engine in engines.items()},  # type: ignore[misc]
    }
    with torch.inference_mode():
        times = measure(runs, repeats)
    stock, floor = times.pop("stock"), times.pop("encoder")
    best = min(times, key=lambda name: times[name]["p50"])
    return {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "repeats": repeats,
        "stock_ms": stock,
        "encoder_eager_ms": floor,
        "runtimes": times,
        "best": best,
        "step_over_stock": {name: round(t["p50"] / stock["p50"], 3) for name, t in times.items()},
        "step_over_floor": {"eager": round(times["eager"]["p50"] / floor["p50"], 3)},
    }


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report as a table."""
    rows = [("stock", report["stock_ms"]), ("encoder and neck, eager", report["encoder_eager_ms"])]
    rows += [(f"step, {name}", values) for name, values in report["runtimes"].items()]
    lines = ["| | CPU ms (p50) | p5 to p95 | / stock |", "|---|---|---|---|"]
    for name, t in rows:
        lines.append(f"| {name} | {t['p50']} | {t['p5']} to {t['p95']} | {t['p50'] / report['stock_ms']['p50']:.3f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m seqpose_core.benchmark", description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name, folder or file (%(default)s)")
    source.add_argument("--config", type=Path, help="a model configuration, with random weights")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; a table is written beside it as .md")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats is {options.repeats}; it must be at least 1")
    try:
        threads.set_threads(options.threads)
        if options.config is None:
            model, name = checkpoint.load(options.checkpoint), str(options.checkpoint)
        else:
            torch.manual_seed(0)
            model, name = SeqPose(SeqPoseConfig.from_yaml(options.config)).eval(), options.config.stem
        report = {"model": name, **benchmark(model, options.repeats)}
    except (OSError, ValueError) as error:
        print(f"seqpose_core.benchmark: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    table = as_markdown(report)
    options.out.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
