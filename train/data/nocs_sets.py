# SPDX-License-Identifier: Apache-2.0
"""Open the splits of CAMERA, REAL, our own data sets and the neighbours of NOCS by name."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqpose_core.categories import CATEGORIES, Category
from train.data import safe_pickle
from train.data.aligned import Alignment
from train.data.housecat6d import PREFIXES, SHARED, HouseCat6D
from train.data.layout import Layout
from train.data.model_sizes import ModelSizes
from train.data.nocs_layout import CAMERA_INTRINSICS, REAL_INTRINSICS, NocsLayout
from train.data.relabelled import Relabelling
from train.data.wild6d import Wild6D

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

#: Data sets that share categories with NOCS, by the name of the split. They have no NOCS maps: for evaluation only.
OTHER_SETS: dict[str, str] = {
    **{split: f"HouseCat6D, {split.rpartition('_')[2]}, {' and '.join(SHARED)} only" for split in PREFIXES},
    "wild6d_test": "Wild6D, test",
}


def open_layout(
    root: str | Path,
    split: str,
    labels: Labels = "gts",
    motion_from_labels: bool = False,
    categories: Sequence[Category] = CATEGORIES,
    aligned_cache: Path = ALIGNED_CACHE,
) -> Layout:
    """Open ``root``/``split`` in our own layout, or a split of :data:`NOCS_SPLITS` or :data:`OTHER_SETS`.

    :param motion_from_labels: see :class:`NocsLayout`; not for CAMERA, whose folders are not videos.
    :param categories: that the class ids of our own layout refer to; NOCS has its own six.
    :param aligned_cache: folder of the poses that are computed for ``aligned`` labels.
    :raises FileNotFoundError: a folder or a file is missing, naming it.
    """
    root = Path(root)
    if not is_nocs(root, split) and labels != "gts":
        raise FileNotFoundError(
            f"{root / split} has labels of the kind 'gts'; {labels!r} ones exist for {', '.join(NOCS_SPLITS)}"
        )
    if split in OTHER_SETS:
        return Wild6D(root, categories) if split == "wild6d_test" else HouseCat6D(root, split, categories)
    if not is_nocs(root, split):
        _refuse_published(root, split)
        return NocsLayout.open(root, split, categories, motion_from_labels)
    nocs = NOCS_SPLITS[split]
    motion_from_labels = motion_from_labels and nocs.frame_rate is not None
    # A seventh of the images of camera_val was not published, and NOCS's reader passes over them.
    only_with_image = split.startswith("camera_")
    folder = _scenes_folder(root, split)
    if labels == "relabelled":
        relabelling = Relabelling.open(root / "obj_models", split)
        return NocsLayout(
            folder, relabelling, nocs.intrinsics, nocs.frame_rate, motion_from_labels, only_with_image=only_with_image
        )
    sizes = ModelSizes(root / "obj_models" / nocs.gts)
    if labels != "relabelled" and not sizes.folder.is_dir() and not _labels_have_sizes(root / "gts" / nocs.gts):
        raise FileNotFoundError(
            f"{sizes.folder} is not a folder; it holds the sizes of the models: unzip obj_models.zip into {root}"
        )
    if labels == "aligned":
        alignment = Alignment(nocs.intrinsics, sizes, aligned_cache)
        return NocsLayout(
            folder, alignment, nocs.intrinsics, nocs.frame_rate, motion_from_labels, only_with_image=only_with_image
        )
    gts = root / "gts" / nocs.gts
    if not gts.is_dir():
        remedy = "unzip gts.zip into the same folder"
        if split.endswith("_train"):
            remedy = (
                "NOCS publishes gts of camera_val and real_test only; train with labels: aligned, which are computed "
                "from the NOCS maps, or with the relabelled pickles (labels: relabelled)"
            )
        raise FileNotFoundError(f"{gts} is not a folder; {remedy}")
    return NocsLayout(
        folder,
        gts,
        nocs.intrinsics,
        nocs.frame_rate,
        motion_from_labels,
        sizes=sizes,
        only_with_image=only_with_image,
    )


def has_hidden_handles(split: str, labels: Labels) -> bool:
    """Whether labels of this kind mark mugs with a hidden handle; otherwise every handle counts as visible."""
    return labels == "gts" or (labels == "relabelled" and not split.endswith("_train"))


def is_nocs(root: Path, split: str) -> bool:
    """Whether ``split`` of ``root`` is a split of NOCS in NOCS's layout.

    A folder of our own layout may have the same name; its scenes have an intrinsics.txt, those of NOCS have none.
    """
    return split in NOCS_SPLITS and next((root / split).glob("*/intrinsics.txt"), None) is None


def split_of_folder(folder: Path) -> tuple[Path, str] | None:
    """Root and split of a folder of NOCS scenes; None if it is a folder of our own layout."""
    if not folder.is_dir() or any(folder.glob("*/intrinsics.txt")):
        return None
    names = [(name.split("/"), split) for split, nocs in NOCS_SPLITS.items() for name in nocs.folders]
    # The longest names first: real/train is not the train of CAMERA.
    for parts, split in sorted(names, key=lambda item: -len(item[0])):
        if folder.parts[-len(parts) :] == tuple(parts):
            return folder.parents[len(parts) - 1], split
    return None


def _scenes_folder(root: Path, split: str) -> Path:
    folders = [root / name for name in NOCS_SPLITS[split].folders]
    for folder in folders:
        if _has_frames(folder):
            return folder
    remedy = f"unzip its archive into one of them, with gts/ and obj_models/ in {root}"
    inside = next((found for found in map(split_of_folder, (root, root.parent)) if found), None)
    if inside is not None:
        remedy = f"{root} is a part of {inside[1]}: give the root {inside[0]}"
    elif present := _published_splits(root):
        remedy += f" (found: {', '.join(present)})"
    raise FileNotFoundError(f"{split} of NOCS is in none of {', '.join(map(str, folders))}; {remedy}")


def _has_frames(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*/*_color.png"), None) is not None


def _published_splits(root: Path) -> list[str]:
    """The splits of NOCS that a root holds as published."""
    return [
        split
        for split, nocs in NOCS_SPLITS.items()
        if any(_has_frames(root / name) and split_of_folder(root / name) for name in nocs.folders)
    ]


def _refuse_published(root: Path, split: str) -> None:
    """:raises FileNotFoundError: the frames of ``root``/``split`` are NOCS's own, or there are none but NOCS's own."""
    if (named := split_of_folder(root / split)) is not None and _has_frames(root / split):
        raise FileNotFoundError(f"{root / split} holds {named[1]} of NOCS as published; name the split {named[1]}")
    if not (root / split).exists() and (present := _published_splits(root)):
        raise FileNotFoundError(f"{root} has no split {split!r}, but {', '.join(present)} of NOCS; name one of them")


def _labels_have_sizes(gts: Path) -> bool:
    """Whether the labels need no obj_models, as those of other tools; also if there are none."""
    first = next(gts.glob("*.pkl"), None) if gts.is_dir() else None
    try:
        return first is None or "gt_scales" in safe_pickle.load(first)
    except (OSError, TypeError, pickle.UnpicklingError):
        return True  # reading the frame names the damage
