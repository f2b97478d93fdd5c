# SPDX-License-Identifier: Apache-2.0
"""TrainConfig: the configuration of a training run; see config/train/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml

from seqpose_core import config_io
from seqpose_core.losses.criterion import CriterionConfig
from seqpose_core.model.config import SeqPoseConfig, check_at_least
from train.data.augment import Augmentation
from train.data.nocs_sets import ALIGNED_CACHE, OTHER_SETS, Labels
from train.data.sampler import Stage


@dataclass(frozen=True)
class SetConfig:
    """One data set.

    :param split: folder under the root, or camera_train, camera_val, real_train or real_test in NOCS's own layout.
    :param root: folder that holds the split and its labels; None = ``data.root``.
    :param labels: ``gts``, ``relabelled`` or ``aligned``, see train.data.nocs_sets.
    :param weight: sampling weight relative to the other training sets.
    """

    split: str
    root: str | None = None
    labels: Labels = "gts"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight of {self.split} is {self.weight}; it must be positive")
        if self.split in OTHER_SETS:
            raise ValueError(f"split is {self.split}, which has no NOCS maps; use it with train.evaluate")


@dataclass(frozen=True)
class DataConfig:
    """Training and validation data.

    :param root: folder in the NOCS layout of all sets without a root of their own.
    :param train, val: training sets, mixed by weight, and validation sets.
    :param val_frames: frames of each validation window; the last one is scored.
    :param val_windows: maximum number of validation windows, evenly spaced over all clips.
    :param label_size: height and width of the dense targets.
    :param hidden_handles: treat mugs with a hidden handle as symmetric, since their yaw is not visible.
    :param camera_motion: camera poses of training clips without a camera_poses.txt, as in REAL: ``stored`` = unknown,
        ``labels`` = estimated from the poses of static objects. Validation never uses the labels.
    :param aligned_cache: folder of the poses that are computed for ``aligned`` labels.
    :param workers: loader processes per training process; validation starts as many more.
    """

    root: str = "out/data"
    train: tuple[SetConfig, ...] = (SetConfig("train"),)
    val: tuple[SetConfig, ...] = (SetConfig("val"),)
    val_frames: int = 3
    val_windows: int = 1000
    label_size: tuple[int, int] = (48, 64)
    hidden_handles: bool = True
    camera_motion: Literal["stored", "labels"] = "stored"
    augmentation: Augmentation = field(default_factory=Augmentation)
    aligned_cache: str = str(ALIGNED_CACHE)
    workers: int = 1

    def __post_init__(self) -> None:
        if not self.train or not self.val:
            raise ValueError(f"train has {len(self.train)} sets and val {len(self.val)}; each needs at least one")
        check_at_least(1, val_frames=self.val_frames, val_windows=self.val_windows)
        check_at_least(0, workers=self.workers)
        if min(self.label_size) < 1:
            raise ValueError(f"label_size is {list(self.label_size)}; both must be at least 1")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; learning rates follow a linear warm-up and then a cosine down to ``final_rate``.

    :param encoder_rate: learning rate of the encoder relative to the rest.
    :param backbone_rate: learning rate of the encoder's pretrained backbone relative to the rest of the encoder.
    :param neck_rate: learning rate of the encoder's layers after the backbone relative to the rest of the encoder.
    :param layer_decay: learning rate of each encoder block relative to the next; the stem's is the lowest. 1 = equal.
    :param final_rate: learning rate at the end relative to ``learning_rate``.
    :param ema: decay of the averaged weights that are validated and saved; 0 = no averaging.
    """

    learning_rate: float = 1e-3
    encoder_rate: float = 1.0
    backbone_rate: float = 1.0
    neck_rate: float = 1.0
    layer_decay: float = 1.0
    weight_decay: float = 0.05
    beta2: float = 0.98
    clip_norm: float = 5.0
    warmup_steps: int = 300
    final_rate: float = 0.02
    ema: float = 0.998

    def __post_init__(self) -> None:
        for name, value in (("learning_rate", self.learning_rate), ("clip_norm", self.clip_norm)):
            if not value > 0:
                raise ValueError(f"{name} is {value}; it must be above 0")
        check_at_least(0, encoder_rate=self.encoder_rate, backbone_rate=self.backbone_rate, neck_rate=self.neck_rate)
        check_at_least(0, weight_decay=self.weight_decay, warmup_steps=self.warmup_steps)
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; it must lie in 0..1, above 0")
        if not 0 < self.beta2 < 1:
            raise ValueError(f"beta2 is {self.beta2}; it must lie between 0 and 1")
        if not 0 <= self.final_rate <= 1:
            raise ValueError(f"final_rate is {self.final_rate}; it must lie in 0..1")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is {self.ema}; it must lie in 0..1, below 1")


