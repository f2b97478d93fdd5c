# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_core.benchmark``: time of a step per runtime, relative to stock Depth Anything V2 Small.

    python -m seqpose_core.benchmark --checkpoint seqpose-lite2 --out out/benchmark/lite2.json

Everything is measured in one run with a fixed number of threads and in turn, so that other load on the machine affects
all of it. Stock is transformers' Depth Anything V2 Small with random weights on a 238x322 image, in eager torch. A
table and a plot are written beside the JSON file.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from seqpose_core import SeqPose, SeqPoseConfig, checkpoint, threads
from seqpose_core.benchmark.parts import measure_runtimes, measure_scaling, measure_stages
from seqpose_core.benchmark.report import as_markdown, write_plot
from seqpose_core.command_line import command_parser

PARTS = ("runtimes", "stages", "scaling")


def benchmark(model: SeqPose, repeats: int, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """The JSON report: ``step_over_stock``, ``step_over_floor``, ``runtimes``, ``stages``, ``scaling`` and more."""
    report: dict[str, Any] = {"machine": describe_machine(), "repeats": repeats}
    if "runtimes" in parts:
        report |= measure_runtimes(model, repeats)
    if "stages" in parts:
        report["stages"] = measure_stages(model, repeats)
    if "scaling" in parts:
        report["scaling"] = measure_scaling(model.config, repeats)
    report["machine"]["load"] = round(max(report["machine"]["load"], os.getloadavg()[0]), 1)
    return report


def describe_machine() -> dict[str, Any]:
    """Processor, its widest vector instructions as torch uses them, cores, threads and load."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = command_parser(__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name, folder or file (%(default)s)")
    source.add_argument("--config", type=Path, help="a model configuration, with random weights")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; .md and .png are written beside it")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (all)")
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
        report = {"model": name, **benchmark(model, options.repeats, options.parts)}
    except (OSError, ValueError) as error:
        print(f"seqpose_core.benchmark: {error}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    table = as_markdown(report)
    options.out.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    print(table)
    if find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed: pip install 'seqpose[report]'", file=sys.stderr)
    else:
        write_plot(report, options.out.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
