# SPDX-License-Identifier: Apache-2.0
"""The ablation command: rows are trained in separate processes and scored, and a table can be resumed."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from nocs_tree import write_tree
from tiny import tiny_config

from seqpose_core import config_io
from seqpose_core.metrics.ap_report import COLUMNS
from train.ablate import row as ablation
from train.ablate.__main__ import main
from train.ablate.row import Scoring, prediction_device
from train.data.sampler import Stage
from train.evaluate.predict import PredictionJob
from train.fit.config import ComputeConfig, DataConfig, OptimizerConfig, SetConfig, TrainConfig

WITHOUT = {"name": "w/o memory", "change": {"model": {"memory": {"frames": 0}}}, "frames": "single"}


class Command:
    """train.ablate with a small table and base in a folder."""

    def __init__(self, root: Path, data: Path) -> None:
        self.out = root / "out"
        self.base = TrainConfig(
            model=tiny_config(),
            data=DataConfig(root=str(data), label_size=(24, 32), workers=0),
            optimizer=OptimizerConfig(warmup_steps=1, ema=0.5),
            compute=ComputeConfig(accelerator="cpu", devices=2),
            stages=(Stage(4, 2, 2),),  # windows of two frames, which train the memory
        )
        self.config, self.table = root / "base.yaml", root / "mine.yaml"
        self.config.write_text(config_io.dump_yaml(self.base))
        self.table.write_text(yaml.safe_dump({"title": "Mine", "rows": [WITHOUT, {"name": "full"}]}))

    def __call__(self, *more: str) -> None:
        main(
            ["--table", str(self.table), "--config", str(self.config), "--out", str(self.out), "--steps", "2"]
            + ["--workers", "1", *more]
        )

    def rows(self) -> list[dict[str, str]]:
        with (self.out / "table.csv").open() as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "data"
    for split in ("train", "val", "other"):
        write_tree(root, split, clips=2, frames=2, height=84, width=112)
    return root


@pytest.fixture
def command(tmp_path: Path, data: Path) -> Command:
    return Command(tmp_path, data)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Command:
    """A table whose first row is trained, by two processes."""
    command = Command(tmp_path_factory.mktemp("ablate"), data)
    command("--rows", "w-o-memory", "--download")
    return command


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: TrainConfig, folder: Path, download: bool) -> None:
        raise AssertionError(f"{folder} is trained")

    monkeypatch.setattr(ablation, "run_training", refuse)


@pytest.mark.slow
def test_a_row_trained_by_two_processes_is_written_as_a_table(trained: Command) -> None:
    lines = (trained.out / "table.md").read_text().splitlines()
    assert lines[0] == "| Mine | IoU25 | IoU50 | IoU75 | 10cm | 10° | 10°10cm | 10°5cm | 5°5cm |"
    assert lines[2].startswith("| w/o memory |")
    assert "data, split val" in lines[-1] and "2 steps" in lines[-1]
    assert [(row["row"], row["measured on"], row["steps"]) for row in trained.rows()] == [
        ("w/o memory", "data, split val", "2")
    ]
    assert (trained.out / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((trained.out / "w-o-memory/seed-0/predictions").glob("results_val_*.pkl"))) == 4


@pytest.mark.slow
def test_a_trained_row_is_scored_again_on_another_split_and_never_trained_again(
    trained: Command, no_training: None
) -> None:
    for more, split, iou in (((), "val", "oriented"), (("--split", "other", "--iou", "original"), "other", "original")):
        trained("--rows", "w/o memory", *more)
        (row,) = trained.rows()
        assert (row["measured on"], row["IoU kind"]) == (f"data, split {split}", iou)
        predictions = trained.out / "w-o-memory/seed-0/predictions"
        assert len(list(predictions.glob("*.pkl"))) == len(list(predictions.glob(f"results_{split}_*.pkl"))) == 4
    with pytest.raises(AssertionError, match="full/seed-0 is trained"):
        trained()  # "full" is not trained yet
    with pytest.raises(SystemExit, match="other settings"):
        trained("--rows", "w-o-memory", "--steps", "3")


def test_a_failed_training_ends_the_command_with_an_error_that_names_the_row(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "false")  # a program that does nothing and ends with status 1
    with pytest.raises(SystemExit, match=r"the training in .*w-o-memory/seed-0/run ended early, with status 1"):
        command()
    monkeypatch.setattr("sys.executable", "true")  # ends with status 0 but has trained nothing
    with pytest.raises(SystemExit, match=r"the training in .*w-o-memory/seed-0/run ended early, with status 0"):
        command()


def test_results_of_a_finished_row_are_read_from_its_folder(command: Command, no_training: None) -> None:
    config = replace(command.base, stages=(Stage(2, 2, 2),), val_every=2, seed=7)
    config = replace(config, optimizer=replace(config.optimizer, warmup_steps=0))  # half of one, rounded
    folder = command.out / "full/seed-7"
    folder.mkdir(parents=True)
    settings = {"config": config_io.to_dict(config), "split": "val", "iou": "oriented", "frames": "multi"}
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    result = {"ap": dict.fromkeys(COLUMNS, 0.25), "measured_on": "data, split val", "steps": 2}
    (folder / "result.yaml").write_text(yaml.safe_dump(result))
    command("--rows", "full", "--seeds", "7")
    (row,) = command.rows()
    assert (row["row"], row["IoU50"], row["steps"]) == ("full", "25.000", "2")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "nosuch"], "nosuch"),
        (["--rows", "ful"], r"no row 'ful'.*did you mean 'full'"),
        (["--seeds", "-1"], "seed is -1; it must be at least 0"),
        (["--table", "memry"], "no table 'memry'; did you mean 'memory'"),
    ],
)
def test_invalid_options_are_refused_before_training(
    more: list[str], message: str, command: Command, no_training: None
) -> None:
    with pytest.raises(SystemExit, match=f"ablate: .*{message}"):
        command(*more)
    assert not command.out.exists()


def test_devices_override_the_configuration(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(config: TrainConfig, folder: Path, download: bool) -> None:
        raise ValueError(f"{config.compute.devices} devices")

    monkeypatch.setattr(ablation, "run_training", stop)
    with pytest.raises(SystemExit, match=r"^ablate: 4 devices"):
        command("--devices", "4")
    with pytest.raises(SystemExit):
        command("--devices", "0")


def test_equal_rows_are_refused_before_training(command: Command, no_training: None) -> None:
    same = {"name": "3 frames", "change": {"model": {"memory": {"frames": 3}}}}
    command.table.write_text(yaml.safe_dump({"title": "Mine", "rows": [WITHOUT, same, {"name": "full"}]}))
    with pytest.raises(SystemExit, match=r"'3 frames' and 'full' are the same run; .*--rows w-o-memory full$"):
        command()


def test_one_of_several_processes_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch, no_training: None
) -> None:
    with monkeypatch.context() as patch:
        for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit, match="one of 2 processes; start it as a single process"):
            command()
    command.config.write_text(config_io.dump_yaml(replace(command.base, compute=ComputeConfig(num_nodes=2))))
    with pytest.raises(SystemExit, match="num_nodes is 2; rows train on this machine"):
        command()


def test_rows_are_scored_on_the_validation_set() -> None:
    row = ablation.AblationRow("full", frames="single")
    sets = (SetConfig("real_test", "elsewhere", "relabelled"), SetConfig("val"))
    config = TrainConfig(data=DataConfig(root="here", val=sets))

    def scored(split: str | None) -> tuple[str, str, str]:
        scoring = Scoring.from_row(row, config, split, "fixed")
        assert (scoring.iou, scoring.frames) == ("fixed", "single")
        return str(scoring.root), scoring.split, scoring.labels

    assert scored(None) == scored("real_test") == ("elsewhere", "real_test", "relabelled")
    assert scored("val") == ("here", "val", "gts")
    assert scored("camera_val") == ("elsewhere", "camera_val", "relabelled"), "root and labels of the first set"


@pytest.mark.parametrize(
    ("accelerator", "gpu", "device"),
    [("auto", True, "cuda"), ("gpu", True, "cuda"), ("cpu", True, "cpu"), ("auto", False, "cpu")],
)
def test_rows_predict_on_a_gpu_where_there_is_one(
    accelerator: Any, gpu: bool, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    def stop(job: PredictionJob, workers: int) -> None:
        assert (job.device, workers == 1) == (device, device == "cuda")
        raise StopError

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(ablation, "run_training", lambda *_: None)
    monkeypatch.setattr(ablation, "export", lambda *_: 4)
    monkeypatch.setattr(ablation, "predict", stop)
    config = TrainConfig(compute=ComputeConfig(accelerator=accelerator))
    assert prediction_device(config) == device
    with pytest.raises(StopError):
        ablation.train_and_score(config, tmp_path / "row", Scoring(tmp_path, "val", "gts", "oriented", "multi"))
