# SPDX-License-Identifier: Apache-2.0
"""Published figures of RGB-only methods on REAL275 and CAMERA25, with their kind of IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seqpose_core.evaluation.tables import number

REAL275, CAMERA25 = "REAL275", "CAMERA25"


@dataclass(frozen=True)
class PaperRow:
    """One method. ``values`` in percent in the order of IoU25 IoU50 IoU75 10cm 10° 10°10cm 10°5cm 5°5cm, None
    where not given; ``iou_kind`` as its code computes it, "?" where there is no code."""

    method: str
    values: tuple[float | None, ...]
    iou_kind: str


_N = None
ROWS: dict[str, tuple[PaperRow, ...]] = {
    REAL275: (
        PaperRow("Synthesis (ECCV'20)", (_N, _N, _N, 34.0, 14.2, 4.8, _N, _N), "?"),
        PaperRow("CPS++ (2020)", (54.3, 17.7, _N, _N, _N, 22.3, _N, _N), "?"),
        PaperRow("MSOS (RA-L'21)", (62.0, 23.4, 3.0, 39.5, 29.2, 9.6, _N, _N), "?"),
        PaperRow("OLD-Net (ECCV'22)", (68.7, 25.4, 1.9, 38.9, 37.0, 9.8, _N, _N), "original?"),
        PaperRow("FAP-Net (ICRA'24)", (74.2, 36.8, 5.2, 49.7, 49.6, 24.5, _N, _N), "?"),
        PaperRow("LaPose (ECCV'24)", (65.3, 31.5, 8.4, 42.4, 72.3, 29.0, 11.5, 5.6), "fixed"),
        PaperRow("DMSR (ICRA'24)", (52.0, 28.3, 6.1, 37.3, 59.5, 23.6, 9.9, 5.8), "original"),
        PaperRow("MonoDiff9D (ICRA'25)", (_N, 31.5, 6.3, 41.0, 56.3, 25.7, _N, _N), "original"),
        PaperRow("SeqPose, single frame", (63.0, 34.1, 6.1, 60.7, 60.3, 39.2, 16.2, 8.1), "original?"),
        PaperRow("SeqPose, multi frame", (68.1, 41.1, 8.5, 63.3, 64.9, 41.8, 17.2, 10.4), "original?"),
        PaperRow("YOPO R50 (ICRA'26)", (_N, 67.1, 16.6, 75.6, 54.0, 40.7, _N, _N), "original"),
        PaperRow("YOPO* Swin-L (ICRA'26)", (_N, 79.6, 19.6, 84.4, 66.0, 54.1, _N, _N), "original"),
    ),
    CAMERA25: (
        PaperRow("CPS++ (2020)", (26.7, 8.1, _N, _N, _N, 27.4, _N, _N), "?"),
        PaperRow("MSOS (RA-L'21)", (75.5, 32.4, 5.1, 29.7, 60.8, 19.2, _N, _N), "?"),
        PaperRow("OLD-Net (ECCV'22)", (74.3, 32.1, 5.4, 30.1, 74.0, 23.4, _N, _N), "original?"),
        PaperRow("FAP-Net (ICRA'24)", (81.4, 39.2, 6.7, 36.0, 80.4, 29.8, _N, _N), "?"),
        PaperRow("LaPose (ECCV'24)", (32.3, 12.8, 2.3, 12.3, 72.1, 11.2, 3.1, 2.4), "fixed"),
        PaperRow("DMSR (ICRA'24)", (75.2, 34.6, 6.5, 32.3, 81.4, 27.4, 8.1, 5.7), "original"),
        PaperRow("SeqPose, single frame", (68.4, 54.4, 12.6, 68.2, 82.3, 54.5, 11.4, 10.6), "original?"),
    ),
}


def paper_cells(rows: Sequence[PaperRow]) -> list[list[str]]:
    """Figures of papers as table cells: method, average precisions in percent, kind of IoU."""
    return [[row.method, *(number(value) for value in row.values), row.iou_kind] for row in rows]
