# SPDX-License-Identifier: Apache-2.0
"""Score results: average precision, recalls and errors, stability over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seqpose_core.categories import CATEGORIES, Category
from seqpose_core.evaluation.clips import group_clips
from seqpose_core.evaluation.scored_run import ScoredRun
from seqpose_core.metrics.iou import IOU_KINDS, IouKind
from seqpose_core.metrics.nocs import evaluate
from seqpose_core.metrics.results import Result
from seqpose_core.metrics.stability import stability


@dataclass(frozen=True)
class ScoringOptions:
    """How results are scored.

    :param iou_kinds: average precision is computed for each of them.
    :param recall_score: predictions below it are left out of everything but average precision; None = the threshold of
        each category.
    :param categories: the categories that are evaluated.
    :raises ValueError: recall_score is not within 0..1.
    """

    iou_kinds: tuple[IouKind, ...] = IOU_KINDS
    recall_score: float | None = None
    categories: tuple[Category, ...] = CATEGORIES

    def __post_init__(self) -> None:
        if self.recall_score is not None and not 0 <= self.recall_score <= 1:
            raise ValueError(f"recall_score is {self.recall_score}; it must lie in 0..1")


def score_results(results: Sequence[Result], options: ScoringOptions) -> ScoredRun:
    """Average precision by kind of IoU, recalls and medians above a score, and stability over time.

    :param results: as for :func:`seqpose_core.metrics.nocs.evaluate`.
    :raises ResultError: a result that cannot be scored; names the frame.
    """
    clips, reason = group_clips(results, options.recall_score, options.categories)
    return ScoredRun(
        results=results,
        ap_reports={kind: evaluate(results, kind, categories=options.categories) for kind in options.iou_kinds},
        stability=stability(*clips, categories=options.categories) if clips else None,
        no_stability=reason,
        min_score=options.recall_score,
        categories=options.categories,
    )
