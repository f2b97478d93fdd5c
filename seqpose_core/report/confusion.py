# SPDX-License-Identifier: Apache-2.0
"""Which categories are taken for which, drawn as a matrix."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.report.plots import Picture, plot

TRUTHS, PREDICTED = (*CATEGORY_NAMES, "false"), (*CATEGORY_NAMES, "missed")


def confusion_picture(run: str, counts: np.ndarray) -> Picture:
    """The matrix (7, 7) of :meth:`Pairing.confusion`: counts, shaded by their share of the row."""
    right = int(np.trace(counts[:-1, :-1]))
    all_truths, missed, false = int(counts[:-1].sum()), int(counts[:-1, -1].sum()), int(counts[-1].sum())
    wrong = all_truths - missed - right
    caption = (
        f"{run}: of {all_truths} truths {right} were found with the right category, {wrong} with a wrong one, "
        f"{missed} missed; {false} false."
    )
    png = plot(partial(_draw, counts=counts, title=run), height=4.4, margins=(0.9, 0.85, 0.1, 0.35))
    return Picture(f"confusion {run}", png, caption, f"Matrix of truths by predicted category. {caption}")


def _draw(axes: Any, counts: np.ndarray, title: str) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(counts.shape):
        if (i, j) != (len(CATEGORY_NAMES), len(CATEGORY_NAMES)):  # neither there nor predicted: nothing to count
            ink = "white" if share[i, j] > 0.55 else "#222222" if counts[i, j] else "#b0b0b0"
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=ink)
    axes.set_xticks(range(len(PREDICTED)), PREDICTED, rotation=35, ha="right")
    axes.set_yticks(range(len(TRUTHS)), TRUTHS)
    axes.axhline(len(CATEGORY_NAMES) - 0.5, color="#888888", linewidth=1)
    axes.axvline(len(CATEGORY_NAMES) - 0.5, color="#888888", linewidth=1)
    axes.grid(False)
    axes.set(xlabel="predicted", ylabel="truth")
    axes.set_title(title, loc="left")
