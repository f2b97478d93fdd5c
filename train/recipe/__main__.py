# SPDX-License-Identifier: Apache-2.0
"""``python -m train.recipe``: train a checkpoint within a time budget: render, train, evaluate, write the model card.

    python -m train.recipe --hours 12 --out out/recipe
    python -m train.recipe --hours 2 --minutes 9 --workers 16 --batch 32 --out out/recipe

Everything is in OUT; OUT/model is the checkpoint. The same command resumes. With ``--minutes``, a call ends after that
time with exit status 75 if the recipe is not complete, for machines with a time limit per job.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from seqpose_core.config_io import ConfigError
from train.recipe import phases
from train.recipe.budget import CallTimeOverError, Ledger, Recipe
from train.recipe.card import write_card
from train.render.splits import BENCHMARKS

CONFIG = Path(__file__).parents[2] / "config/train/lite.yaml"
UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h
PHASES: dict[str, Callable[[Ledger, Path], None]] = {
    "render": phases.render,
    "train": phases.train,
    "export": phases.export,
    "evaluate": phases.evaluate,
}


def run_recipe(recipe: Recipe, out: Path, minutes: float | None = None) -> Path:
    """Run the remaining phases of a recipe; returns the folder of the checkpoint.

    :raises CallTimeOverError: the time of this call is used up. :raises ValueError: a command failed.
    """
    ledger = Ledger(out, recipe, minutes)
    for name, phase in PHASES.items():
        if name not in ledger.state.done:
            print(f"\n{name}", flush=True)
            phase(ledger, out)
    print(f"\nwritten to {write_card(ledger.state, out).parent}")
    return out / "model"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m train.recipe", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--hours", type=float, required=True, help="time budget over all calls")
    parser.add_argument("--out", type=Path, required=True, help="folder of data, run, evaluation and checkpoint")
    parser.add_argument("--minutes", type=float, help="time of this call (default: no limit)")
    parser.add_argument("--config", type=Path, default=CONFIG, help="training configuration (default: %(default)s)")
    parser.add_argument(
        "--clips", type=int, default=25_000, help="maximum number of training clips (default: %(default)s)"
    )
    parser.add_argument("--frames", type=int, default=4, help="frames per clip (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render and evaluate (default: 1)")
    parser.add_argument("--batch", type=int, default=8, help="frames per training step (default: %(default)s)")
    parser.add_argument("--init", help="checkpoint to start from instead of the configuration's weights")
    parser.add_argument("--assets", type=Path, help="folder of HDR environments, written by train.render.assets")
    parser.add_argument("--benchmark", choices=sorted(BENCHMARKS), default="seqpose-synth")
    options = parser.parse_args(arguments)
    assets = None if options.assets is None else str(options.assets.resolve())
    try:
        recipe = Recipe(
            options.hours,
            str(options.config.resolve()),
            max_clips=options.clips,
            frames=options.frames,
            workers=options.workers,
            batch=options.batch,
            init=options.init,
            assets=assets,
            benchmark=options.benchmark,
        )
        options.out.mkdir(parents=True, exist_ok=True)
        run_recipe(recipe, options.out, options.minutes)
    except CallTimeOverError:
        print(f"the time of this call is over; the same command resumes from {options.out}")
        return UNFINISHED
    except (ConfigError, ValueError, OSError) as error:
        print(f"recipe: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
