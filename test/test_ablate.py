# SPDX-License-Identifier: Apache-2.0
"""The ablation command: rows change the base, train, score, go on where they stopped, and become a table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from nocs_tree import write_tree
from tiny import tiny_config

from seqpose_core import config_io
from seqpose_core.metrics.report import COLUMNS
from train import ablation, published
from train.ablate import main
from train.ablation import AblationRow, AblationTable, Measurement, changed, shortened
from train.ablation_files import write_table
from train.config import DataConfig, OptimizerConfig, TrainConfig, load
from train.data.sampler import Stage

TABLES = sorted((Path(__file__).parents[1] / "config/ablate").glob("*.yaml"))
TRAIN = Path(__file__).parents[1] / "config/train"


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_every_row_of_every_table_is_a_valid_configuration(path: Path) -> None:
    table = config_io.load_yaml(AblationTable, path)
    base = load(TRAIN / ("small.yaml" if path.stem == "encoders" else "nano.yaml"))
    runs = [(row.frames, config_io.dump_yaml(changed(base, row.change))) for row in table.rows]
    assert len(set(runs)) == len(runs), "two rows are the same run"


def test_papers_rows_are_those_of_the_papers_tables() -> None:
    # The full model of Tables 2 and 3 is the multi-frame row of Table 1.
    full = next(row for row in published.ROWS[published.REAL275] if row.method == "SeqPose, multi frame")
    names = {"frames": "3 frames", "queries": "600 anchors", "heads": "full", "memory": "full", "encoders": "full"}
    for name, row_name in names.items():
        table = config_io.load_yaml(AblationTable, next(p for p in TABLES if p.stem == name))
        assert next(row for row in table.rows if row.name == row_name).paper == full.values


def test_a_row_changes_what_it_names_and_nothing_else() -> None:
    base = TrainConfig()
    other = changed(base, {"model": {"memory": {"frames": 5}}})
    assert other.model.memory.frames == 5
    assert changed(other, {"model": {"memory": {"frames": base.model.memory.frames}}}) == base


def test_a_row_with_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(config_io.ConfigError, match=r"memry.*did you mean 'memory'"):
        changed(TrainConfig(), {"model": {"memry": {"frames": 5}}})


def test_a_shorter_schedule_keeps_its_shape() -> None:
    config = TrainConfig(stages=(Stage(800, 2, 8), Stage(1000, 4, 4)), optimizer=OptimizerConfig(warmup_steps=100))
    short = shortened(config, 100)
    assert [s.until_step for s in short.stages] == [80, 100]
    assert short.optimizer.warmup_steps == 10 and short.val_every == 100
    assert [s.until_step for s in shortened(config, 1).stages] == [1]


def test_rows_are_trained_once_and_the_table_says_what_it_was_measured_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        write_tree(tmp_path / "data", split, clips=2, frames=2)
    base = TrainConfig(
        model=tiny_config(),
        data=DataConfig(root=str(tmp_path / "data"), label_size=(24, 32), workers=0),
        optimizer=OptimizerConfig(warmup_steps=1, ema=0.5),
        stages=(Stage(4, 1, 2),),
    )
    (tmp_path / "base.yaml").write_text(config_io.dump_yaml(base))
    without = {"name": "w/o memory", "change": {"model": {"memory": {"frames": 0}}}, "frames": "single"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"title": "Mine", "rows": [without, {"name": "full"}]}))
    out = tmp_path / "out"
    command = ["--table", str(tmp_path / "mine.yaml"), "--config", str(tmp_path / "base.yaml"), "--out", str(out)]
    command += ["--steps", "2", "--workers", "1"]
    main([*command, "--rows", "full"])
    monkeypatch.setattr(ablation, "export", _only_of("w-o-memory", ablation.export))
    main(command)  # "full" is not trained again
    lines = (out / "table.md").read_text().splitlines()
    assert lines[0] == "| Mine | IoU25 | IoU50 | IoU75 | 10cm | 10° | 10°10cm | 10°5cm | 5°5cm |"
    assert [line.split(" |")[0] for line in lines[2:4]] == ["| w/o memory", "| full"]
    assert "data, split val" in lines[-1] and "2 steps" in lines[-1]
    with (out / "table.csv").open() as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["w/o memory", "full"]
    assert (out / "plot.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(SystemExit, match="other settings"):
        main([*command, "--steps", "3"])
    with pytest.raises(SystemExit, match=r"no row 'ful'.*did you mean 'full'"):
        main([*command, "--rows", "ful"])


def _only_of(name: str, export):  # type: ignore[no-untyped-def]
    def checked(run: Path, out: Path) -> int:
        assert name in str(run), "a row that was measured is trained again"
        return int(export(run, out))

    return checked


def test_the_papers_figures_stand_beside_figures_on_real275_only(tmp_path: Path) -> None:
    row = AblationRow("full", paper=tuple(float(k) for k in range(8)))
    here = Measurement(dict.fromkeys(COLUMNS, 0.5), "synthetic renders, split val", 10)
    write_table(tmp_path, "Title", "oriented", [(row, [here])])
    assert "paper" not in (tmp_path / "table.md").read_text()
    write_table(tmp_path, "Title", "original", [(row, [Measurement(here.ap, "REAL275", 10)])])
    assert "| full (paper) | 0.0 | 1.0 | 2.0 | 3.0 |" in (tmp_path / "table.md").read_text()


def test_several_seeds_give_a_mean_and_its_spread(tmp_path: Path) -> None:
    runs = [Measurement(dict.fromkeys(COLUMNS, ap), "data", 10) for ap in (0.1, 0.2, 0.3)]
    write_table(tmp_path, "Title", "oriented", [(AblationRow("full"), runs)])
    assert "| full | 20.0 ± 10.0 |" in (tmp_path / "table.md").read_text()


def test_rows_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"twice: \['a b', 'a-b'\]"):
        AblationTable("Title", (AblationRow("a b"), AblationRow("a-b")))
