# SPDX-License-Identifier: Apache-2.0
"""``python -m train.ablate``: train the rows of a table, score them and write table.csv, table.md and plot.png.

    python -m train.ablate --table frames --config config/train/lite.yaml --data out/data --steps 1000

A table is the name of a file in config/ablate, or a path. Run the command again with the same ``--out`` to resume:
finished rows are read, a started row resumes from its last checkpoint. The files are rewritten after each row. With
another ``--split`` or ``--iou`` trained rows are scored again, not trained again.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seqpose_core import config_io
from seqpose_core.command_line import command_parser
from seqpose_core.metrics.iou import IOU_KINDS, IouKind
from train.ablate.row import RowResult, Scoring, train_and_score
from train.ablate.table import (
    AblationRow,
    AblationTable,
    check_rows_differ,
    row_config,
    rows_on_base,
    shorten_schedule,
    slug,
    with_changes,
)
from train.ablate.table_files import write_table
from train.command_line import check_at_least_one
from train.fit.batches import stages_in_steps
from train.fit.config import ComputeConfig, TrainConfig, load
from train.fit.distributed import process_layout

_TABLES = Path(__file__).parents[2] / "config/ablate"


@dataclass(frozen=True)
class AblateOptions:
    """Options of the command.

    :param rows: names or slugs of the rows to train; empty = all.
    :param data, split, devices: override the configuration; None = keep it.
    :param steps: shorten the schedule to this number of steps; None = keep it.
    :param workers: processes that predict; None = one per core, on a GPU one.
    """

    table: str
    config: Path
    out: Path
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    data: Path | None
    split: str | None
    steps: int | None
    devices: int | None
    iou: IouKind
    workers: int | None
    download: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; invalid input ends it with one message."""
    options = _parse(arguments)
    try:
        ablate(options)
    except (ValueError, OSError) as error:
        sys.exit(f"ablate: {error}")


def ablate(options: AblateOptions) -> None:
    """Train and score the rows, and write the table after each of them.

    :raises ValueError: for an unknown table or row, equal rows, or a configuration that cannot be trained.
    :raises FileNotFoundError: if a data set is missing.
    """
    table = config_io.load_yaml(AblationTable, _table_path(options.table))
    base = _base_config(options)
    rows = _select_rows(table, options, base)
    # All rows are checked before the first is trained, so that no error appears after hours of training.
    _check_single_process(base)
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
    torch.set_num_threads(1)  # as in train.evaluate: results must not depend on the number of cores
    results: list[tuple[AblationRow, list[RowResult]]] = []
    for row, seeds, scoring in zip(rows, runs, scorings, strict=True):
        print(f"\n{table.title}: {row.name}", flush=True)
        folders = [options.out / row.slug / f"seed-{config.seed}" for config in seeds]
        of_seeds = [
            train_and_score(config, folder, scoring, options.workers, options.download)
            for config, folder in zip(seeds, folders, strict=True)
        ]
        results.append((row, of_seeds))
        write_table(options.out, table.title, options.iou, results)
    print((options.out / "table.md").read_text(encoding="utf-8"))
    print(f"written to {options.out}: table.csv, table.md, plot.png")


def _select_rows(table: AblationTable, options: AblateOptions, base: TrainConfig) -> list[AblationRow]:
    """The rows named by --rows; by default all that are not left out on this base, which are printed."""
    if not options.rows:
        rows = rows_on_base(table.rows, base)
        for row in table.rows:
            if row not in rows:
                print(f"{table.title}: {row.name!r} is the same run as {table.rows[-1].name!r} here; left out")
        return rows
    rows = [row for row in table.rows if row.slug in map(slug, options.rows)]
    unknown = sorted(name for name in options.rows if slug(name) not in {row.slug for row in rows})
    if unknown:
        known = (row.slug for row in table.rows)
        raise ValueError(f"no row {unknown[0]!r} in {options.table}; {config_io.nearest(unknown[0], known)}")
    return rows


def _base_config(options: AblateOptions) -> TrainConfig:
    base = load(options.config)
    if options.data:
        base = with_changes(base, {"data": {"root": str(options.data)}})
    if options.devices:
        base = with_changes(base, {"compute": {"devices": options.devices}})
    return base


def _check_single_process(config: TrainConfig) -> None:
    """:raises ValueError: if this is one of several processes, or if a row would be trained on several machines."""
    devices, nodes = process_layout(ComputeConfig())  # (1, 1) unless torchrun or SLURM started this process
    if devices * nodes > 1:
        raise ValueError(
            f"torchrun or SLURM started this as one of {devices * nodes} processes; start it as a single process, "
            "which starts compute.devices processes to train a row"
        )
    if config.compute.num_nodes > 1:
        raise ValueError(f"compute.num_nodes is {config.compute.num_nodes}; rows train on this machine, it must be 1")


def _table_path(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    shipped = _TABLES / f"{name}.yaml"
    if not shipped.is_file():
        raise ValueError(f"no table {name!r}; {config_io.nearest(name, (p.stem for p in _TABLES.glob('*.yaml')))}")
    return shipped


def _parse(arguments: Sequence[str] | None) -> AblateOptions:
    parser = command_parser(__doc__)
    parser.add_argument("--table", required=True, help="name of a table in config/ablate, or path of a table file")
    parser.add_argument("--config", type=Path, required=True, help="training configuration that the rows change")
    parser.add_argument("--data", type=Path, help="folder in the NOCS layout; overrides data.root")
    parser.add_argument("--split", help="split that rows are scored on (default: the first validation set)")
    parser.add_argument("--steps", type=int, help="shorten the schedule to this number of steps")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only the rows with these names")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="train each row with each seed (default: 0)")
    parser.add_argument("--devices", type=int, help="training processes of a row; overrides compute.devices")
    parser.add_argument(
        "--iou", choices=IOU_KINDS, default="oriented", help="default: %(default)s (missed objects count)"
    )
    parser.add_argument("--workers", type=int, help="processes that predict (default: one per core, on a GPU one)")
    parser.add_argument(
        "--download", action="store_true", help="download encoder.pretrained from the hub if it is not cached"
    )
    parser.add_argument("--out", type=Path, help="default: out/ablate/<table>")
    parsed = parser.parse_args(arguments)
    check_at_least_one(parser, parsed, "steps", "devices")
    if len(set(parsed.seeds)) < len(parsed.seeds):
        parser.error(f"--seeds names one twice: {' '.join(map(str, parsed.seeds))}")
    parsed.out = parsed.out or Path("out/ablate") / Path(parsed.table).stem
    parsed.rows, parsed.seeds = tuple(parsed.rows), tuple(parsed.seeds)
    return AblateOptions(**vars(parsed))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ablate: terminated"))  # stops the training process as well
    main()
