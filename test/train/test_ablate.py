# SPDX-License-Identifier: Apache-2.0
"""Ablation tables: the configurations of their rows, and the files written from their results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seqpose_core import config_io
from seqpose_core.metrics.ap_report import COLUMNS
from train.ablate.row import RowResult
from train.ablate.table import AblationRow, AblationTable, check_rows_differ, row_config, shorten_schedule, with_changes
from train.ablate.table_files import write_table
from train.data.sampler import Stage
from train.evaluate import paper_results
from train.fit.config import OptimizerConfig, TrainConfig, load

TABLES = sorted((Path(__file__).parents[2] / "config/ablate").glob("*.yaml"))
TRAIN = Path(__file__).parents[2] / "config/train"


#: Every base with every table it supports: "encoders" for bases on DINOv2, "encoders-nano" for nano.
CASES = [
    (base.stem, path.stem)
    for base in sorted(TRAIN.glob("*.yaml"))
    for path in TABLES
    if path.stem not in ("encoders", "encoders-nano")
    or ((path.stem == "encoders-nano") == (base.stem == "nano") and not base.stem.startswith("lite"))
]
PAPERS = ("paper", "real275", "real275-sf", "camera25")  # bases with the paper's network, criterion and recipe
#: Rows that change nothing that has an effect, by table and base.
EQUAL_ROWS = {
    **{("heads", base): ["w/o NOCS Pred.", "full"] for base in ("small", "base", *PAPERS)},
    **{("switches", base): ["direct position", "one rotation mode", "default"] for base in ("small", "base", *PAPERS)},
    ("switches", "nano"): ["one rotation mode", "default"],
    **{("switches", base): ["six rotation modes", "default"] for base in ("lite", "lite2", "lite-ablation")},
    **{("recipe", base): ["yaw of hidden handles trained", "default"] for base in ("lite", "lite2")},
    # Blocks of a frozen backbone have no learning rates.
    **{
        ("recipe", base): ["no averaged weights", "layer-wise rates, 0.8", "rotation weight 10", "default"]
        for base in PAPERS
    },
    ("recipe", "lite-ablation"): ["layer-wise rates, 0.8", "default"],
    ("recipe", "small"): ["layer-wise rates, 0.8", "default"],
    # Batches of single frames have no gradient from frame to frame.
    **{("memory", base): ["gradient through the window", "full"] for base in ("paper", "real275", "lite2")},
    # Without a memory, resetting it between frames has no effect either.
    **{
        ("memory", base): ["w/o STSQ Memory", "gradient through the window", "full"]
        for base in ("real275-sf", "camera25")
    },
}


@pytest.mark.parametrize(("base", "name"), CASES)
def test_rows_of_every_table_differ_on_every_base_or_are_refused(base: str, name: str) -> None:
    table = config_io.load_yaml(AblationTable, next(p for p in TABLES if p.stem == name))
    config = load(TRAIN / f"{base}.yaml")
    rows = list(table.rows)
    equal = EQUAL_ROWS.get((name, base), [])
    if equal:
        with pytest.raises(ValueError, match="same run; leave out all but one: --rows") as refused:
            check_rows_differ(rows, [row_config(config, row) for row in rows])
        assert " and ".join(map(repr, equal)) in str(refused.value)
        rows = [row for row in rows if row.name not in equal[:-1]]
        assert str(refused.value).endswith("--rows " + " ".join(row.slug for row in rows))
    check_rows_differ(rows, [row_config(config, row) for row in rows])


@pytest.mark.parametrize(("base", "rate"), [("nano", 5e-4), ("small", 2e-4), ("paper", 2e-4)])
def test_half_the_learning_rate_is_half_of_the_bases_rate(base: str, rate: float) -> None:
    table = config_io.load_yaml(AblationTable, next(p for p in TABLES if p.stem == "recipe"))
    row = next(row for row in table.rows if row.name == "half the learning rate")
    config = load(TRAIN / f"{base}.yaml")
    half = row_config(config, row)
    assert half.optimizer.learning_rate == rate
    assert replace(half, optimizer=replace(half.optimizer, learning_rate=2 * rate)) == config


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"optimizer": {"lerning_rate": 0.5}}, r"'optimizer\.lerning_rate'; did you mean 'learning_rate'"),
        ({"optimizer": {"warmup_steps": 0.5}}, "warmup_steps is 300 and its scale 0.5; only real numbers"),
        ({"optimizer": 0.5}, "optimizer is .* and its scale 0.5; only real numbers"),
        ({"optimizer": {"learning_rate": "half"}}, "learning_rate is 0.001 and its scale 'half'; only real numbers"),
    ],
)
def test_scale_of_anything_but_a_float_is_refused(scale: dict[str, object], message: str) -> None:
    with pytest.raises(config_io.ConfigError, match=message):
        row_config(TrainConfig(), AblationRow("scaled", scale=scale))


@pytest.mark.parametrize("name", ["real275", "nano"])
def test_rows_without_memory_train_on_shuffled_single_frames(name: str) -> None:
    base = load(TRAIN / f"{name}.yaml")
    for table, row_name in (("frames", "0 frames"), ("memory", "w/o STSQ Memory")):
        rows = config_io.load_yaml(AblationTable, next(p for p in TABLES if p.stem == table)).rows
        config = row_config(base, next(row for row in rows if row.name == row_name))
        assert config.model.memory.frames == 0
        for stage, original in zip(config.stages, base.stages, strict=True):
            assert stage.clip_length == 1 and not stage.streaming
            assert stage.batch_clips == original.batch_clips * original.clip_length
            assert (stage.until_step, stage.epochs) == (original.until_step, original.epochs)
    if name == "real275":
        assert config.stages == load(TRAIN / "real275-sf.yaml").stages


def test_full_rows_have_the_papers_figures() -> None:
    # The full model of Tables 2 and 3 is the multi-frame row of Table 1.
    full = next(row for row in paper_results.ROWS[paper_results.REAL275] if row.method == "SeqPose, multi frame")
    names = {"frames": "3 frames", "queries": "600 anchors", "heads": "full", "memory": "full", "encoders": "full"}
    for name, row_name in names.items():
        table = config_io.load_yaml(AblationTable, next(p for p in TABLES if p.stem == name))
        assert next(row for row in table.rows if row.name == row_name).paper == full.values


def test_a_row_changes_what_it_names_and_nothing_else() -> None:
    base = TrainConfig()
    other = with_changes(base, {"model": {"memory": {"frames": 5}}})
    assert other.model.memory.frames == 5
    assert with_changes(other, {"model": {"memory": {"frames": base.model.memory.frames}}}) == base


def test_a_row_with_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(config_io.ConfigError, match=r"memry.*did you mean 'memory'"):
        with_changes(TrainConfig(), {"model": {"memry": {"frames": 5}}})


def test_a_shortened_schedule_keeps_its_proportions() -> None:
    config = TrainConfig(stages=(Stage(800, 2, 8), Stage(1000, 4, 4)), optimizer=OptimizerConfig(warmup_steps=100))
    short = shorten_schedule(config, 100)
    assert [s.until_step for s in short.stages] == [80, 100]
    assert short.optimizer.warmup_steps == 10 and short.val_every == 100
    assert [s.until_step for s in shorten_schedule(config, 1).stages] == [1]


def test_the_papers_figures_are_shown_for_real275_only(tmp_path: Path) -> None:
    row = AblationRow("full", paper=tuple(float(k) for k in range(8)))
    here = RowResult(dict.fromkeys(COLUMNS, 0.5), "synthetic renders, split val", 10)
    write_table(tmp_path, "Title", "oriented", [(row, [here])])
    assert "paper" not in (tmp_path / "table.md").read_text()
    write_table(tmp_path, "Title", "original", [(row, [RowResult(here.ap, "REAL275", 10)])])
    assert "| full (paper) | 0.0 | 1.0 | 2.0 | 3.0 |" in (tmp_path / "table.md").read_text()


def test_several_seeds_give_mean_and_standard_deviation(tmp_path: Path) -> None:
    runs = [RowResult(dict.fromkeys(COLUMNS, ap), "data", 10) for ap in (0.1, 0.2, 0.3)]
    write_table(tmp_path, "Title", "oriented", [(AblationRow("full"), runs)])
    assert "| full | 20.0 ± 10.0 |" in (tmp_path / "table.md").read_text()


def test_rows_with_equal_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"repeated: \['a b', 'a-b'\]"):
        AblationTable("Title", (AblationRow("a b"), AblationRow("a-b")))
