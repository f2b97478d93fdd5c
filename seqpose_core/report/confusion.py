# SPDX-License-Identifier: Apache-2.0
"""Confusion of categories, drawn as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from seqpose_core.report.plots import Picture, plot


def confusion_picture(run: str, counts: np.ndarray, categories: Sequence[str]) -> Picture:
    """The matrix (C + 1, C + 1) of :meth:`Pairing.confusion`: counts, shaded by their share of the row."""
    correct = int(np.trace(counts[:-1, :-1]))
    total, missed, false_positives = int(counts[:-1].sum()), int(counts[:-1, -1].sum()), int(counts[-1].sum())
    caption = (
        f"{run}: of {total} ground-truth objects {correct} were detected with the right category, "
        f"{total - missed - correct} with a wrong one, {missed} missed; {false_positives} false positives."
    )
    draw = partial(_draw, counts=counts, categories=categories, title=run)
    png = plot(draw, height=4.4, margins=(0.95, 0.85, 0.1, 0.35))
    return Picture(f"confusion {run}", png, caption, f"Matrix of ground truth by predicted category. {caption}")


def _draw(axes: Any, counts: np.ndarray, categories: Sequence[str], title: str) -> None:
    count = len(categories)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(counts.shape):
        if (i, j) != (count, count):  # neither ground truth nor prediction
            ink = "white" if share[i, j] > 0.55 else "#222222" if counts[i, j] else "#b0b0b0"
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=ink)
    axes.set_xticks(range(count + 1), (*categories, "missed"), rotation=35, ha="right")
    axes.set_yticks(range(count + 1), (*categories, "false\npositive"))
    axes.axhline(count - 0.5, color="#888888", linewidth=1)
    axes.axvline(count - 0.5, color="#888888", linewidth=1)
    axes.grid(False)
    axes.set(xlabel="predicted", ylabel="ground truth")
    axes.set_title(title, loc="left")
