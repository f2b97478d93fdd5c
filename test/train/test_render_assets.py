# SPDX-License-Identifier: Apache-2.0
"""HDR environments from an assets folder: read by pool, and their absence reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from train.render.environments import ASSET_FILE, PHOTOGRAPHS, EnvironmentBank


def write_assets(folder: Path) -> Path:
    """Panoramas with a bright sky of a different level each."""
    names = [name for pool in PHOTOGRAPHS.values() for name in pool]
    panoramas = {}
    for level, name in enumerate(names, start=1):
        panoramas[name] = np.ones((16, 32, 3), np.float16)
        panoramas[name][:8] = level
    save_file(panoramas, folder / ASSET_FILE)
    return folder


def test_a_pool_gets_its_own_photographs_next_to_procedural_environments(tmp_path: Path) -> None:
    bank = EnvironmentBank("val", write_assets(tmp_path), 2)
    assert [e.name for e in bank.environments] == ["val_000", "val_001", *PHOTOGRAPHS["val"]]
    picks = np.array([bank.pick(np.random.default_rng(seed)) for seed in range(200)])
    assert 0.4 < np.mean(picks >= 2) < 0.6


def test_a_folder_without_assets_is_reported_with_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train\.render\.assets --out"):
        EnvironmentBank("val", tmp_path, 2)
