# SPDX-License-Identifier: Apache-2.0
"""One evaluation: the scored runs and what tables and reports state about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seqpose_core.evaluation.scored_run import ScoredRun
from seqpose_core.evaluation.views import LoadViews, no_views


@dataclass(frozen=True)
class Evaluation:
    """Scored runs on one data set.

    :param subject: what is evaluated, such as "seqpose-lite2"; part of every title.
    :param dataset: the data that the figures were measured on, such as "synthetic renders, split test".
    :param runs: by name, such as "single" and "multi", or methods; scored on the same frames, in the same order.
    :param facts: further names and values for the head of a report, such as the checkpoint's hash.
    :param paper_rows: rows of papers on the same data: method, the cells of :data:`tables.AP_HEAD`, kind of IoU.
    :param skipped: frames or files that could not be used, with the reason.
    :param load_views: returns images and cameras of the frames that a report shows.
    """

    subject: str
    dataset: str
    runs: Mapping[str, ScoredRun]
    facts: Mapping[str, str] = field(default_factory=dict)
    paper_rows: Sequence[Sequence[str]] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    load_views: LoadViews = no_views

    @property
    def title(self) -> str:
        """Title of a report."""
        return f"SeqPose evaluation: {self.subject}"

    @property
    def skipped_examples(self) -> str:
        """The first five of :attr:`skipped` with their reasons, as one line."""
        first = [f"{name} ({reason})" for name, reason in list(self.skipped.items())[:5]]
        return "; ".join(first) + ("; …" if len(self.skipped) > 5 else "")
