# SPDX-License-Identifier: Apache-2.0
"""What a resumed run may change and what it must keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from seqpose_core import config_io
from train.fit.config import ComputeConfig, TrainConfig


def resumed_config(config: TrainConfig, out: Path) -> TrainConfig:
    """The configuration that the run in ``out`` goes on with: ``config``, but begun as it was.

    :raises seqpose_core.config_io.ConfigError: naming what differs and must not.
    """
    begun = config_io.load_yaml(TrainConfig, out / "train.yaml")
    old, new = _lasting(begun), _lasting(config)
    changed = [
        f"{key} was {old.get(key, 'absent')} and is {new.get(key, 'absent')}"
        for key in {**old, **new}
        if old.get(key, "absent") != new.get(key, "absent")
    ]
    if changed:
        raise config_io.ConfigError(
            f"{out} holds a run with other settings: {'; '.join(changed)}. Give those that it began with, or another "
            f"--out; with init_from: {out / 'best'} that starts from these weights"
        )
    return replace(config, init_from=begun.init_from, init_parts=begun.init_parts)


def _lasting(config: TrainConfig) -> dict[str, Any]:
    """What must stay as it is from a run's first step to its last, by dotted names."""
    data = config.data
    train, val = (tuple(replace(part, root=None) for part in parts) for parts in (data.train, data.val))
    data = replace(data, root="", workers=0, train=train, val=val)
    config = replace(config, data=data, compute=ComputeConfig(), val_every=1, save_every=1)
    return _named(config_io.to_dict(replace(config, init_from=None, init_parts=())))


def _named(value: Any, name: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted names, those of mappings in lists too."""
    if isinstance(value, dict):
        inner = {f"{name}.{key}" if name else key: entry for key, entry in value.items()}
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        inner = {f"{name}[{index}]": entry for index, entry in enumerate(value)}
    else:
        return {name: value}
    return {path: leaf for key, entry in inner.items() for path, leaf in _named(entry, key).items()}
