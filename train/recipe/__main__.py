# SPDX-License-Identifier: Apache-2.0
"""``python -m train.recipe``: train a checkpoint within a time budget: render, train, evaluate, write the model card.

    python -m train.recipe --hours 12 --out out/recipe
    python -m train.recipe --hours 0.5 --minutes 9 --workers 15 --until export --out out/recipe    # one GPU, 16 cores

Everything is in OUT; OUT/model is the checkpoint. ``python -m train.recipe --out OUT`` resumes. With ``--minutes``, a
call ends after that time with exit status 75 if the recipe is not complete, for machines with a time limit per job.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from seqpose_core.command_line import command_parser
from seqpose_core.config_io import ConfigError
from train.fit.config import load
from train.recipe import phases
from train.recipe.budget import CallTimeOverError, Progress, Recipe, stored_state
from train.recipe.card import write_card
from train.render.splits import BENCHMARKS

CONFIG = Path(__file__).parents[2] / "config/train/lite2.yaml"
UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h
PHASES: dict[str, Callable[[Progress, Path], None]] = {
    "render": phases.render,
    "train": phases.train,
    "export": phases.export,
    "evaluate": phases.evaluate,
}


def run_recipe(recipe: Recipe, out: Path, minutes: float | None = None, until: str = "evaluate") -> Path:
    """Run the remaining phases of a recipe up to ``until``; returns the folder of the checkpoint.

    :raises CallTimeOverError: the time of this call is used up. :raises ValueError: a command failed.
    """
    progress = Progress(out, recipe, minutes)
    for name, phase in PHASES.items():
        if name not in progress.state.done:
            print(f"\n{name}", flush=True)
            phase(progress, out)
        if name == until != "evaluate":
            return out / "model"
    print(f"\nwritten to {write_card(progress.state, out).parent}")
    return out / "model"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("--hours", type=float, help="time budget over all calls; required for a new recipe")
    parser.add_argument("--out", type=Path, required=True, help="folder of data, run, evaluation and checkpoint")
    parser.add_argument("--minutes", type=float, help="time of this call (default: no limit)")
    parser.add_argument("--until", choices=list(PHASES), default="evaluate", help="last phase (default: evaluate)")
    parser.add_argument("--config", type=Path, help="training configuration (default: config/train/lite2.yaml)")
    parser.add_argument("--clips", type=int, help="maximum number of training clips (default: 50000)")
    parser.add_argument("--frames", type=int, help="frames per clip (default: 4)")
    parser.add_argument("--workers", type=int, help="processes that render and evaluate (default: 1)")
    parser.add_argument("--batch", type=int, help="frames per training step (default: 8, on a GPU the configuration's)")
    parser.add_argument("--init", help="checkpoint to start from instead of the configuration's weights")
    parser.add_argument("--assets", type=Path, help="folder of HDR environments, written by train.render.assets")
    parser.add_argument("--benchmark", choices=sorted(BENCHMARKS), help="(default: seqpose-synth)")
    options = parser.parse_args(arguments)
    try:
        recipe = _recipe(options)
        options.out.mkdir(parents=True, exist_ok=True)
        run_recipe(recipe, options.out, options.minutes, options.until)
    except CallTimeOverError:
        print(f"the time of this call is over; the same command resumes from {options.out}")
        return UNFINISHED
    except (ConfigError, ValueError, OSError) as error:
        print(f"recipe: {error}", file=sys.stderr)
        return 1
    return 0


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe of OUT, or a new one, with the options that were given."""
    given = {
        "hours": options.hours,
        "config": options.config and str(options.config.resolve()),
        "max_clips": options.clips,
        "frames": options.frames,
        "workers": options.workers,
        "batch": options.batch,
        "init": options.init,
        "assets": options.assets and str(options.assets.resolve()),
        "benchmark": options.benchmark,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    stored = stored_state(options.out)
    if stored is not None:
        return replace(stored.recipe, **changes)
    if options.hours is None:
        raise ValueError(f"{options.out} holds no recipe; a new one needs --hours")
    changes.setdefault("config", str(CONFIG))
    if torch.cuda.is_available():
        first = load(changes["config"]).stages[0]
        changes.setdefault("batch", first.batch_clips * first.clip_length)
    return Recipe(**changes)


if __name__ == "__main__":
    sys.exit(main())