@dataclass(frozen=True)
class ComputeConfig:
    """Hardware. torchrun and SLURM override the numbers of processes and nodes (see train.fit.distributed).

    :param devices: processes per node: one per GPU, any number on the CPU.
    :param strategy: Lightning's name; auto = DDP if there are several processes.
    :param matmul_precision: of matrix products in 32 bits on CUDA: ``high`` = TF32, ``highest`` = full precision.
    :param compile: torch.compile the encoder and the query network; worthwhile for runs of hours on GPUs.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    matmul_precision: Literal["highest", "high"] = "high"
    compile: bool = False

    def __post_init__(self) -> None:
        check_at_least(1, devices=self.devices, num_nodes=self.num_nodes)


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    :param stages: the training schedule; training ends with the last stage.
    :param init_from: checkpoint that the run starts from (name, folder or file); None = random weights.
    :param init_parts: parts of the network that are loaded from ``init_from`` (encoder, fusion, dense_heads,
        centre_head, reduce, layers, heads, ...); the others start from random weights. Empty = all parts.
    :param frozen_parts: parts of the network that are not trained.
    :param gradient_through_window: whether gradients pass through the memory from frame to frame of a clip.
    :param accumulate: number of parts that a batch is split into to save device memory (gradient accumulation).
        Losses are means over the objects of a part, so objects in parts with fewer objects weigh more.
    :param val_every, save_every: steps between validations and between checkpoints.
    """

    model: SeqPoseConfig = field(default_factory=SeqPoseConfig)
    criterion: CriterionConfig = field(default_factory=CriterionConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    stages: tuple[Stage, ...] = (Stage(1000, 1, 16),)
    init_from: str | None = None
    init_parts: tuple[str, ...] = ()
    frozen_parts: tuple[str, ...] = ()
    gradient_through_window: bool = False
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    accumulate: int = 1
    seed: int = 0
    val_every: int = 500
    save_every: int = 200

    def __post_init__(self) -> None:
        check_at_least(1, accumulate=self.accumulate, val_every=self.val_every, save_every=self.save_every)
        check_at_least(0, seed=self.seed)
        if not self.stages:
            raise ValueError("stages is empty; training needs at least one")
        ends = [stage.until_step for stage in self.stages if stage.until_step is not None]
        if any(end <= start for start, end in pairwise(ends)):
            raise ValueError(f"stages end at steps {', '.join(map(str, ends))}; each must end later than the last")
        if self.init_parts and not self.init_from:
            raise ValueError(f"init_parts is {list(self.init_parts)}, but init_from names no checkpoint")

    @property
    def max_steps(self) -> int:
        """Number of training steps. :raises ValueError: if the stages are given in epochs."""
        end = self.stages[-1].until_step
        if end is None:
            raise ValueError("the stages are given in epochs; convert them with train.fit.batches.stages_in_steps")
        return end


def expand_encoder_size(config: TrainConfig) -> TrainConfig:
    """``config`` with the encoder's named size replaced by its numbers (width, depth, heads, ...)."""
    return replace(config, model=replace(config.model, encoder=config.model.encoder.resolved()))


def load(path: str | Path) -> TrainConfig:
    """Read a training configuration.

    ``model`` is a mapping, or the path of a model file relative to this file. A mapping with the key ``from`` starts
    from that model file and overrides some of its values.

    :raises seqpose_core.config_io.ConfigError: for an unknown key (with the nearest known one) or a bad value.
    """
    path = Path(path)
    data = _read(path)
    if isinstance(data, dict):
        model = data.get("model")
        if isinstance(model, str):
            data["model"] = _model(path, model)
        elif isinstance(model, dict) and "from" in model:
            changes = {key: value for key, value in model.items() if key != "from"}
            data["model"] = config_io.merge(_model(path, model["from"]), changes)
    try:
        return config_io.from_dict(TrainConfig, data)
    except config_io.ConfigError as error:
        raise config_io.ConfigError(f"{path}: {error}") from error


def _read(path: Path) -> Any:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise config_io.ConfigError(f"{path} is not YAML: {error}") from error
    return {} if data is None else data


def _model(path: Path, name: Any) -> dict[str, Any]:
    """The content of the model file ``name``, relative to the configuration ``path``."""
    file = path.parent / str(name)
    if not file.is_file():
        raise config_io.ConfigError(f"{path}: model is {name!r}, but there is no file {file}")
    SeqPoseConfig.from_yaml(file)  # an error names the model file, not the configuration
    data: dict[str, Any] = _read(file)
    return data
