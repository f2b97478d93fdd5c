# SPDX-License-Identifier: Apache-2.0
"""From results to scored runs, printed tables, metrics files and reports: one path for data sets and bags."""

from seqpose_core.evaluation.evaluation import Evaluation
from seqpose_core.evaluation.scored_run import ScoredRun, frame_key
from seqpose_core.evaluation.scoring import ScoringOptions, score_results
from seqpose_core.evaluation.views import LoadViews, View, no_views

__all__ = ["Evaluation", "LoadViews", "ScoredRun", "ScoringOptions", "View", "frame_key", "no_views", "score_results"]
