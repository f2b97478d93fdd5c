# SPDX-License-Identifier: Apache-2.0
"""Check that a run is resumed with the settings it was started with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from seqpose_core import config_io
from train.fit.config import ComputeConfig, TrainConfig


def resumed_config(config: TrainConfig, out: Path) -> TrainConfig:
    """The configuration to resume the run in ``out`` with: ``config`` with the initial weights of the started run.

    :raises seqpose_core.config_io.ConfigError: if settings differ that must not, naming them.
    """
    started = config_io.load_yaml(TrainConfig, out / "train.yaml")
    old, new = _fixed_settings(started), _fixed_settings(config)
    changed = [
        f"{key} was {old.get(key, 'absent')} and is {new.get(key, 'absent')}"
        for key in {**old, **new}
        if old.get(key, "absent") != new.get(key, "absent")
    ]
    if changed:
        raise config_io.ConfigError(
            f"{out} holds a run with other settings: {'; '.join(changed)}. Restore them, or choose another --out, "
            f"with init_from: {out / 'best'} to start from these weights"
        )
    return replace(config, init_from=started.init_from, init_parts=started.init_parts)


def is_finished(run: Path) -> bool:
    """Whether the last checkpoint of a run is at the end of its schedule."""
    if not (run / "last.ckpt").is_file():
        return False
    state = torch.load(run / "last.ckpt", map_location="cpu", weights_only=True, mmap=True)
    settings = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= settings["stages"][-1]["until_step"])


def _fixed_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that must not change during a run, by dotted names."""
    data = config.data
    train, val = (tuple(replace(part, root=None) for part in parts) for parts in (data.train, data.val))
    data = replace(data, root="", aligned_cache="", workers=0, train=train, val=val)
    config = replace(config, data=data, compute=ComputeConfig(), val_every=1, save_every=1)
    return _flatten(config_io.to_dict(replace(config, init_from=None, init_parts=())))


def _flatten(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings and lists of mappings as one mapping with dotted names."""
    if isinstance(value, dict):
        inner = {f"{name}.{key}" if name else key: entry for key, entry in value.items()}
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        inner = {f"{name}[{index}]": entry for index, entry in enumerate(value)}
    else:
        return {name: value}
    return {path: leaf for key, entry in inner.items() for path, leaf in _flatten(entry, key).items()}
