# SPDX-License-Identifier: Apache-2.0
"""Ablation tables: rows with their changes of a base configuration, and the configurations they resolve to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from seqpose_core import config_io
from seqpose_core.losses.criterion import LossWeights
from seqpose_core.losses.matching import MatchingWeights
from seqpose_core.metrics.ap_report import COLUMNS
from seqpose_core.model.encoder_config import EncoderConfig
from train.data.nocs_sets import has_hidden_handles
from train.data.sampler import Stage
from train.fit.config import TrainConfig, expand_encoder_size


@dataclass(frozen=True)
class AblationRow:
    """One row of a table.

    :param name: printed name. :param change: values that replace those of the base, nested as in its YAML file.
        "{size}" in encoder.pretrained stands for encoder.size.
    :param scale: factors applied to values of the base, nested in the same way.
    :param match_by_loss_weights: the weights of the matching cost are those of the losses.
    :param single_frames: train on single frames in random order: every stage draws as many single frames per batch as
        it has frames in the base.
    :param optional: the row is left out on bases where it is the same run as the last row of its table.
    :param frames: whether the memory is reset before each frame ("single") or each clip ("multi") for scoring.
    :param paper: the paper's eight figures on REAL275 in percent, if it has this row.
    """

    name: str
    change: Any = None
    scale: Any = None
    match_by_loss_weights: bool = False
    single_frames: bool = False
    optional: bool = False
    frames: Literal["single", "multi"] = "multi"
    paper: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for key, value in (("change", self.change), ("scale", self.scale)):
            if not isinstance(value, (dict, type(None))):
                raise ValueError(f"{key} of row {self.name!r} is {value!r}; it must be a mapping")
        if len(self.paper) not in (0, len(COLUMNS)):
            raise ValueError(f"paper of row {self.name!r} has {len(self.paper)} figures; expected {len(COLUMNS)}")

    @property
    def slug(self) -> str:
        """The name as a folder name."""
        return slug(self.name)


def slug(name: str) -> str:
    """Lower-case letters and digits of a name, joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@dataclass(frozen=True)
class AblationTable:
    """A title and its rows; see config/ablate/*.yaml."""

    title: str
    rows: tuple[AblationRow, ...]

    def __post_init__(self) -> None:
        slugs = [row.slug for row in self.rows]
        repeated = {row.name for row in self.rows if slugs.count(row.slug) > 1}
        if repeated or not slugs:
            raise ValueError(f"a table needs at least one row, and unique row names; repeated: {sorted(repeated)}")


def with_changes(base: TrainConfig, change: Mapping[str, Any] | None) -> TrainConfig:
    """``base`` with some values replaced.

    :raises seqpose_core.config_io.ConfigError: for a key that does not exist or a bad value.
    """
    return config_io.from_dict(TrainConfig, config_io.merge(config_io.to_dict(base), change or {}))


def row_config(base: TrainConfig, row: AblationRow) -> TrainConfig:
    """The training configuration of a row.

    :raises seqpose_core.config_io.ConfigError: as :func:`with_changes`, and for a scale of a value that is not a float.
    """
    config = with_changes(base, row.change)
    config = config_io.from_dict(TrainConfig, _scaled(config_io.to_dict(config), row.scale or {}))
    config = replace(config, model=replace(config.model, encoder=_with_size_name(config.model.encoder)))
    if row.match_by_loss_weights:
        config = replace(config, criterion=replace(config.criterion, matching=_loss_weights(config.criterion.weights)))
    if row.single_frames:
        config = replace(config, stages=tuple(_with_single_frames(stage) for stage in config.stages))
    return config


def _with_size_name(encoder: EncoderConfig) -> EncoderConfig:
    if "{size}" not in (encoder.pretrained or ""):
        return encoder
    if encoder.size is None:
        raise config_io.ConfigError(f"encoder.pretrained is {encoder.pretrained!r}, but this base has no encoder.size")
    return replace(encoder, pretrained=str(encoder.pretrained).replace("{size}", encoder.size))


