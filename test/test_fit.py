# SPDX-License-Identifier: Apache-2.0
"""Training as a command does it: resumable to the bit, and leaving a checkpoint that the estimator reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nocs_tree import write_tree
from tiny import tiny_config

from seqpose_core import PoseEstimator
from train.config import DataConfig, OptimizerConfig, TrainConfig
from train.data.loader import Stage
from train.fit import fit
from train.module import SeqPoseModule


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    root = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        write_tree(root, split)
    return TrainConfig(
        model=tiny_config(),
        data=DataConfig(root=str(root), label_size=(24, 32), workers=0),
        optimizer=OptimizerConfig(warmup_steps=2, ema=0.5),
        stages=(Stage(4, 1, 2), Stage(7, 2, 1)),
        val_every=7,
        save_every=3,
    )


def weights(module: SeqPoseModule) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.model.named_parameters()}


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(config: TrainConfig, tmp_path: Path) -> None:
    whole = weights(fit(config, tmp_path / "whole", progress=False))
    # The same schedule, cut off after three steps by the wall clock, and after three more.
    for _ in range(4):
        resumed = weights(fit(config, tmp_path / "cut", hours=0.0, progress=False))
    resumed = weights(fit(config, tmp_path / "cut", progress=False))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_the_best_model_is_a_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    short = replace(config, stages=(Stage(2, 1, 2),), val_every=2)
    fit(short, tmp_path, progress=False)
    estimator = PoseEstimator.from_pretrained(tmp_path / "best")
    assert estimator.model.config == config.model
