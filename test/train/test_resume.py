# SPDX-License-Identifier: Apache-2.0
"""A run goes on with the settings that it began with, and from its own checkpoint only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
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
def begun(config: TrainConfig, tmp_path: Path) -> Path:
    """A run that its wall clock ended after the first step."""
    fit(config, tmp_path / "run", hours=0.0, progress=False)
    return tmp_path / "run"


def step(run: Path) -> int:
    return int(torch.load(run / "last.ckpt", weights_only=True)["global_step"])


def test_a_run_does_not_go_on_with_other_settings(config: TrainConfig, begun: Path) -> None:
    other = replace(
        config, optimizer=replace(config.optimizer, learning_rate=1e-6), stages=(Stage(2, 1, 2), Stage(4, 2, 1))
    )
    before = (begun / "train.yaml").read_text()
    with pytest.raises(config_io.ConfigError) as refused:
        fit(other, begun, progress=False)
    message = str(refused.value)
    assert str(begun) in message and "another --out" in message and "init_from" in message
    assert "optimizer.learning_rate was 0.001 and is 1e-06" in message
    assert "stages[1].until_step was absent and is 4" in message
    assert "weight_decay" not in message and "stages[0]" not in message
    assert (begun / "train.yaml").read_text() == before and step(begun) == 1


def test_a_run_goes_on_with_other_machines_folders_and_intervals(config: TrainConfig, begun: Path) -> None:
    elsewhere = begun.parent / "data"
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
        init_from="seqpose-nano",
        init_parts=("encoder",),
    )
    fit(other, begun, progress=False)
    assert step(begun) == 2
    written = load(begun / "train.yaml")
    # It says what holds now, and of the beginning what was.
    assert written.data.train[0].root == str(elsewhere) and written.val_every == 2
    assert written.init_from is None and written.init_parts == ()


def test_a_run_that_saved_nothing_yet_may_begin_anew_with_other_settings(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(replace(config, seed=1)))
    fit(config, tmp_path, hours=0.0, progress=False)
    assert load(tmp_path / "train.yaml").seed == 0 and step(tmp_path) == 1


def test_the_command_says_in_a_line_why_it_does_not_go_on(config: TrainConfig, begun: Path) -> None:
    path = begun.parent / "other.yaml"
    path.write_text(config_io.dump_yaml(replace(config, seed=5)))
    with pytest.raises(SystemExit, match="seed was 0 and is 5"):
        main(["--config", str(path), "--out", str(begun)])


@pytest.mark.parametrize("option", ["--devices", "--threads"])
def test_no_process_and_no_thread_are_refused(
    option: str, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(config))
    with pytest.raises(SystemExit):
        main(["--config", str(tmp_path / "train.yaml"), option, "0", "--print-config"])
    assert f"{option} is 0; it must be at least 1" in capsys.readouterr().err


def test_under_slurm_a_new_run_does_not_take_over_another_ones_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(config))
    # Where Lightning leaves its own on a signal of SLURM, and looks for it. Whoever read this one would fail.
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"of another run")
    run = subprocess.run(
        [sys.executable, "-m", "train.fit", "--config", "train.yaml", "--out", "new", "--threads", "1"],
        env={**os.environ, **SLURM, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert step(tmp_path / "new") == 2


def test_slurm_requeues_nothing_by_itself_and_torchrun_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.slurm_plugins() == []
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert [environment.auto_requeue for environment in distributed.slurm_plugins()] == [False]
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "1", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert distributed.slurm_plugins() == []
