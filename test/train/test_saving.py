# SPDX-License-Identifier: Apache-2.0
"""Saving: averaged weights on the training device, and atomic checkpoint files."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny import tiny_config
from training_rig import small_training

from seqpose_core import checkpoint
from train.data.sampler import Stage
from train.export import export
from train.fit.callbacks import AtomicCheckpointIO, AveragedWeights, ExportBest
from train.fit.config import OptimizerConfig, TrainConfig
from train.fit.module import SeqPoseModule
from train.fit.run import fit, make_trainer

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return small_training(
        tmp_path_factory.mktemp("data"),
        optimizer=OptimizerConfig(warmup_steps=1, ema=0.75),
        stages=(Stage(3, 1, 2),),
        val_every=2,
        save_every=100,
    )


class Watch(Callback):
    """Keeps the weights after every step, and those in best/ after every validation."""

    def __init__(self, best: Path) -> None:
        self.best, self.trained, self.validated = best, list[Weights](), list[Weights]()

    def on_train_batch_end(self, _: Any, module: Any, *__: Any) -> None:
        self.trained.append({name: p.detach().clone() for name, p in module.model.named_parameters()})

    def on_validation_end(self, *_: Any) -> None:
        self.validated.append(read(self.best))


def read(folder: Path) -> Weights:
    return {name: p.detach() for name, p in checkpoint.load(folder).named_parameters()}


def distance(one: Weights, other: Weights) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_best_and_the_exported_end_hold_the_averaged_weights(config: TrainConfig, tmp_path: Path) -> None:
    watch = Watch(tmp_path / "run/best")
    fit(config, tmp_path / "run", progress=False, callbacks=[watch])
    first, second, third = watch.trained
    # The average begins with the first step's weights; each later step counts a quarter.
    after_two = {name: 0.75 * first[name] + 0.25 * second[name] for name in first}
    after_three = {name: 0.75 * after_two[name] + 0.25 * third[name] for name in first}
    middle, *ends = watch.validated
    assert distance(second, after_two) > 1e-4 and distance(third, after_three) > 1e-4
    assert distance(middle, after_two) < 1e-6
    assert ends and all(distance(end, after_three) < 1e-6 for end in ends)
    export(tmp_path / "run", tmp_path / "last")
    assert distance(read(tmp_path / "last"), after_three) < 1e-6


def test_a_resumed_run_keeps_the_best_model_that_was_validated_after_its_checkpoint(tmp_path: Path) -> None:
    module = SeqPoseModule(TrainConfig(model=tiny_config()))
    bias = "heads.0.classify.bias"

    def validate(callback: ExportBest, value: float) -> float:
        torch.nn.init.constant_(dict(module.model.named_parameters())[bias], value)
        state = SimpleNamespace(
            callback_metrics={"val": torch.tensor(value)}, sanity_checking=False, is_global_zero=True
        )
        callback.on_validation_end(cast(lightning.Trainer, state), module)
        return float(read(tmp_path / "best")[bias][0])

    started = ExportBest(tmp_path / "best", "val", averaging=None)
    assert validate(started, 30.0) == 30.0
    saved = started.state_dict()  # of a step with a validation: last.ckpt is written before it
    assert validate(started, 40.0) == 40.0
    resumed = ExportBest(tmp_path / "best", "val", averaging=None)
    resumed.load_state_dict(saved)
    assert validate(resumed, 35.0) == 40.0
    assert validate(resumed, 45.0) == 45.0


def test_averaged_weights_are_on_the_device_of_the_strategy() -> None:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.Linear(2, 3)

    module, averaging = Module(), AveragedWeights(decay=0.5)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")))
    averaging.setup(trainer, module, "fit")
    assert {p.device.type for p in averaging.network.parameters()} == {"meta"}
    assert {p.device.type for p in module.parameters()} == {"cpu"}


@contextmanager
def disk_for(size: int) -> Iterator[None]:
    """Limits the size of files to ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_interrupted_checkpoint_leaves_the_previous_one(tmp_path: Path) -> None:
    path = tmp_path / "run/last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1, "weights": torch.zeros(100_000)}, path)
    with disk_for(50_000), pytest.raises((OSError, RuntimeError)):
        AtomicCheckpointIO().save_checkpoint({"step": 2, "weights": torch.zeros(100_000)}, path)
    assert torch.load(path, weights_only=True)["step"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    AtomicCheckpointIO().save_checkpoint({"step": 3, "weights": torch.zeros(100_000)}, path)
    assert torch.load(path, weights_only=True)["step"] == 3


def test_saving_does_not_use_the_temporary_folder(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It may be on another file system, from which files are copied, which is not atomic.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    trainer = make_trainer(config, tmp_path / "run", None, progress=False)
    trainer.strategy.save_checkpoint({"step": 1}, tmp_path / "run/last.ckpt")
    assert torch.load(tmp_path / "run/last.ckpt", weights_only=True) == {"step": 1}
