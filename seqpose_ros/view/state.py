# SPDX-License-Identifier: Apache-2.0
"""What the live page shows, and its tables as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from seqpose_core import ObjectPose
from seqpose_core.grasping import Grasp


@dataclass
class ViewState:
    """The latest messages of the node. Poses are in one frame.

    :param image: (H, W, 3) uint8 RGB with the objects drawn on it, None before the first one.
    :param selected: track id of the selected object. :param selection: its state: visible, hidden, lost or none.
    :param grasps: of the selected object, best first.
    :param plane: (4,) a, b, c, d of the support plane a x + b y + c z + d = 0, None if it is not known.
    :param diagnostics: key-value pairs. :param message: their summary.
    """

    image: np.ndarray | None = None
    objects: Sequence[ObjectPose] = ()
    selected: int | None = None
    selection: str = "none"
    grasps: Sequence[Grasp] = ()
    plane: np.ndarray | None = None
    diagnostics: dict[str, str] = field(default_factory=dict)
    message: str = "waiting for seqpose_node"


def position_sigma(item: ObjectPose) -> float:
    """Standard deviation of the position along its least certain direction, metres."""
    return float(np.sqrt(np.linalg.eigvalsh(item.covariance[:3, :3])[-1]))


def track_label(item: ObjectPose) -> str:
    """Category and track id, for example ``mug 7``."""
    return item.category if item.track_id is None else f"{item.category} {item.track_id}"


def track_table(state: ViewState) -> str:
    """HTML table of the objects: name, score, position with its standard deviation, size, on the plane or not."""
    rows = []
    for item in sorted(state.objects, key=track_label):
        selected = item.track_id is not None and item.track_id == state.selected
        x, y, z = (f"{round(100 * float(v))}" for v in item.translation)
        size = " × ".join(f"{100 * v:.0f}" for v in item.size)
        sigma, plane = f"± {100 * position_sigma(item):.1f}", "yes" if item.on_support else ""
        cells = [track_label(item), f"{item.score:.2f}", f"{x}, {y}, {z}", sigma, size, plane]
        row = "".join(f"<td style='padding:0 .5em .1em 0'>{escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr style='font-weight:{'bold' if selected else 'normal'}'>{row}</tr>")
    heads = "".join(
        f"<th style='text-align:left;padding-right:.5em'>{head}</th>"
        for head in ("object", "score", "x, y, z cm", "± cm", "size cm", "on plane")
    )
    note = f"<div>selected: {escape(state.selection)}</div>" if state.selection != "none" else ""
    return f"<table style='font-size:.8em'><tr>{heads}</tr>{''.join(rows)}</table>{note}"


def diagnostics_table(state: ViewState) -> str:
    """HTML table of the diagnostics, below their summary."""
    rows = "".join(
        f"<tr><td style='padding-right:.8em'>{escape(key)}</td><td>{escape(value)}</td></tr>"
        for key, value in state.diagnostics.items()
    )
    return f"<div style='font-size:.8em'><b>{escape(state.message)}</b><table>{rows}</table></div>"


def gripper_lines(grasp: Grasp, finger_depth: float) -> np.ndarray:
    """Segments (4, 2, 3) of a gripper at its grasp: two fingers, the palm, and the approach."""
    half = grasp.opening / 2
    tip, root, wrist = 0.0, -finger_depth, -finger_depth - 0.04
    local = np.array(
        [
            [[0, -half, tip], [0, -half, root]],
            [[0, half, tip], [0, half, root]],
            [[0, -half, root], [0, half, root]],
            [[0, 0, root], [0, 0, wrist]],
        ]
    )
    return local @ grasp.pose[:3, :3].T + grasp.pose[:3, 3]
