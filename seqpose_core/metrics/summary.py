# SPDX-License-Identifier: Apache-2.0
"""Measures results in every way there is, and says the figures as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.metrics.iou import IOU_KINDS, IouKind
from seqpose_core.metrics.nocs import evaluate
from seqpose_core.metrics.results import Result
from seqpose_core.metrics.run import Run
from seqpose_core.metrics.stability import Moment, stability


def measure(
    results: Sequence[Result],
    clips: Sequence[Sequence[Moment]],
    min_score: float = 0.3,
    kinds: Sequence[IouKind] = IOU_KINDS,
) -> Run:
    """Average precision by kind of IoU, recalls and medians above a score, and steadiness over time.

    :param results: as for :func:`seqpose_core.metrics.nocs.evaluate`.
    :param clips: the same frames in order, with estimates of ``min_score`` and more; empty if they form none.
    :raises ResultError: a result that cannot be scored; names the frame.
    :raises ValueError: clips whose stamps do not grow, or truths without instance numbers.
    """
    return Run(
        results=results,
        reports={kind: evaluate(results, kind) for kind in kinds},
        steadiness=stability(*clips) if clips else None,
        min_score=min_score,
    )


def plain_figures(run: Run) -> dict[str, Any]:
    """Plain numbers for JSON: "ap" by kind of IoU, "detections" by category and "all", "stability" or None."""
    return without_nan(
        {
            "ap": {kind: report.to_dict() for kind, report in run.reports.items()},
            "detections": {name or "all": run.detections.summary(name) for name in (None, *CATEGORY_NAMES)},
            "stability": run.steadiness.summary() if run.steadiness else None,
        }
    )


def without_nan(value: Any) -> Any:
    """The same with None for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
