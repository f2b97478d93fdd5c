# SPDX-License-Identifier: Apache-2.0
"""TrainConfig: everything that decides a training run; see config/train/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml

from seqpose_core import config_io
from seqpose_core.losses.criterion import CriterionConfig
from seqpose_core.model.config import SeqPoseConfig, at_least
from train.data.augment import Augmentation
from train.data.nocs_sets import Labels
from train.data.sampler import Stage


@dataclass(frozen=True)
class SetConfig:
    """One data set.

    :param split: folder under the root, or camera_train, camera_val, real_train or real_test as NOCS publishes them.
    :param root: folder that holds the split and its labels; None = ``data.root``.
    :param labels: ``gts`` or ``relabelled``, see train.data.nocs_sets.
    :param weight: how often a training sample comes from this set, relative to the others.
    """

    split: str
    root: str | None = None
    labels: Labels = "gts"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight of {self.split} is {self.weight}; it must be positive")


@dataclass(frozen=True)
class DataConfig:
    """Where the clips are.

    :param root: folder in the NOCS layout, of every set that names none itself.
    :param train, val: sets to learn from, mixed by weight, and sets to validate on.
    :param val_frames: frames of each window that validation looks at; the last is scored.
    :param val_windows: how many windows that are at most, evenly spread over all clips.
    :param label_size: height and width of the dense labels.
    :param hidden_handles: teach mugs whose handle is hidden as symmetric: their turn cannot be seen.
    :param workers: loader processes for each training process, and as many for its validation.
    """

    root: str = "out/data"
    train: tuple[SetConfig, ...] = (SetConfig("train"),)
    val: tuple[SetConfig, ...] = (SetConfig("val"),)
    val_frames: int = 3
    val_windows: int = 1000
    label_size: tuple[int, int] = (48, 64)
    hidden_handles: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    workers: int = 1

    def __post_init__(self) -> None:
        if not self.train or not self.val:
            raise ValueError(f"train has {len(self.train)} sets and val {len(self.val)}; each needs at least one")
        at_least(1, val_frames=self.val_frames, val_windows=self.val_windows)
        at_least(0, workers=self.workers)
        if min(self.label_size) < 1:
            raise ValueError(f"label_size is {list(self.label_size)}; both must be at least 1")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; rates are scaled by linear warm-up and then a cosine down to ``final_rate``.

    :param encoder_rate: learning rate of the encoder relative to the rest.
    :param backbone_rate: learning rate of the encoder's pretrained backbone relative to the rest of the encoder.
    :param layer_decay: rate of each encoder block relative to the block after it; the stem's is the lowest. 1 = equal.
    :param ema: decay of the averaged weights that are validated and saved; 0 = no averaging.
    """

    learning_rate: float = 1e-3
    encoder_rate: float = 1.0
    backbone_rate: float = 1.0
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
        at_least(0, encoder_rate=self.encoder_rate, backbone_rate=self.backbone_rate)
        at_least(0, weight_decay=self.weight_decay, warmup_steps=self.warmup_steps)
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
    """What trains. Under torchrun and SLURM their own numbers of processes and nodes hold (see train.fit.distributed).

    :param devices: processes on each node: one a GPU, or on the CPU as many as there shall be.
    :param strategy: of Lightning; auto = one process alone, several by DDP.
    :param compile: let torch.compile make kernels of the encoder and of the query network; pays on GPUs, after minutes.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        at_least(1, devices=self.devices, num_nodes=self.num_nodes)


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    :param stages: what the batches hold, one after the other; the last one's end is the end of training.
    :param init_from: checkpoint whose weights the run starts from (name, folder or file); None = random ones.
    :param init_parts: the parts of the network that ``init_from`` gives (encoder, fusion, dense_heads, centre_head,
        reduce, layers, heads, …); the others start from random weights. Empty = all of it.
    :param frozen_parts: the parts of the network that are not trained.
    :param gradient_through_window: whether gradients pass through the memory from frame to frame of a clip.
    :param accumulate: parts of a batch that go through the network one after the other, to save device memory.
        The losses of a part are means over its own objects: an object weighs the more, the fewer share its part.
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
        at_least(1, accumulate=self.accumulate, val_every=self.val_every, save_every=self.save_every)
        at_least(0, seed=self.seed)
        if not self.stages:
            raise ValueError("stages is empty; training needs at least one")
        ends = [stage.until_step for stage in self.stages if stage.until_step is not None]
        if any(end <= start for start, end in pairwise(ends)):
            raise ValueError(f"stages end at steps {', '.join(map(str, ends))}; each must end later than the last")
        if self.init_parts and not self.init_from:
            raise ValueError(f"init_parts is {list(self.init_parts)}, but init_from names no checkpoint")

    @property
    def max_steps(self) -> int:
        """The step after the last. :raises ValueError: while stages are given in epochs, before the data is open."""
        end = self.stages[-1].until_step
        if end is None:
            raise ValueError("the stages are given in epochs; how many steps that makes is known once the data is open")
        return end


def expand_encoder_size(config: TrainConfig) -> TrainConfig:
    """The same with every number written out that the name of an encoder's size stands for."""
    return replace(config, model=replace(config.model, encoder=config.model.encoder.resolved()))


def load(path: str | Path) -> TrainConfig:
    """Read a training configuration.

    Its ``model`` stands in it, or is the name of a model file, relative to this one. A model that is another one but
    for some values has that one's file under ``from``, and these values beside it.

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
    """The plain data of the model file that ``path`` names."""
    file = path.parent / str(name)
    if not file.is_file():
        raise config_io.ConfigError(f"{path}: model is {name!r}, but there is no file {file}")
    SeqPoseConfig.from_yaml(file)  # a fault in it is reported as its own
    data: dict[str, Any] = _read(file)
    return data
