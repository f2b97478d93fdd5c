# SPDX-License-Identifier: Apache-2.0
"""``python -m train.calibrate``: calibrate the scores of a checkpoint and choose the thresholds of its categories.

    python -m train.calibrate --checkpoint out/fit/lite/best --data out/data --split val --out out/fit/lite/calibrated

A detection is correct if an object of its category lies within 20 cm. A logistic curve per category maps the score to
the share of correct detections, and becomes part of the last class layer. The threshold of a category is the lowest
score from which on at least ``--precision`` of the detections are correct, or the one that keeps a share of ``--keep``
of its correct detections, if that is lower; but never below 0.5, so that no reported detection is more likely wrong
than right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit

from seqpose_core import checkpoint, weights
from seqpose_core.command_line import command_parser
from seqpose_core.metrics.errors import matched_predictions
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.weights import CheckpointError
from train.evaluate.predict import PredictionJob, predict
from train.evaluate.result_files import read_results

_MIN_SCORE = 0.003
#: Few detections of a category must not produce an extreme curve: weight of the prior "unchanged", in detections.
_PRIOR = 5.0
_CLIP = 1e-6
_LOWEST_THRESHOLD = 0.5


@dataclass(frozen=True)
class ScoreCurve:
    """The calibrated score of a category is sigmoid(scale · logit(score) + shift), from ``threshold`` on reported.

    :param detections, correct: what it was fitted to. :param kept: share of the correct ones above the threshold.
    :param precision: share of correct detections above the threshold.
    """

    scale: float
    shift: float
    threshold: float
    detections: int
    correct: int
    kept: float
    precision: float


def fit_curve(score: np.ndarray, correct: np.ndarray, precision: float, keep: float) -> ScoreCurve:
    """The curve of one category by Platt's method, and its threshold.

    :param score: (N,) in 0..1. :param correct: (N,) bool. :param precision, keep: of the threshold, 0..1.
    """
    x, y = logit(np.clip(score, _CLIP, 1 - _CLIP)), correct.astype(float)

    def loss(values: np.ndarray) -> float:
        z = np.exp(values[0]) * x + values[1]  # the scale stays positive: the order of the scores is kept
        return float(np.logaddexp(0, z).sum() - (y * z).sum() + _PRIOR * (values**2).sum() / 2)

    log_scale, shift = minimize(loss, np.zeros(2), method="BFGS").x
    scale = float(np.exp(log_scale))
    calibrated = expit(scale * x + shift)
    threshold = _LOWEST_THRESHOLD  # if nothing is correct, the calibrated scores are far below it
    if correct.any():
        threshold = precision_threshold(calibrated, correct, precision)
        threshold = min(threshold, float(np.quantile(calibrated[correct], 1 - keep, method="lower")))
    # Rounded down, so that the detection that defines the threshold is reported.
    threshold = max(_LOWEST_THRESHOLD, float(np.floor(threshold * 1e3) / 1e3))
    reported = correct[calibrated >= threshold]
    count = int(correct.sum())
    kept, share = reported.sum() / max(1, count), reported.mean() if len(reported) else 0.0
    return ScoreCurve(scale, float(shift), threshold, len(score), count, float(kept), float(share))


def precision_threshold(score: np.ndarray, correct: np.ndarray, precision: float) -> float:
    """The lowest score from which on the share of correct detections is at least ``precision``, 1 if there is none."""
    order = np.argsort(-score, kind="stable")
    share = np.cumsum(correct[order]) / np.arange(1, len(score) + 1)
    good = np.flatnonzero(share >= precision)
    return float(score[order][good[-1]]) if len(good) else 1.0


def calibrated_model(model: SeqPose, curves: Sequence[ScoreCurve]) -> SeqPose:
    """A copy of the model with the curves in its last class layer and the thresholds in its configuration."""
    categories = tuple(
        replace(category, score_threshold=curve.threshold)
        for category, curve in zip(model.config.categories, curves, strict=True)
    )
    result = SeqPose(replace(model.config, categories=categories)).eval()
    result.load_state_dict(model.state_dict())
    layer = result.heads[-1].classify
    assert isinstance(layer, torch.nn.Linear)
    scale, shift = (torch.tensor([getattr(curve, name) for curve in curves]) for name in ("scale", "shift"))
    with torch.no_grad():
        layer.weight.mul_(scale[:, None])
        layer.bias.mul_(scale).add_(shift)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, help="bundled name, folder or file")
    parser.add_argument("--data", type=Path, required=True, help="root of a data set in the NOCS layout")
    parser.add_argument("--split", default="val", help="held out from training and testing (default: %(default)s)")
    parser.add_argument("--precision", type=float, default=0.9, help="of each category (default: %(default)s)")
    parser.add_argument("--keep", type=float, default=0.5, help="of the correct detections (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the calibrated checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that predict (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("precision", "keep"):
        if not 0 < getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; it must lie between 0 and 1")
    try:
        _calibrate(options)
    except (CheckpointError, ValueError, OSError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 1
    return 0


def _calibrate(options: argparse.Namespace) -> None:
    name, out = options.checkpoint, options.out
    model = checkpoint.load(name)
    job = PredictionJob(
        name,
        options.data,
        options.split,
        out / "predictions",
        "single",
        min_score=_MIN_SCORE,
        device=options.device,
    )
    paths, _ = predict(job, options.workers)
    results, _ = read_results(paths)
    category, score, correct = matched_predictions(results, categories=model.config.categories)
    curves = []
    for entry in model.config.categories:
        chosen = category == entry.id
        curve = fit_curve(score[chosen], correct[chosen], options.precision, options.keep)
        curves.append(curve)
        print(
            f"{entry.name}: {curve.correct} of {curve.detections} detections correct; threshold {curve.threshold:.3f} "
            f"keeps {100 * curve.kept:.0f} % of them at a precision of {100 * curve.precision:.0f} %"
        )
    half = all(
        tensor.dtype == torch.float16 for tensor in weights.read(checkpoint.resolve(name) / checkpoint.WEIGHTS).values()
    )
    checkpoint.save(calibrated_model(model, curves), out, torch.float16 if half else torch.float32)
    print(f"written to {out}")


if __name__ == "__main__":
    sys.exit(main())
