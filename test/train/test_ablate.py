# SPDX-License-Identifier: Apache-2.0
"""Ablation tables: the configurations of their rows, and the files written from their results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from seqpose_core import config_io
from seqpose_core.metrics.ap_report import COLUMNS
from train.ablate.row import RowResult
from train.ablate.table import (
    AblationRow,
    AblationTable,
    check_rows_differ,
    row_config,
    rows_on_base,
    shorten_schedule,
    with_changes,
)
from train.ablate.table_files import write_table
from train.data.nocs_sets import Labels
from train.data.sampler import Stage
from train.evaluate import paper_results
from train.fit.config import OptimizerConfig, SetConfig, TrainConfig, load

TABLES = sorted((Path(__file__).parents[2] / "config/ablate").glob("*.yaml"))
TRAIN = Path(__file__).parents[2] / "config/train"


#: Every base with every table it supports: "encoders" for bases of a named size of DINOv2, "encoders-nano" for nano.
OF_DINOV2 = ("small", "small-fast", "base", "paper", "real275", "real275-sf", "camera25")
CASES = [
    (base.stem, path.stem)
    for base in sorted(TRAIN.glob("*.yaml"))
    if base.stem != "new_category"  # it continues from a checkpoint, whose network cannot change
    for path in TABLES
    if {"encoders": base.stem in OF_DINOV2, "encoders-nano": base.stem == "nano"}.get(path.stem, True)
    if (base.stem, path.stem) != ("small-fast", "speed")  # this base has the switches of the table
]
PAPERS = ("paper", "real275", "real275-sf", "camera25")  # bases with the paper's network, criterion and recipe
#: Rows that are left out because they have no effect, by table and base.
LEFT_OUT = {
    **{("heads", base): ["w/o NOCS Pred."] for base in ("small", "small-fast", "base", "paper-nano", *PAPERS)},
    **{
        ("switches", base): ["direct position", "one rotation mode"]
        for base in ("small", "small-fast", "base", "paper-nano", *PAPERS)
    },
    ("switches", "nano"): ["one rotation mode"],
    **{("switches", base): ["six rotation modes"] for base in ("lite", "lite2", "lite-ablation")},
    # The criterion of all networks but the paper's has scale-aware terms by default.
    **{("recipe", base): ["scale-aware position and size"] for base in ("nano", "base")},
    **{
        ("recipe", base): ["yaw of hidden handles trained", "scale-aware position and size"]
        for base in ("lite", "lite2")
    },
    # Blocks of a frozen backbone have no learning rates.
    ("recipe", "paper"): ["no averaged weights", "layer-wise rates, 0.8", "rotation weight 10"],
    # Labels of the training splits of NOCS do not mark hidden handles.
    **{
        ("recipe", base): [
            "no averaged weights",
            "layer-wise rates, 0.8",
            "yaw of hidden handles trained",
            "rotation weight 10",
        ]
        for base in ("real275", "real275-sf", "camera25")
    },
    ("recipe", "paper-nano"): ["no averaged weights", "rotation weight 10"],
    **{
        ("recipe", base): ["layer-wise rates, 0.8", "scale-aware position and size"]
        for base in ("small", "small-fast", "lite-ablation")
    },
    # Batches of single frames have no gradient from frame to frame; lite2 has it by default.
    **{("memory", base): ["gradient through the window"] for base in ("paper", "lite2", *PAPERS)},
}
#: Bases that are trained on single frames only cannot show the effect of the memory.
REFUSED = [(table, base) for table in ("frames", "memory") for base in ("real275-sf", "camera25")]


def load_table(name: str) -> AblationTable:
    return config_io.load_yaml(AblationTable, next(p for p in TABLES if p.stem == name))


@pytest.mark.parametrize(("base", "name"), CASES)
def test_rows_of_every_table_are_different_runs_on_every_base(base: str, name: str) -> None:
    table, config = load_table(name), load(TRAIN / f"{base}.yaml")
    rows = rows_on_base(table.rows, config)
    assert [row.name for row in table.rows if row not in rows] == LEFT_OUT.get((name, base), [])
    configs = [row_config(config, row) for row in rows]
    if (name, base) not in REFUSED:
        check_rows_differ(rows, configs)
        return
    with pytest.raises(ValueError, match="are the same run; leave out all but one: --rows") as refused:
        check_rows_differ(rows, configs)
    assert repr("w/o STSQ Memory" if name == "memory" else "0 frames") in str(refused.value)


@pytest.mark.parametrize(("base", "name"), [case for case in CASES if case[::-1] not in REFUSED])
def test_rows_differ_from_the_base_in_the_settings_they_name_only(base: str, name: str) -> None:
    table, config = load_table(name), load(TRAIN / f"{base}.yaml")
    before = leaves(config_io.to_dict(config))
    unchanged = []
    for row in rows_on_base(table.rows, config):
        after = leaves(config_io.to_dict(row_config(config, row)))
        different = {key for key in before | after if before.get(key) != after.get(key)}
        named = set(leaves(row.change or {})) | set(leaves(row.scale or {}))
        if row.single_frames:
            named.add("stages")
        if row.match_by_loss_weights:
            named |= {key for key in before if key.startswith("criterion.matching.")}
        assert different <= named, row.name
        if not different:
            unchanged.append(row.name)
    assert len(unchanged) <= 1, "only one row can be the base itself"


def leaves(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Values of a nested mapping by their dotted keys; lists are one value."""
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_encoder_rows_start_from_weights_of_their_own_kind() -> None:
    table = load_table("encoders")
    for base, size in (("real275", "small"), ("base", "base")):
        config = load(TRAIN / f"{base}.yaml")
        weights = {row.name: row_config(config, row).model.encoder.pretrained for row in table.rows}
        assert weights == {
            "EVAViT encoder (EVA-02)": f"timm/eva02_{size}_patch14_224.mim_in22k",
            "ViTDet from random weights": None,
            "DINOv2 encoder": f"facebook/dinov2-{size}",
            "full": config.model.encoder.pretrained,
        }
    with pytest.raises(config_io.ConfigError, match=r"dinov2-\{size\}'?, but this base has no encoder.size"):
        row_config(load(TRAIN / "paper-nano.yaml"), table.rows[2])


