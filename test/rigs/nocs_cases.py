# SPDX-License-Identifier: Apache-2.0
"""Synthetic NOCS results: frames of single boxes with known overlaps and errors."""

import numpy as np
from scipy.spatial.transform import Rotation

from seqpose_core.categories import CATEGORIES
from seqpose_core.evaluation import ScoredRun
from seqpose_core.metrics.ap_report import COLUMNS
from seqpose_core.metrics.nocs import evaluate

BOTTLE, BOWL, CAMERA, CAN, LAPTOP, MUG = range(1, 7)
PREFILTERED = ("original", "fixed")
POSE_COLUMNS = [name for name, threshold in COLUMNS.items() if isinstance(threshold, tuple)]


def pose(centre=(0.0, 0.0, 1.0), rotation=(0.0, 0.0, 0.0), scale=0.2):
    """(4, 4) object to camera, including scale; rotation is a rotation vector in degrees."""
    out = np.eye(4)
    out[:3, :3] = scale * Rotation.from_rotvec(rotation, degrees=True).as_matrix()
    out[:3, 3] = centre
    return out


def item(kind, rt=None, scales=(0.6, 0.6, 0.5), score=1.0, handle=1):
    """One object of :func:`frame`: ``kind`` is its class id, ``rt`` a :func:`pose`, ``scales`` extents over scale."""
    return {
        "kind": kind,
        "rt": pose() if rt is None else rt,
        "scales": scales,
        "score": score,
        "handle": handle,
    }


def frame(ground_truth=(), predictions=()):
    """The NOCS result of one frame with these items."""
    return {
        "gt_class_ids": np.array([t["kind"] for t in ground_truth], dtype=np.int32),
        "gt_RTs": np.array([t["rt"] for t in ground_truth]).reshape(-1, 4, 4),
        "gt_scales": np.array([t["scales"] for t in ground_truth], dtype=float).reshape(-1, 3),
        "gt_handle_visibility": np.array([t["handle"] for t in ground_truth]),
        "pred_class_ids": np.array([p["kind"] for p in predictions], dtype=np.int32),
        "pred_RTs": np.array([p["rt"] for p in predictions]).reshape(-1, 4, 4),
        "pred_scales": np.array([p["scales"] for p in predictions], dtype=float).reshape(-1, 3),
        "pred_scores": np.array([p["score"] for p in predictions], dtype=float),
    }


def far(x):
    """A pose 40 m away, which overlaps no other object; ``x`` in metres."""
    return pose((x, 0, 40.0))


def perfect(frames=4, seed=0):
    """Ground truth of all six categories, repeated as predictions."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(frames):
        ground_truth = [
            item(
                c.id,
                pose(
                    rng.normal(size=3) * 0.2 + [0, 0, 1],
                    180 * rng.random(3) / np.sqrt(3),
                    rng.uniform(0.1, 0.4),
                ),
                rng.uniform(0.3, 0.8, 3),
                handle=int(rng.integers(0, 2)),
            )
            for c in CATEGORIES
        ]
        out.append(frame(ground_truth, [dict(t, score=rng.random()) for t in ground_truth]))
    return out


def columns(results, kind, category="mean"):
    return evaluate(results, kind).columns(category)


def ap(results, kind, threshold, category="camera"):
    return evaluate(results, kind).average_precision(threshold, category)


def run_of(results, kinds=("oriented",), **options):
    """Results and their average precision, as the input of a report."""
    return ScoredRun(results, {kind: evaluate(results, kind) for kind in kinds}, **options)
