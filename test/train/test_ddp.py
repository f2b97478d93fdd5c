# SPDX-License-Identifier: Apache-2.0
"""Training with several processes equals training with one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from nocs_tree import write_tree
from tiny import tiny_config

from seqpose_core import config_io
from train.data.sampler import Stage
from train.fit import distributed
from train.fit.config import ComputeConfig, DataConfig, OptimizerConfig, TrainConfig

ROOT = Path(__file__).parents[2]


def test_two_processes_at_half_the_batch_equal_one_at_the_full_batch(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_tree(tmp_path / "data", split, clips=4, frames=3, height=84, width=112)
    # One clip has no objects: a mean within each process would weigh the objects of the others wrongly.
    for label in (tmp_path / "data/gts/train").glob("*_00000_*.pkl"):
        (tmp_path / "data/train/00000" / f"{label.stem[-4:]}_meta.txt").write_text("4 0 distractor\n")
        label.write_bytes(pickle.dumps({"gt_class_ids": [], "gt_RTs": [], "gt_scales": []}))
    config = TrainConfig(
        model=tiny_config(),
        data=DataConfig(root=str(tmp_path / "data"), label_size=(24, 32), workers=0),
        optimizer=OptimizerConfig(warmup_steps=1, ema=0.0),
        compute=ComputeConfig(accelerator="cpu"),
        # The memory is kept between steps, so that each process has to keep the memory of its own samples.
        stages=(Stage(3, 1, 4, streaming=True),),
        # In single precision AdamW turns the rounding errors of zero gradients into steps of full size.
        precision="64-true",
    )
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(config))
    run = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).parents[1] / "rigs" / "ddp_ranks.py"),
            str(tmp_path / "train.yaml"),
            str(tmp_path),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    one, two = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("one", "two"))
    assert one["global_step"] == two["global_step"] == 3
    for part, names in (("state_dict", list(one["state_dict"])), ("streaming_memory", list(one["streaming_memory"]))):
        for name in names:
            torch.testing.assert_close(
                two[part][name], one[part][name], atol=1e-5, rtol=0, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
            )
    # Both runs validated all clips; of two processes each validated its part.
    scores = [(tmp_path / name / "csv/version_0/metrics.csv").read_text().splitlines()[-1] for name in ("one", "two")]
    assert scores[0] == scores[1]


def test_torchrun_and_slurm_override_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ComputeConfig(devices=2, num_nodes=3)
    assert distributed.process_layout(config) == (2, 3)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    assert distributed.process_layout(config) == (4, 2)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    for name, value in {"SLURM_NTASKS": "16", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "fit"}.items():
        monkeypatch.setenv(name, value)
    assert distributed.process_layout(config) == (8, 2)
    monkeypatch.setenv("SLURM_NTASKS", "1")  # this process starts the others
    assert distributed.process_layout(config) == (2, 3)
