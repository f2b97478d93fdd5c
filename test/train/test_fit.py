# SPDX-License-Identifier: Apache-2.0
"""A training run: resuming, checkpoints, validation and the report of broken frames."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import targets, tiny_config
from training_rig import small_training

from seqpose_core import PoseEstimator, config_io
from seqpose_core.metrics.errors import match_detections
from seqpose_core.model.pose_head import ObjectPrediction
from train.benchmarks.loader import measure_rates
from train.data.sampler import Stage
from train.export import export
from train.fit.__main__ import main
from train.fit.batches import Batches
from train.fit.config import OptimizerConfig, TrainConfig
from train.fit.module import SeqPoseModule, nocs_results
from train.fit.run import fit


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    model = tiny_config()
    return small_training(
        tmp_path_factory.mktemp("data"),
        # Denoising queries draw random numbers in each step.
        model=replace(model, queries=replace(model.queries, denoising=1)),
        optimizer=OptimizerConfig(warmup_steps=2, ema=0.5),
        # Random windows, then a walk through three clips with the memory kept between steps.
        stages=(Stage(1, 2, 2), Stage(6, 1, 2, streaming=True)),
        val_every=100,
        save_every=3,
    )


def weights(module: SeqPoseModule) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.model.named_parameters()}


def test_a_resumed_run_equals_an_uninterrupted_run(config: TrainConfig, tmp_path: Path) -> None:
    uninterrupted = weights(fit(config, tmp_path / "uninterrupted", progress=False))
    # The same schedule, stopped by the time limit at the end of the first stage and twice within the walk.
    for step in range(1, 4):
        fit(config, tmp_path / "cut", hours=0.0, progress=False)
        assert torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)["global_step"] == step
    resumed = weights(fit(config, tmp_path / "cut", progress=False))
    for name, value in uninterrupted.items():
        torch.testing.assert_close(resumed[name], value, atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_the_best_model_of_a_run_in_half_precision_is_a_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    short = replace(config, stages=(Stage(2, 1, 2),), val_every=2, precision="bf16-mixed", accumulate=2)
    fit(short, tmp_path, progress=False)
    estimator = PoseEstimator.from_pretrained(tmp_path / "best")
    assert estimator.config == config.model
    # The last step is saved although save_every is larger.
    assert export(tmp_path, tmp_path / "last") == 2


def test_validation_batches_do_not_depend_on_the_number_of_loader_processes(config: TrainConfig) -> None:
    one = replace(config, data=replace(config.data, workers=1))
    loader, alone = Batches(one).val_dataloader(), Batches(config).val_dataloader()
    assert (loader.num_workers, alone.num_workers) == (1, 0)
    batches, expected = list(loader), list(alone)
    assert len(batches) == len(expected) > 0
    for batch, own in zip(batches, expected, strict=True):
        assert batch.keys() == own.keys()
        for name in batch:
            torch.testing.assert_close(batch[name], own[name], rtol=0, atol=0, equal_nan=True)


def test_loading_and_training_are_timed_per_stage(config: TrainConfig) -> None:
    rates = list(measure_rates(config, batches=2, steps=1))
    assert [part.stage for part in rates] == list(config.stages)
    assert all(part.loaded > 0 and part.trained > 0 for part in rates)


def test_broken_frames_are_reported_at_the_end(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(config.data.root, tmp_path / "data")
    labels = [tmp_path / f"data/gts/val/results_val_00000_{frame:04d}.pkl" for frame in range(2)]
    for label in labels:
        label.unlink()
    one = replace(config, data=replace(config.data, root=str(tmp_path / "data")), stages=(Stage(1, 1, 1),))
    fit(one, tmp_path / "run", progress=False)
    assert (tmp_path / "run/broken.txt").read_text().splitlines() == [f"{label}: is missing" for label in labels]
    assert "2 broken frames were skipped" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [0, 1])
def test_the_command_names_the_first_broken_frame_if_no_clip_can_be_read(
    config: TrainConfig, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(config.data.root, tmp_path / "data")
    for label in (tmp_path / "data/gts/train").iterdir():
        label.unlink()
    data = replace(config.data, root=str(tmp_path / "data"), workers=workers)
    (tmp_path / "run.yaml").write_text(config_io.dump_yaml(replace(config, data=data)))
    with pytest.raises(SystemExit) as stop:
        main(["--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")])
    (line,) = str(stop.value).splitlines()
    assert line.startswith("fit: no clip has 2 readable frames; the first of ") and line.endswith("pkl: is missing")


def test_the_command_explains_clips_that_are_too_short(config: TrainConfig, tmp_path: Path) -> None:
    long = replace(config, stages=(Stage(1, 9, 2),))
    (tmp_path / "run.yaml").write_text(config_io.dump_yaml(long))
    with pytest.raises(SystemExit, match=r"fit: .*clips of 9 frames; the longest has 4"):
        main(["--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frozen_parts": ("fusion",)}, "frozen_parts names 'fusion', but its weights would be random"),
        ({"frozen_parts": ("fusoin",)}, "frozen_parts names 'fusoin'; did you mean 'fusion'"),
        ({"init_from": "seqpose-lite2", "init_parts": ("layres",)}, "init_parts names 'layres'; did you mean 'layers'"),
        ({"init_from": "nowhere"}, "checkpoint 'nowhere': nowhere/model.safetensors does not exist"),
    ],
)
def test_the_command_ends_with_one_sentence_if_initial_weights_do_not_fit(
    change: dict[str, Any], message: str, config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(config_io.dump_yaml(replace(config, **change)))
    with pytest.raises(SystemExit) as stop:
        main(["--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")])
    (line,) = str(stop.value).splitlines()
    assert line.startswith(f"fit: {message}")


def test_validation_measures_the_shift_of_a_shifted_prediction() -> None:
    ground_truth = targets(2, [3, 0])
    logits = torch.full((2, 5, 6), -20.0)
    logits[0, torch.arange(3), ground_truth.classes[0, :3]] = 20.0
    shifted = ground_truth.translation + torch.tensor([0.03, 0.0, 0.0])
    prediction = ObjectPrediction(logits, shifted, ground_truth.rotation, ground_truth.size, torch.zeros(2, 5, 6))
    errors = match_detections(nocs_results(prediction, ground_truth), min_score=0.1, radius=0.3)
    assert errors.centimetres.tolist() == pytest.approx([3.0] * 3, abs=1e-3)
    assert errors.degrees.tolist() == pytest.approx([0.0] * 3, abs=0.1)
    assert errors.size_error.tolist() == pytest.approx([0.0] * 3, abs=1e-5)
    assert sum(errors.false_positives.values()) == 0
