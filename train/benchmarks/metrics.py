# SPDX-License-Identifier: Apache-2.0
"""``python -m train.benchmarks.metrics``: time the evaluation against a plain loop over pairs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from seqpose_core.categories import CATEGORIES
from seqpose_core.command_line import command_parser
from seqpose_core.metrics.ap_report import COLUMNS, ApReport
from seqpose_core.metrics.iou import IOU_KINDS, IouKind
from seqpose_core.metrics.nocs import evaluate
from train.benchmarks import reference_nocs

IOU_GRID = np.linspace(0, 1, 101).tolist()
POSE_GRID = (
    [(float(d), 100.0) for d in range(61)]
    + [(360.0, float(c)) for c in np.linspace(0, 15, 31)]
    + [t for t in COLUMNS.values() if isinstance(t, tuple)]
)


def random_results(
    frames: int, ground_truths: int = 5, predictions: int = 20, seed: int = 0, one_category: bool = False
) -> list[dict[str, Any]]:
    """Results of a simulated detector: some predictions near ground truth of their frame, the rest anywhere."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(frames):
        gt_ids = np.full(ground_truths, 1) if one_category else rng.integers(1, 7, ground_truths)
        gt, gt_scales = _poses(rng, gt_ids)
        target = rng.integers(0, ground_truths, predictions)
        spread = rng.choice([0.02, 0.1, 0.5], predictions)
        pred, scales = gt[target].copy(), gt_scales[target] * np.exp(0.3 * rng.normal(size=(predictions, 3)))
        rotation = Rotation.from_rotvec(rng.normal(size=(predictions, 3)) * spread[:, None]).as_matrix()
        pred[:, :3, :3] = rotation @ pred[:, :3, :3]
        pred[:, :3, 3] += rng.normal(size=(predictions, 3)) * spread[:, None] * 0.3
        out.append(
            {
                "gt_class_ids": gt_ids,
                "gt_RTs": gt,
                "gt_scales": gt_scales,
                "gt_handle_visibility": rng.integers(0, 2, ground_truths),
                "pred_class_ids": gt_ids[target],
                "pred_RTs": pred,
                "pred_scales": scales,
                "pred_scores": rng.random(predictions),
            }
        )
    return out


def _poses(rng: np.random.Generator, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.array([CATEGORIES[i - 1].typical_size for i in ids]) * rng.uniform(0.8, 1.2, (len(ids), 3))
    scale = np.linalg.norm(sizes, axis=1)
    out = np.tile(np.eye(4), (len(ids), 1, 1))
    rotation = Rotation.from_quat(rng.normal(size=(len(ids), 4))).as_matrix()
    out[:, :3, :3] = rotation * scale[:, None, None]
    out[:, :3, 3] = rng.normal(size=(len(ids), 3)) * [0.2, 0.15, 0.15] + [0, 0, 0.9]
    return out, sizes / scale[:, None]


def full_report(results: Sequence[dict[str, Any]], kind: IouKind) -> ApReport:
    """The paper's columns and all three curves of every category."""
    report = evaluate(results, kind)
    report.iou_curve()
    report.rotation_curve()
    report.translation_curve()
    return report


def main(argv: Sequence[str] | None = None) -> None:
    """Print seconds for each kind of IoU, and the factor over the plain loop on a part of the frames."""
    parser = command_parser(__doc__)
    parser.add_argument("--frames", type=int, default=2750, help="frames to evaluate (default: %(default)s)")
    parser.add_argument("--ground-truths", type=int, default=5, help="objects per frame (default: %(default)s)")
    parser.add_argument("--truths", dest="ground_truths", default=argparse.SUPPRESS, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--predictions", type=int, default=20, help="predictions per frame (default: %(default)s)")
    parser.add_argument(
        "--plain-frames",
        type=int,
        default=50,
        help="frames for the plain loop, scaled up (default: %(default)s)",
    )
    parser.add_argument(
        "--one-category", action="store_true", help="all objects are bottles: the most pairs and rotations"
    )
    parser.add_argument("--kinds", nargs="+", choices=IOU_KINDS, default=["original", "fixed"])
    args = parser.parse_args(argv)
    results = random_results(args.frames, args.ground_truths, args.predictions, one_category=args.one_category)
    print(
        f"{args.frames} frames, {args.ground_truths} ground-truth objects and {args.predictions} predictions each; "
        f"{len(IOU_GRID)} IoU and {len(POSE_GRID)} pose thresholds"
    )
    for kind in args.kinds:
        start = time.perf_counter()
        full_report(results, kind)
        seconds = time.perf_counter() - start
        line = f"{kind:9s} {seconds:8.2f} s"
        plain = {"original": reference_nocs.original_iou, "fixed": reference_nocs.fixed_iou}.get(kind)
        if plain is not None and args.plain_frames > 0:
            part = results[: args.plain_frames]
            start = time.perf_counter()
            reference_nocs.evaluate(part, plain, True, IOU_GRID, POSE_GRID)
            slow = (time.perf_counter() - start) * len(results) / len(part)
            line += f"   plain loop {slow:8.0f} s (from {len(part)} frames)   factor {slow / seconds:.0f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