def _loss_weights(weights: LossWeights) -> MatchingWeights:
    """Matching weights equal to those of the same terms of the loss."""
    return MatchingWeights(
        classification=weights.classification,
        centre=weights.centre_uv,
        log_depth=weights.log_depth,
        position=weights.position,
        rotation=weights.rotation,
        log_size=weights.log_size,
        size=weights.size,
    )


def _with_single_frames(stage: Stage) -> Stage:
    return Stage(stage.until_step, 1, stage.batch_clips * stage.clip_length, stage.epochs)


def _scaled(data: Mapping[str, Any], factors: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(data)
    for key, factor in factors.items():
        value = result.get(key)
        if isinstance(value, Mapping) and isinstance(factor, Mapping):
            result[key] = _scaled(value, factor)
        elif isinstance(value, float) and isinstance(factor, (int, float)):
            result[key] = value * factor
        elif key in result:
            raise config_io.ConfigError(f"{key} is {value!r} and its scale {factor!r}; only real numbers can be scaled")
        else:
            result[key] = factor  # an unknown key, reported by config_io.from_dict
    return result


def rows_on_base(rows: Sequence[AblationRow], base: TrainConfig) -> list[AblationRow]:
    """The rows without those optional ones that are the same run as the last row on this base."""
    last = _run_key(rows[-1], row_config(base, rows[-1]))
    return [row for row in rows if not row.optional or _run_key(row, row_config(base, row)) != last]


def check_rows_differ(rows: Sequence[AblationRow], configs: Sequence[TrainConfig]) -> None:
    """Check that no two rows are the same run; on some bases a row changes nothing that has an effect.

    :raises ValueError: naming the rows that are the same run, and the ``--rows`` to choose instead.
    """
    groups: dict[str, list[AblationRow]] = {}
    for row, config in zip(rows, configs, strict=True):
        groups.setdefault(_run_key(row, config), []).append(row)
    equal = [" and ".join(repr(row.name) for row in group) for group in groups.values() if len(group) > 1]
    if equal:
        distinct = {group[-1].slug for group in groups.values()}
        chosen = " ".join(row.slug for row in rows if row.slug in distinct)
        raise ValueError(
            f"with this configuration {'; '.join(equal)} are the same run; leave out all but one: --rows {chosen}"
        )


def _run_key(row: AblationRow, config: TrainConfig) -> str:
    """Text that is equal for equal runs; settings without effect are set to fixed values."""
    encoder = config.model.encoder
    if encoder.frozen or "encoder" in config.frozen_parts:
        # layer_decay acts on the backbone's blocks only.
        config = replace(config, optimizer=replace(config.optimizer, layer_decay=1.0))
    if all(stage.clip_length == 1 for stage in config.stages):
        config = replace(config, gradient_through_window=False)  # no gradient passes between frames
    trains_memory = config.model.memory.frames and any(s.streaming or s.clip_length > 1 for s in config.stages)
    frames = row.frames
    if not trains_memory:
        frames = "single"
        data = replace(config.data, augmentation=replace(config.data.augmentation, hide_pose=0.0))
        model = replace(config.model, memory=replace(config.model.memory, frames=0))
        config = replace(config, gradient_through_window=False, data=data, model=model)
    if not any(has_hidden_handles(part.split, part.labels) for part in config.data.train):
        config = replace(config, data=replace(config.data, hidden_handles=False))
    if not config.model.queries.proposals:
        weights = replace(config.criterion.weights, heat=0.0, centre=0.0)
        config = replace(config, criterion=replace(config.criterion, weights=weights))
    return f"{frames}\n{config_io.dump_yaml(expand_encoder_size(config))}"


def shorten_schedule(config: TrainConfig, steps: int) -> TrainConfig:
    """The schedule rescaled to ``steps`` steps. :raises ValueError: if stages are given in epochs."""
    ratio = steps / config.max_steps
    kept: list[Stage] = []
    end = 0
    for stage in config.stages:
        start, end = end, max(1, round((stage.until_step or 0) * ratio))
        if end > start:
            kept.append(replace(stage, until_step=end))
    optimizer = replace(config.optimizer, warmup_steps=round(config.optimizer.warmup_steps * ratio))
    return replace(config, stages=tuple(kept), optimizer=optimizer, val_every=min(config.val_every, steps))
