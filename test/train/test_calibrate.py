# SPDX-License-Identifier: Apache-2.0
"""train.calibrate: scores become the share of correct detections, thresholds give a precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nocs_tree import write_tree
from scipy.special import expit, logit
from tiny import frames, tiny_model

from seqpose_core import checkpoint
from train.calibrate import ScoreCurve, calibrated_model, fit_curve, main, precision_threshold


def test_the_threshold_is_the_lowest_score_with_the_precision() -> None:
    score, correct = np.array([0.9, 0.6, 0.8, 0.7]), np.array([True, True, True, False])
    # In descending order: correct, correct, wrong, correct; precision 1, 1, 2/3, 3/4.
    assert precision_threshold(score, correct, 0.9) == 0.8
    assert precision_threshold(score, correct, 0.75) == 0.6


def test_the_threshold_is_1_if_no_score_reaches_the_precision() -> None:
    assert precision_threshold(np.array([0.9, 0.8]), np.array([False, False]), 0.5) == 1.0


def test_the_curve_inverts_a_known_distortion_of_scores() -> None:
    random = np.random.default_rng(0)
    truly = random.uniform(0.02, 0.98, 20_000)
    correct = random.random(len(truly)) < truly
    distorted = expit((logit(truly) - 0.8) / 1.5)  # so that 1.5 · logit + 0.8 restores the probability
    curve = fit_curve(distorted, correct, precision=0.9, keep=0.01)
    assert curve.scale == pytest.approx(1.5, rel=0.05)
    assert curve.shift == pytest.approx(0.8, abs=0.06)
    assert curve.precision == pytest.approx(0.9, abs=0.005)


def test_a_threshold_keeps_at_least_the_given_share_of_the_correct_detections() -> None:
    random = np.random.default_rng(1)
    score = random.random(2_000)
    correct = random.random(2_000) < 0.7  # the score means nothing: no threshold reaches a precision of 0.9
    curve = fit_curve(score, correct, precision=0.9, keep=0.5)
    assert 0.5 <= curve.kept < 0.52
    assert curve.precision == pytest.approx(0.7, abs=0.05)


def test_without_a_correct_detection_nothing_is_reported() -> None:
    score = np.linspace(0.01, 0.9, 200)
    curve = fit_curve(score, np.zeros(200, bool), precision=0.9, keep=0.5)
    assert curve.threshold == 0.5
    assert curve.scale > 0
    assert (expit(curve.scale * logit(score) + curve.shift) < 0.5).all()


def test_detections_that_are_more_likely_wrong_than_right_are_not_reported() -> None:
    score = np.repeat([0.2, 0.8], 1_000)
    correct = np.concatenate([np.arange(1_000) % 5 == 0, np.arange(1_000) % 5 > 0])  # 20 % and 80 % are correct
    # A precision of 45 % would be reached by reporting all, which includes those at 20 %.
    assert fit_curve(score, correct, precision=0.45, keep=0.9).threshold == pytest.approx(0.5)


def test_calibration_changes_the_scores_alone() -> None:
    model = tiny_model()
    curves = [ScoreCurve(1.0 + number, 0.5 - number, 0.1 * number, 10, 5, 0.5, 0.9) for number in range(6)]
    changed = calibrated_model(model, curves)
    before, after = model(*frames(2))[0].objects, changed(*frames(2))[0].objects
    reported = before.logits > -100  # others belong to invalid queries
    scale, shift = torch.arange(1.0, 7.0), 0.5 - torch.arange(6.0)
    torch.testing.assert_close(after.logits[reported], (before.logits * scale + shift)[reported])
    torch.testing.assert_close(after.translation, before.translation)
    torch.testing.assert_close(after.rotation, before.rotation)
    assert [c.score_threshold for c in changed.config.categories] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_the_command_writes_a_checkpoint_with_thresholds(tmp_path: Path) -> None:
    checkpoint.save(tiny_model(), tmp_path / "tiny", torch.float16)
    write_tree(tmp_path / "boxes", "val", clips=2, frames=2, height=84, width=112)
    arguments = ["--checkpoint", str(tmp_path / "tiny"), "--data", str(tmp_path / "boxes"), "--out"]
    assert main([*arguments, str(tmp_path / "new")]) == 0
    config = checkpoint.load(tmp_path / "new").config
    assert all(0 <= c.score_threshold <= 1 for c in config.categories)
    weights = checkpoint.weights.read(tmp_path / "new" / checkpoint.WEIGHTS)
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())


def test_a_missing_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", "seqpose-neno", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "calibrate: checkpoint 'seqpose-neno'" in capsys.readouterr().err
