# SPDX-License-Identifier: Apache-2.0
"""TrainConfig: everything that decides a training run; see config/train/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

from seqpose_core.losses.criterion import CriterionConfig
from seqpose_core.model.config import SeqPoseConfig
from train.data.augment import Augmentation
from train.data.loader import Stage


@dataclass(frozen=True)
class DataConfig:
    """Where the clips are.

    :param root: folder in the NOCS layout. :param train_split, val_split: folders in it.
    :param label_size: height and width of the dense labels.
    :param hidden_handles: teach mugs whose handle is hidden as symmetric: their turn cannot be seen.
    """

    root: str = "out/data"
    train_split: str = "train"
    val_split: str = "val"
    label_size: tuple[int, int] = (48, 64)
    hidden_handles: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    workers: int = 1


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW; rates are scaled by linear warm-up and then a cosine down to ``final_rate``.

    :param encoder_rate: learning rate of the encoder relative to the rest.
    :param ema: decay of the averaged weights that are validated and saved; 0 = no averaging.
    """

    learning_rate: float = 1e-3
    encoder_rate: float = 1.0
    weight_decay: float = 0.05
    beta2: float = 0.98
    clip_norm: float = 5.0
    warmup_steps: int = 300
    final_rate: float = 0.02
    ema: float = 0.998


@dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    :param stages: what the batches hold until which step; the last one's end is the end of training.
    :param init_from: checkpoint whose weights the run starts from (name, folder or file); None = random ones.
    :param gradient_through_window: whether gradients pass through the memory from frame to frame.
    :param val_every, save_every: steps between validations and between checkpoints.
    """

    model: SeqPoseConfig = field(default_factory=SeqPoseConfig)
    criterion: CriterionConfig = field(default_factory=CriterionConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    stages: tuple[Stage, ...] = (Stage(1000, 1, 16),)
    init_from: str | None = None
    gradient_through_window: bool = False
    precision: str = "32-true"
    seed: int = 0
    val_every: int = 500
    save_every: int = 200

    @property
    def max_steps(self) -> int:
        return self.stages[-1].until_step
