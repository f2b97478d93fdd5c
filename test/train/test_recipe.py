# SPDX-License-Identifier: Apache-2.0
"""The recipe: one command trains a checkpoint with a model card, over any number of calls."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import tiny_config

from seqpose_core import checkpoint, config_io
from train.fit.config import ComputeConfig, DataConfig, OptimizerConfig, TrainConfig
from train.recipe.__main__ import UNFINISHED, main
from train.recipe.budget import CallTimeOverError, Progress, Recipe
from train.recipe.card import split_section
from train.recipe.phases import stages_within


def write_config(folder: Path) -> Path:
    config = TrainConfig(
        model=tiny_config(),
        data=DataConfig(label_size=(24, 32), workers=0),
        optimizer=OptimizerConfig(warmup_steps=2),
        compute=ComputeConfig(accelerator="cpu"),
    )
    (folder / "tiny.yaml").write_text(config_io.dump_yaml(config))
    return folder / "tiny.yaml"


@pytest.mark.slow
@pytest.mark.timeout(900)  # it starts eleven processes
def test_a_recipe_in_two_calls_ends_with_a_checkpoint_and_its_card(tmp_path: Path) -> None:
    out = tmp_path / "recipe"
    common = ["--hours", "0.005", "--clips", "2", "--frames", "4", "--batch", "4", "--benchmark", "smoke"]
    common += ["--config", str(write_config(tmp_path)), "--out", str(out)]
    assert main([*common, "--minutes", "0.02"]) == UNFINISHED
    # Options that are not given are those of the recipe in the folder.
    assert main(["--out", str(out), "--until", "export"]) == 0
    assert (out / "model" / "config.yaml").is_file() and not (out / "evaluation").exists()
    assert main(common) == 0
    config = checkpoint.load(out / "model").config
    assert replace(config, categories=tiny_config().categories) == tiny_config()
    assert all(0.5 <= category.score_threshold <= 1 for category in config.categories)
    card = (out / "model" / "README.md").read_text()
    assert "2 clips of 4 frames" in card
    assert "## test: 4 frames" in card
    assert "false positives per frame" in card
    # Complete phases are not repeated.
    start = time.monotonic()
    assert main(common) == 0
    assert time.monotonic() - start < 30


def test_stages_fill_the_time_at_the_measured_speeds() -> None:
    """1,000 s: 720 s of single frames at 0.2 s a step, and 280 s of windows at 0.5 s."""
    single, windows = stages_within(1000, 0.2, 0.5, batch=128)
    assert (single.until_step, single.clip_length, single.batch_clips) == (3600, 1, 128)
    assert (windows.until_step, windows.clip_length, windows.batch_clips) == (4160, 4, 32)


def test_a_new_recipe_needs_a_time_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 1
    assert "holds no recipe; a new one needs --hours" in capsys.readouterr().err


def test_a_folder_keeps_its_recipe(tmp_path: Path) -> None:
    recipe = Recipe(hours=1.0, config="a.yaml")
    Progress(tmp_path, recipe).update(clips=3)
    assert Progress(tmp_path, Recipe(hours=1.0, config="a.yaml", workers=4)).state.clips == 3
    with pytest.raises(ValueError, match=r"hours=1\.0.*choose another --out"):
        Progress(tmp_path, Recipe(hours=2.0, config="a.yaml"))


def test_spent_time_is_saved_and_a_call_ends_when_its_time_is_over(tmp_path: Path) -> None:
    progress = Progress(tmp_path, Recipe(hours=1.0, config="a.yaml"), minutes=0.0)
    with pytest.raises(CallTimeOverError), progress.timed("train"):
        time.sleep(0.05)
        progress.call_time_left()
    resumed = Progress(tmp_path, Recipe(hours=1.0, config="a.yaml"))
    assert 0.05 <= resumed.state.spent.train < 5
    assert resumed.remaining("train", 0.5) == pytest.approx(1800 - resumed.state.spent.train)
    assert resumed.call_time_left() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"hours": 0.0}, "hours is 0"), ({"batch": 6}, "multiple of 4"), ({"workers": 0}, "workers")],
)
def test_invalid_recipes_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**{"hours": 1.0, "config": "a.yaml", **changes})  # type: ignore[arg-type]


def test_frames_without_objects_are_reported_by_their_false_positives() -> None:
    run = {"ground_truths": 0, "false_positives": 3}
    section = split_section("test-empty", 12, {"detections": {"single": {"all": run}}})
    assert "| single | 0.250 |" in section