def test_matching_by_the_loss_weights_copies_them() -> None:
    row = next(row for row in load_table("recipe").rows if row.match_by_loss_weights)
    paper = row_config(load(TRAIN / "real275.yaml"), row).criterion.matching
    assert (paper.classification, paper.position, paper.rotation, paper.size) == (1.0, 1.0, 10.0, 1.0)
    assert (paper.centre, paper.log_depth, paper.log_size) == (0.0, 0.0, 0.0)
    nano = row_config(load(TRAIN / "nano.yaml"), row).criterion.matching
    assert (nano.classification, nano.centre, nano.log_depth, nano.rotation) == (2.0, 10.0, 5.0, 4.0)


@pytest.mark.parametrize(
    ("split", "labels", "effect"),
    [
        ("train", "gts", True),
        ("real_test", "relabelled", True),
        ("real_train", "relabelled", False),  # every handle counts as visible
        ("real_train", "aligned", False),
        ("real_test", "aligned", False),
    ],
)
def test_yaw_of_hidden_handles_has_an_effect_where_labels_mark_them(split: str, labels: Labels, effect: bool) -> None:
    rows = [row for row in load_table("recipe").rows if row.name in ("yaw of hidden handles trained", "default")]
    base = load(TRAIN / "nano.yaml")
    base = replace(base, data=replace(base.data, train=(SetConfig(split, labels=labels),)))
    assert len(rows_on_base(rows, base)) == (2 if effect else 1)


@pytest.mark.parametrize(("base", "rate"), [("nano", 5e-4), ("small", 2e-4), ("paper", 2e-4)])
def test_half_the_learning_rate_is_half_of_the_bases_rate(base: str, rate: float) -> None:
    table = load_table("recipe")
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
        rows = load_table(table).rows
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
        table = load_table(name)
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


@pytest.mark.parametrize("iou", ["original", "oriented"])
def test_the_papers_figures_are_given_with_their_kind_of_iou(tmp_path: Path, iou: str) -> None:
    # docs/metrics.md: the same predictions differ by tens of points between kinds; the paper's is the original one.
    row = AblationRow("full", paper=tuple(float(k) for k in range(8)))
    write_table(tmp_path, "Title", iou, [(row, [RowResult(dict.fromkeys(COLUMNS, 0.5), "REAL275", 10)])])
    text = (tmp_path / "table.md").read_text()
    assert f"IoU kind {iou}, measured on REAL275" in text and "Rows of the paper have IoU kind original?." in text
    assert ("They cannot be compared with kind oriented: use --iou original." in text) == (iou == "oriented")


def test_several_seeds_give_mean_and_standard_deviation(tmp_path: Path) -> None:
    runs = [RowResult(dict.fromkeys(COLUMNS, ap), "data", 10) for ap in (0.1, 0.2, 0.3)]
    write_table(tmp_path, "Title", "oriented", [(AblationRow("full"), runs)])
    assert "| full | 20.0 ± 10.0 |" in (tmp_path / "table.md").read_text()


def test_rows_with_equal_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"repeated: \['a b', 'a-b'\]"):
        AblationTable("Title", (AblationRow("a b"), AblationRow("a-b")))
