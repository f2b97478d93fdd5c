# SPDX-License-Identifier: Apache-2.0
"""``python -m train.ablate``: train the rows of a table, score them and write table.csv, table.md and plot.png.

    python -m train.ablate --table frames --config config/train/nano.yaml --data out/data --steps 1000

A table is a file of config/ablate or one of your own. Run it again with the same ``--out`` to go on, row by row and
within a row from its last checkpoint; the files are written anew after each row. With another ``--split`` or ``--iou``
what is trained is scored again.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from seqpose_core import config_io
from seqpose_core.metrics.iou import IOU_KINDS
from train.ablate.row import RowResult, Scoring, train_and_score
from train.ablate.table import AblationRow, AblationTable, check_rows_differ, row_config, shorten_schedule, with_changes
from train.ablate.table_files import write_table
from train.fit.batches import stages_in_steps
from train.fit.config import ComputeConfig, TrainConfig, load
from train.fit.distributed import process_layout

_TABLES = Path(__file__).parents[2] / "config/ablate"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a refused input ends it with its message."""
    options = _parse(arguments)
    try:
        _ablate(options)
    except (ValueError, OSError) as error:
        sys.exit(f"ablate: {error}")


def _ablate(options: argparse.Namespace) -> None:
    table = config_io.load_yaml(AblationTable, _table_path(options.table))
    rows = [row for row in table.rows if not options.rows or row.slug in options.rows]
    unknown = sorted(set(options.rows) - {row.slug for row in rows})
    if unknown:
        known = (row.slug for row in table.rows)
        raise ValueError(f"no row {unknown[0]!r} in {options.table}; {config_io.nearest(unknown[0], known)}")
    base = load(options.config)
    if options.data:
        base = with_changes(base, {"data": {"root": str(options.data)}})
    # Whatever can be refused is refused before the first row is trained: at once, not after a night.
    _refuse_several(base)
    configs = [row_config(base, row) for row in rows]
    check_rows_differ(rows, configs)
    if options.steps:
        configs = [shorten_schedule(stages_in_steps(config), options.steps) for config in configs]
    runs = [[replace(config, seed=seed) for seed in options.seeds] for config in configs]
    scorings = [
        Scoring.from_row(row, config, options.split, options.iou) for row, config in zip(rows, configs, strict=True)
    ]
    for scoring in scorings:
        scoring.open()
    torch.set_num_threads(1)  # as train.evaluate: a result must not depend on the number of cores
    measured: list[tuple[AblationRow, list[RowResult]]] = []
    for row, seeds, scoring in zip(rows, runs, scorings, strict=True):
        print(f"\n{table.title}: {row.name}", flush=True)
        folders = [options.out / row.slug / f"seed-{config.seed}" for config in seeds]
        results = [
            train_and_score(config, folder, scoring, options.workers, options.download)
            for config, folder in zip(seeds, folders, strict=True)
        ]
        measured.append((row, results))
        write_table(options.out, table.title, options.iou, measured)
    print((options.out / "table.md").read_text(encoding="utf-8"))
    print(f"written to {options.out}: table.csv, table.md, plot.png")


def _refuse_several(config: TrainConfig) -> None:
    """:raises ValueError: if this is one of several processes, or a row is to be trained on several machines."""
    devices, nodes = process_layout(ComputeConfig())  # one, unless torchrun or SLURM say otherwise
    if devices * nodes > 1:
        raise ValueError(
            f"torchrun or SLURM started this as one of {devices * nodes} processes; start one alone, which starts "
            "compute.devices processes itself to train a row"
        )
    if config.compute.num_nodes > 1:
        raise ValueError(f"compute.num_nodes is {config.compute.num_nodes}; rows train on this machine, it must be 1")


def _table_path(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    named = _TABLES / f"{name}.yaml"
    if not named.is_file():
        raise ValueError(f"no table {name!r}; {config_io.nearest(name, (p.stem for p in _TABLES.glob('*.yaml')))}")
    return named


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train.ablate", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--table", required=True, help="name of a file in config/ablate, or a file")
    parser.add_argument("--config", type=Path, required=True, help="training configuration that the rows change")
    parser.add_argument("--data", type=Path, help="folder in the NOCS layout, in place of the configuration's")
    parser.add_argument("--split", help="split that rows are scored on (default: the first they validate on)")
    parser.add_argument("--steps", type=int, help="draw the schedule together to so many steps")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these rows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="train each row so often (default: 0)")
    parser.add_argument("--iou", choices=IOU_KINDS, default="oriented", help="default: %(default)s, misses count")
    parser.add_argument("--workers", type=int, help="processes that predict (default: a core each, on a GPU one)")
    parser.add_argument("--download", action="store_true", help="fetch encoder.pretrained from the hub if need be")
    parser.add_argument("--out", type=Path, help="default: out/ablate/<table>")
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps is {options.steps}; it must be at least 1")
    if len(set(options.seeds)) < len(options.seeds):
        parser.error(f"--seeds names one twice: {' '.join(map(str, options.seeds))}")
    options.out = options.out or Path("out/ablate") / Path(options.table).stem
    return options


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ablate: terminated"))  # ends the training as well
    main()
