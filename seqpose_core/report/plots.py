# SPDX-License-Identifier: Apache-2.0
"""Plots as PNG bytes: matplotlib's Figure without pyplot or a window, the same bytes for the same numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seqpose_core.categories import Category

#: Colours of runs (Okabe and Ito's set, which colour-blind readers can distinguish).
RUN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
INK, FAINT = "#222222", "#9a9a9a"
#: Markers of categories, so that curves can be distinguished in print too.
_MARKERS = "osD^vPX<>*"

_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e4e4e4",
    "lines.linewidth": 1.7,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "svg.hashsalt": "seqpose",
}


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    :param name: its file name, in words. :param png: its bytes. :param caption: plain text below it, may be
        empty. :param alt: alternative text.
    """

    name: str
    png: bytes
    caption: str
    alt: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return "-".join(re.findall("[a-z0-9]+", self.name.lower())) + ".png"


@dataclass(frozen=True)
class LineStyle:
    """Colour, RGB 0..1, and marker of the lines of a category."""

    colour: tuple[float, ...]
    marker: str


def category_styles(categories: Sequence[Category]) -> dict[str, LineStyle]:
    """Line styles by category name."""
    return {
        c.name: LineStyle(tuple(v / 255 for v in c.colour), _MARKERS[index % len(_MARKERS)])
        for index, c in enumerate(categories)
    }


def plot(
    draw: Callable[..., None],
    panels: int = 1,
    columns: int = 1,
    width: float = 4.6,
    height: float = 3.7,
    margins: tuple[float, float, float, float] = (0.65, 0.95, 0.15, 0.35),
) -> bytes:
    """PNG of a figure drawn by ``draw(*axes)``.

    :param panels: rows of axes, with a common x axis if there is one column. :param columns: of axes, given row by row.
    :param width, height: inches. :param margins: inches left, below, right and above.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), dpi=160)
        FigureCanvasAgg(figure)
        left, below, right, above = margins
        grid = columns > 1
        axes: Any = figure.subplots(panels, columns, sharex=panels > 1 and not grid, squeeze=False).ravel()
        edges = left / width, below / height, 1 - right / width, 1 - above / height
        figure.subplots_adjust(*edges, hspace=0.45 if grid else 0.12, wspace=0.1 if grid else None)
        draw(*axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def legend_below(axes: Any, columns: int = 4) -> None:
    """Place the legend of axes at the lower edge of their figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.figure.legend(
            handles,
            labels,
            loc="lower center",
            ncols=columns,
            fontsize=8.5,
            columnspacing=1.0,
            handlelength=1.8,
            handletextpad=0.5,
            borderaxespad=0.3,
        )


def run_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each run."""
    return {name: RUN_COLOURS[index % len(RUN_COLOURS)] for index, name in enumerate(names)}
