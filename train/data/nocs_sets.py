# SPDX-License-Identifier: Apache-2.0
"""Where the splits of CAMERA and REAL lie under a root, and ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from train.data.nocs_layout import CAMERA_INTRINSICS, REAL_INTRINSICS, NocsLayout
from train.data.relabelled import Relabelling

#: ``gts``: label pickles in a folder of their own, as NOCS publishes them and ours are written; ``relabelled``: those
#: of Shape Prior Deformation, beside the images.
Labels = Literal["gts", "relabelled"]


@dataclass(frozen=True)
class _Published:
    """A split as NOCS publishes it: its folder under ``sets`` (either spelling), its labels, its models."""

    sets: tuple[str, str]
    split: str
    gts: str
    intrinsics: NDArray[np.float64]


_PUBLISHED = {
    "camera_train": _Published(("camera", "CAMERA"), "train", "train", CAMERA_INTRINSICS),
    "camera_val": _Published(("camera", "CAMERA"), "val", "val", CAMERA_INTRINSICS),
    "real_train": _Published(("real", "Real"), "train", "real_train", REAL_INTRINSICS),
    "real_test": _Published(("real", "Real"), "test", "real_test", REAL_INTRINSICS),
}


def open_layout(root: str | Path, split: str, labels: Labels = "gts") -> NocsLayout:
    """Open ``root``/``split`` in our own layout, or camera_train, camera_val, real_train or real_test in that of NOCS.

    :raise FileNotFoundError: a folder or a file is missing, with what was looked for.
    """
    root = Path(root)
    published = _PUBLISHED.get(split)
    if published is None or (root / split).is_dir():
        if labels == "relabelled":
            raise FileNotFoundError(
                f"{root / split} has labels of the kind 'gts'; 'relabelled' ones exist for {', '.join(_PUBLISHED)}"
            )
        return NocsLayout.open(root, split)
    folder = _first([root / name / published.split for name in published.sets])
    if labels == "relabelled":
        return NocsLayout(folder, Relabelling.open(root / "obj_models", split), published.intrinsics)
    gts = root / "gts" / published.gts
    if not gts.is_dir() and split.endswith("_train"):
        raise FileNotFoundError(
            f"{gts} is not a folder; NOCS publishes gts of camera_val and real_test only, "
            "the pickles for training are the relabelled ones (labels: relabelled)"
        )
    return NocsLayout(folder, gts, published.intrinsics)


def _first(folders: Sequence[Path]) -> Path:
    for folder in folders:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"there is neither {folders[0]} nor {folders[1]}")
