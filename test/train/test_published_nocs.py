# SPDX-License-Identifier: Apache-2.0
"""REAL275 as published, in miniature: all commands give the figures of the same frames in our own layout."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nocs_miniature import write_nocs_miniature, write_own_layout
from tiny import tiny_config, tiny_model

from seqpose_core import checkpoint
from seqpose_ros.bags.bag import Bag
from train import to_bag
from train.data import NocsClips, open_layout
from train.data.clips import ClipSample
from train.data.sampler import Stage
from train.evaluate import __main__ as evaluate
from train.evaluate.sets import open_set
from train.fit.config import ComputeConfig, DataConfig, OptimizerConfig, SetConfig, TrainConfig
from train.fit.run import fit

FRAMES = 3


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The published form, and the same frames in our own layout."""
    published, own = (tmp_path_factory.mktemp("data") / name for name in ("published", "own"))
    solids = write_nocs_miniature(published, frames=FRAMES, relabelled=False)
    for split in ("real_test", "real_train"):
        write_own_layout(published, own, split, solids[split])
    return published, own


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.save(tiny_model(), tmp_path_factory.mktemp("checkpoint") / "tiny")


def test_both_forms_have_the_same_frames(roots: tuple[Path, Path]) -> None:
    published, own = (list(open_layout(root, "real_test").frames(0)) for root in roots)
    assert len(published) == FRAMES
    for frame, other in zip(published, own, strict=True):
        assert (frame.camera, frame.stamp, frame.camera_pose) == (other.camera, other.stamp, other.camera_pose)
        for key, value in frame.ground_truth().items():
            np.testing.assert_allclose(value, other.ground_truth()[key], atol=1e-9, err_msg=key)
    assert open_set(roots[0], "real_test").name == f"part of REAL275 ({FRAMES} of 2750 frames)"
    assert open_set(roots[1], "real_test").name == "own, split real_test"


def test_evaluation_gives_the_same_figures(roots: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    figures = []
    for root in roots:
        out = tmp_path / root.name
        arguments = ["--checkpoint", str(weights), "--data", str(root), "--split", "real_test", "--out", str(out)]
        evaluate.main([*arguments, "--frames", "single", "multi", "--workers", "1", "--min-score", "0"])
        figures.append(json.loads((out / "metrics.json").read_text()))
    assert figures[0].pop("data") != figures[1].pop("data")
    assert figures[0] == figures[1]
    assert figures[0]["skipped"] == {} and figures[0]["ap"]["multi oriented"]["frames"] == FRAMES
    assert figures[0]["ap"]["multi oriented"]["ground_truths"]["mug"] == FRAMES


def test_bags_have_the_same_content_and_figures(
    roots: tuple[Path, Path], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rclpy")
    from seqpose_ros import evaluate_bag

    scenes = (roots[0] / "real/test/scene_1", roots[1] / "real_test/scene_1")
    bags = [tmp_path / root.name / "bag" for root in roots]
    for scene, bag in zip(scenes, bags, strict=True):
        to_bag.main([str(scene), "--out", str(bag)])
        assert f"{FRAMES} frames, " in capsys.readouterr().out
    with Bag(bags[0]) as published, Bag(bags[1]) as own:
        for frame, other in zip(published.frames(), own.frames(), strict=True):
            assert (frame.stamp, frame.camera) == (other.stamp, other.camera)
            np.testing.assert_array_equal(frame.image, other.image)
            for item, same in zip(frame.ground_truth or [], other.ground_truth or [], strict=True):
                np.testing.assert_allclose(item.transform, same.transform, atol=1e-9)
                np.testing.assert_allclose(item.size, same.size, atol=1e-9)
    reports = []
    for bag in bags:
        out, options = bag.parent / "report", ("--min-score", "0", "--runtime", "eager")
        assert evaluate_bag.main([str(bag), "--checkpoint", str(weights), "--out", str(out), *options]) == 0
        reports.append(json.loads((out / "report.json").read_text()))
        del reports[-1]["step_ms"]
    assert reports[0] == reports[1] and reports[0]["frames_processed"] == FRAMES


def train(
    root: Path, out: Path, part: SetConfig, val: SetConfig
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Weights and logged values of a short training of the tiny network."""
    config = TrainConfig(
        model=tiny_config(),
        data=DataConfig(
            root=str(root), train=(part,), val=(val,), label_size=(24, 32), workers=0, aligned_cache=str(out / "cache")
        ),
        optimizer=OptimizerConfig(warmup_steps=1),
        compute=ComputeConfig(accelerator="cpu"),
        stages=(Stage(4, 1, 1, streaming=True),),
        val_every=2,
    )
    module = fit(config, out, progress=False)
    with next(out.glob("csv/*/metrics.csv")).open() as file:
        return {name: p.detach().clone() for name, p in module.model.named_parameters()}, list(csv.DictReader(file))


def test_training_gives_the_same_weights_and_figures(roots: tuple[Path, Path], tmp_path: Path) -> None:
    part = SetConfig("real_test")
    (weights, logged), (other_weights, other_logged) = (train(r, tmp_path / r.name, part, part) for r in roots)
    for name, value in weights.items():
        torch.testing.assert_close(value, other_weights[name], atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    for row, other in zip(logged, other_logged, strict=True):
        assert row.keys() == other.keys()
        for key in row:
            assert (row[key] == "") == (other[key] == "")
            if row[key]:
                assert float(row[key]) == pytest.approx(float(other[key]), rel=1e-4, abs=1e-6, nan_ok=True), key


def test_aligned_labels_train_on_the_rendered_poses(roots: tuple[Path, Path], tmp_path: Path) -> None:
    """The targets of real_train, which has no published labels, against the poses that it was rendered with."""
    published = open_layout(roots[0], "real_train", "aligned", aligned_cache=tmp_path / "cache")
    item = ClipSample(0, tuple(range(FRAMES)), 0)
    sample, expected = (NocsClips([layout])[item] for layout in (published, open_layout(roots[1], "real_train")))
    for key in ("image", "classes", "instance", "segmentation", "visible_pixels", "symmetric"):
        assert torch.equal(sample[key], expected[key]), key
    torch.testing.assert_close(sample["translation"], expected["translation"], atol=1e-3, rtol=0)
    torch.testing.assert_close(sample["size"], expected["size"], atol=0, rtol=0.006)
    torch.testing.assert_close(sample["rotation"], expected["rotation"], atol=0.005, rtol=0)
    _, logged = train(roots[0], tmp_path / "run", SetConfig("real_train", labels="aligned"), SetConfig("real_test"))
    counts = {row[key] for row in logged for key in ("data/broken_frames", "data/unlabelled_objects") if row[key]}
    assert counts == {"0.0"} and len(list((tmp_path / "run/cache").rglob("*.json"))) == FRAMES
