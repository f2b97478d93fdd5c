# SPDX-License-Identifier: Apache-2.0
"""Open the splits of CAMERA, REAL and our own data sets by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqpose_core.categories import CATEGORIES, Category
from train.data.nocs_layout import CAMERA_INTRINSICS, REAL_INTRINSICS, NocsLayout
from train.data.relabelled import Relabelling

#: ``gts``: label pickles in a separate folder, as in NOCS and our renderings; ``relabelled``: the pickles of Shape
#: Prior Deformation, next to the images.
Labels = Literal["gts", "relabelled"]


@dataclass(frozen=True)
class _NocsSplit:
    """A split of NOCS: folder ``split`` in one of ``sets`` (two spellings), folder of labels, intrinsics, frame rate.

    CAMERA's folders are not videos and have no frame rate.
    """

    sets: tuple[str, str]
    split: str
    gts: str
    intrinsics: NDArray[np.float64]
    frame_rate: float | None


_NOCS_SPLITS = {
    "camera_train": _NocsSplit(("camera", "CAMERA"), "train", "train", CAMERA_INTRINSICS, None),
    "camera_val": _NocsSplit(("camera", "CAMERA"), "val", "val", CAMERA_INTRINSICS, None),
    "real_train": _NocsSplit(("real", "Real"), "train", "real_train", REAL_INTRINSICS, 30.0),
    "real_test": _NocsSplit(("real", "Real"), "test", "real_test", REAL_INTRINSICS, 30.0),
}


def open_layout(
    root: str | Path,
    split: str,
    labels: Labels = "gts",
    motion_from_labels: bool = False,
    categories: Sequence[Category] = CATEGORIES,
) -> NocsLayout:
    """Open ``root``/``split`` in our own layout, or camera_train, camera_val, real_train or real_test in NOCS's.

    :param motion_from_labels: see :class:`NocsLayout`; splits of NOCS with a frame rate only.
    :param categories: that the class ids of our own layout refer to; NOCS has its own six.
    :raises FileNotFoundError: a folder or a file is missing, naming it.
    """
    root = Path(root)
    nocs = _NOCS_SPLITS.get(split)
    if nocs is None or (root / split).is_dir():
        if labels == "relabelled":
            raise FileNotFoundError(
                f"{root / split} has labels of the kind 'gts'; 'relabelled' ones exist for {', '.join(_NOCS_SPLITS)}"
            )
        return NocsLayout.open(root, split, categories)
    motion_from_labels = motion_from_labels and nocs.frame_rate is not None
    folder = _first_folder([root / name / nocs.split for name in nocs.sets])
    if labels == "relabelled":
        relabelling = Relabelling.open(root / "obj_models", split)
        return NocsLayout(folder, relabelling, nocs.intrinsics, nocs.frame_rate, motion_from_labels)
    gts = root / "gts" / nocs.gts
    if not gts.is_dir() and split.endswith("_train"):
        raise FileNotFoundError(
            f"{gts} is not a folder; NOCS publishes gts of camera_val and real_test only, "
            "training uses the relabelled pickles (labels: relabelled)"
        )
    return NocsLayout(folder, gts, nocs.intrinsics, nocs.frame_rate, motion_from_labels)


def _first_folder(folders: Sequence[Path]) -> Path:
    for folder in folders:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"there is neither {folders[0]} nor {folders[1]}")
