# SPDX-License-Identifier: Apache-2.0
"""A training small enough for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nocs_tree import write_tree
from tiny import tiny_config

from train.fit.config import ComputeConfig, DataConfig, TrainConfig


def small_training(root: Path, **changes: Any) -> TrainConfig:
    """A training configuration of the tiny model on the CPU; writes a tree with splits train and val under ``root``."""
    for split in ("train", "val"):
        write_tree(root, split)
    config = TrainConfig(
        model=tiny_config(),
        data=DataConfig(root=str(root), label_size=(24, 32), workers=0),
        compute=ComputeConfig(accelerator="cpu"),
    )
    return replace(config, **changes)
