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
from train.data.aligned import Alignment
from train.data.model_sizes import ModelSizes
from train.data.nocs_layout import CAMERA_INTRINSICS, REAL_INTRINSICS, NocsLayout
from train.data.relabelled import Relabelling

#: ``gts``: label pickles in a separate folder, as in NOCS and our renderings; ``relabelled``: the pickles of Shape
#: Prior Deformation, next to the images; ``aligned``: computed from NOCS maps and depth, see train.data.aligned.
Labels = Literal["gts", "relabelled", "aligned"]
#: Folder of the poses that are computed for ``aligned``.
ALIGNED_CACHE = Path("out/aligned")


@dataclass(frozen=True)
class NocsSplit:
    """A split of NOCS.

    :param folders: of the scenes under the root, in several spellings: as documented, and as unzipped.
    :param gts: name of the folders of labels and of model sizes, under gts/ and obj_models/.
    :param frame_rate: CAMERA's folders are not videos and have none.
    """

    folders: tuple[str, ...]
    gts: str
    intrinsics: NDArray[np.float64]
    frame_rate: float | None


NOCS_SPLITS = {
    "camera_train": NocsSplit(
        ("camera/train", "CAMERA/train", "camera_train", "train"), "train", CAMERA_INTRINSICS, None
    ),
    "camera_val": NocsSplit(("camera/val", "CAMERA/val", "camera_val", "val"), "val", CAMERA_INTRINSICS, None),
    "real_train": NocsSplit(("real/train", "Real/train", "real_train"), "real_train", REAL_INTRINSICS, 30.0),
    "real_test": NocsSplit(("real/test", "Real/test", "real_test"), "real_test", REAL_INTRINSICS, 30.0),
}


def open_layout(
    root: str | Path,
    split: str,
    labels: Labels = "gts",
    motion_from_labels: bool = False,
    categories: Sequence[Category] = CATEGORIES,
    aligned_cache: Path = ALIGNED_CACHE,
) -> NocsLayout:
    """Open ``root``/``split`` in our own layout, or camera_train, camera_val, real_train or real_test in NOCS's.

    :param motion_from_labels: see :class:`NocsLayout`; splits of NOCS with a frame rate only.
    :param categories: that the class ids of our own layout refer to; NOCS has its own six.
    :param aligned_cache: folder of the poses that are computed for ``aligned`` labels.
    :raise FileNotFoundError: a folder or a file is missing, naming it.
    """
    root = Path(root)
    if not is_nocs(root, split):
        if labels != "gts":
            raise FileNotFoundError(
                f"{root / split} has labels of the kind 'gts'; {labels!r} ones exist for {', '.join(NOCS_SPLITS)}"
            )
        return NocsLayout.open(root, split, categories)
    nocs = NOCS_SPLITS[split]
    motion_from_labels = motion_from_labels and nocs.frame_rate is not None
    folder = _scenes_folder(root, split)
    if labels == "relabelled":
        relabelling = Relabelling.open(root / "obj_models", split)
        return NocsLayout(folder, relabelling, nocs.intrinsics, nocs.frame_rate, motion_from_labels)
    sizes = ModelSizes(root / "obj_models" / nocs.gts)
    if labels == "aligned":
        alignment = Alignment(nocs.intrinsics, sizes, aligned_cache)
        return NocsLayout(folder, alignment, nocs.intrinsics, nocs.frame_rate, motion_from_labels)
    gts = root / "gts" / nocs.gts
    if not gts.is_dir():
        remedy = "unzip gts.zip into the same folder"
        if split.endswith("_train"):
            remedy = (
                "NOCS publishes gts of camera_val and real_test only; train with labels: aligned, which are computed "
                "from the NOCS maps, or with the relabelled pickles (labels: relabelled)"
            )
        raise FileNotFoundError(f"{gts} is not a folder; {remedy}")
    return NocsLayout(folder, gts, nocs.intrinsics, nocs.frame_rate, motion_from_labels, sizes=sizes)


def is_nocs(root: Path, split: str) -> bool:
    """Whether ``split`` of ``root`` is a split of NOCS in NOCS's layout.

    A folder of our own layout may have the same name; its scenes have an intrinsics.txt, those of NOCS have none.
    """
    return split in NOCS_SPLITS and next((root / split).glob("*/intrinsics.txt"), None) is None


def split_of_folder(folder: Path) -> tuple[Path, str] | None:
    """Root and split of a folder of NOCS scenes; None if it is a folder of our own layout."""
    for split, nocs in NOCS_SPLITS.items():
        for name in nocs.folders:
            depth = name.count("/") + 1
            named = folder.is_dir() and folder.parts[-depth:] == tuple(name.split("/"))
            if named and not any(folder.glob("*/intrinsics.txt")):
                return folder.parents[depth - 1], split
    return None


def _scenes_folder(root: Path, split: str) -> Path:
    folders = [root / name for name in NOCS_SPLITS[split].folders]
    for folder in folders:
        if folder.is_dir() and next(folder.glob("*/*_color.png"), None) is not None:
            return folder
    raise FileNotFoundError(
        f"{split} of NOCS is in none of {', '.join(map(str, folders))}; unzip its archive into one of them, with gts/ "
        f"and obj_models/ in {root}"
    )
