# SPDX-License-Identifier: Apache-2.0
"""``python -m train.render``: render clips of table-top scenes in the NOCS layout.

    python -m train.render --split train --clips 1000 --seed 0 --out out/data

A clip is a pure function of (split, seed, clip index, frames, size, fps): the work may be stopped, resumed
and spread over any number of workers. The splits share neither shapes nor textures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from train.render.clips import RenderJob, render
from train.render.textures import LAYERS


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(value) for value in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"size is {text!r}, expected WIDTHxHEIGHT such as 224x168") from None
    if min(width, height) < 16:
        raise argparse.ArgumentTypeError(f"size is {text!r}, expected at least 16x16")
    return width, height


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.render", description=__doc__.split("\n\n")[0])
    parser.add_argument("--split", choices=sorted(LAYERS), required=True)
    parser.add_argument("--clips", type=int, required=True, help="number of clips")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="root folder of the data set")
    parser.add_argument("--frames", type=int, default=4, help="frames a clip")
    parser.add_argument("--size", type=_size, default=(224, 168), help="WIDTHxHEIGHT")
    parser.add_argument("--fps", type=float, help="fixed frame rate; otherwise 0.1 to 0.5 s between frames")
    parser.add_argument("--workers", type=int, default=2, help="processes, one core each")
    options = parser.parse_args(arguments)
    if options.clips < 1 or options.frames < 1 or options.workers < 1:
        parser.error("--clips, --frames and --workers must be at least 1")
    if options.fps is not None and options.fps <= 0:
        parser.error(f"--fps is {options.fps}, expected more than 0")
    width, height = options.size
    job = RenderJob(options.split, options.seed, options.out, options.frames, width, height, options.fps)
    render(job, options.clips, options.workers)


if __name__ == "__main__":
    # Spawned workers do not import a package's __main__: the pool's functions are pickled by their full name.
    from train.render.__main__ import main as run

    run()
