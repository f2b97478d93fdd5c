# SPDX-License-Identifier: Apache-2.0
"""A run is resumed with the settings it was started with, and from its own checkpoint only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from training_rig import small_training

from seqpose_core import config_io
from train.data.sampler import Stage
from train.fit import distributed
from train.fit.__main__ import main
from train.fit.config import ComputeConfig, OptimizerConfig, SetConfig, TrainConfig, load
from train.fit.run import fit

ROOT = Path(__file__).parents[2]
SLURM = {
    "SLURM_NTASKS": "1",
    "SLURM_NNODES": "1",
    "SLURM_JOB_NAME": "fit",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "localhost",
    "SLURM_JOB_ID": "7",
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return small_training(
        tmp_path_factory.mktemp("data"),
        optimizer=OptimizerConfig(warmup_steps=1, ema=0.5),
        stages=(Stage(2, 1, 2),),
        val_every=100,
    )


@pytest.fixture
def started(config: TrainConfig, tmp_path: Path) -> Path:
    """A run that was stopped by its time limit after the first step."""
    fit(config, tmp_path / "run", hours=0.0, progress=False)
    return tmp_path / "run"


def step(run: Path) -> int:
    return int(torch.load(run / "last.ckpt", weights_only=True)["global_step"])


def test_a_run_is_not_resumed_with_other_settings(config: TrainConfig, started: Path) -> None:
    other = replace(
        config, optimizer=replace(config.optimizer, learning_rate=1e-6), stages=(Stage(2, 1, 2), Stage(4, 2, 1))
    )
    before = (started / "train.yaml").read_text()
    with pytest.raises(config_io.ConfigError) as refused:
        fit(other, started, progress=False)
    message = str(refused.value)
    assert str(started) in message and "another --out" in message and "init_from" in message
    assert "optimizer.learning_rate was 0.001 and is 1e-06" in message
    assert "stages[1].until_step was absent and is 4" in message
    assert "weight_decay" not in message and "stages[0]" not in message
    assert (started / "train.yaml").read_text() == before and step(started) == 1


def test_a_run_is_resumed_with_other_hardware_folders_and_intervals(config: TrainConfig, started: Path) -> None:
    elsewhere = started.parent / "data"
    shutil.copytree(config.data.root, elsewhere)
    moved = replace(
        config.data,
        root="absent",
        train=(SetConfig("train", root=str(elsewhere)),),
        val=(SetConfig("val", root=str(elsewhere)),),
        workers=1,
    )
    other = replace(
        config,
        data=moved,
        compute=ComputeConfig(accelerator="auto"),
        val_every=2,
        save_every=1,
        init_from="seqpose-lite2",
        init_parts=("encoder",),
    )
    fit(other, started, progress=False)
    assert step(started) == 2
    written = load(started / "train.yaml")
    # train.yaml has the new settings, but the initial weights of the started run.
    assert written.data.train[0].root == str(elsewhere) and written.val_every == 2
    assert written.init_from is None and written.init_parts == ()


def test_a_run_without_a_checkpoint_restarts_with_other_settings(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(replace(config, seed=1)))
    fit(config, tmp_path, hours=0.0, progress=False)
    assert load(tmp_path / "train.yaml").seed == 0 and step(tmp_path) == 1


def test_the_command_prints_in_one_line_why_a_run_is_not_resumed(config: TrainConfig, started: Path) -> None:
    path = started.parent / "other.yaml"
    path.write_text(config_io.dump_yaml(replace(config, seed=5)))
    with pytest.raises(SystemExit, match="seed was 0 and is 5"):
        main(["--config", str(path), "--out", str(started)])


@pytest.mark.parametrize("option", ["--devices", "--threads"])
def test_zero_devices_or_threads_are_refused(
    option: str, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(config))
    with pytest.raises(SystemExit):
        main(["--config", str(tmp_path / "train.yaml"), option, "0", "--print-config"])
    assert f"{option} is 0; it must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("processes", [1, 2])
def test_in_a_slurm_task_a_run_starts_its_processes_and_ignores_the_checkpoint_of_another_run(
    processes: int, config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(config))
    # The path where Lightning saves on SLURM's signal and resumes from. Reading this file would fail.
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"of another run")
    run = subprocess.run(
        [sys.executable, "-m", "train.fit", "--config", "train.yaml", "--out", "new", "--threads", "1"]
        + ["--devices", str(processes)],
        env={**os.environ, **SLURM, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert step(tmp_path / "new") == 2
    assert ("MEMBER: 2/2" in run.stderr) == (processes == 2)


def test_slurm_does_not_requeue_and_torchrun_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.slurm_plugins() == []
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert [type(environment) for environment in distributed.slurm_plugins()] == [LightningEnvironment]
    for name in ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"):  # Lightning needs both
        monkeypatch.setenv(name, "2")
    (environment,) = distributed.slurm_plugins()
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "1", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert distributed.slurm_plugins() == []
