# SPDX-License-Identifier: Apache-2.0
"""``python -m train.render``: render clips of table-top scenes in the NOCS layout.

    python -m train.render --split train --clips 1000 --seed 0 --out out/data
    python -m train.render --benchmark seqpose-synth --out out/seqpose-synth

A clip is a pure function of (split, seed, clip index, frames, size, fps, assets): rendering can be interrupted, resumed
and distributed over any number of worker processes. Splits of different pools share no shape, texture or environment.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from seqpose_core.command_line import command_parser
from train.render.clips import RenderJob, render
from train.render.splits import BENCHMARKS, SPLITS


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(value) for value in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"size is {text!r}, expected WIDTHxHEIGHT such as 256x192") from None
    if min(width, height) < 16:
        raise argparse.ArgumentTypeError(f"size is {text!r}, expected at least 16x16")
    return width, height


def main(arguments: list[str] | None = None) -> None:
    parser = command_parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--split", choices=sorted(SPLITS))
    what.add_argument(
        "--benchmark", choices=sorted(BENCHMARKS), help="render all splits of a benchmark with its fixed seeds"
    )
    parser.add_argument("--clips", type=int, help="number of clips of the split")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="root folder of the data set")
    parser.add_argument("--frames", type=int, default=4, help="frames per clip")
    parser.add_argument("--size", type=_size, help="WIDTHxHEIGHT (default 224x168; 256x192 for a benchmark)")
    parser.add_argument("--fps", type=float, help="fixed frame rate; otherwise 0.1 to 0.5 s between frames")
    parser.add_argument("--assets", type=Path, help="folder of HDR environments, written by train.render.assets")
    parser.add_argument("--workers", type=int, default=2, help="worker processes, each on one core")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    if options.benchmark:
        width, height = options.size or (256, 192)
        for part in BENCHMARKS[options.benchmark]:
            job = RenderJob(part.split, part.seed, options.out, part.frames, width, height, part.fps, options.assets)
            render(job, part.clips, options.workers)
        return
    if options.clips is None:
        parser.error("--split needs --clips")
    if options.clips < 1 or options.frames < 1:
        parser.error("--clips and --frames must be at least 1")
    if options.fps is not None and options.fps <= 0:
        parser.error(f"--fps is {options.fps}; it must be positive")
    width, height = options.size or (224, 168)
    job = RenderJob(
        options.split, options.seed, options.out, options.frames, width, height, options.fps, options.assets
    )
    render(job, options.clips, options.workers)


if __name__ == "__main__":
    main()
