# SPDX-License-Identifier: Apache-2.0
"""Which data a set is: published ones are known by folders and size, ours by what the renderer left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from train.data.nocs_layout import CAMERA_INTRINSICS, REAL_INTRINSICS, NocsLayout
from train.published import CAMERA25, REAL275

SYNTHETIC = "synthetic renders"

# split name: frames folder, labels folder, intrinsics, name, frames of the whole set
_PUBLISHED = {
    "real_test": ("real/test", "gts/real_test", REAL_INTRINSICS, REAL275, 2750),
    "camera_val": ("camera/val", "gts/val", CAMERA_INTRINSICS, CAMERA25, 25_000),
}


@dataclass(frozen=True)
class EvaluationSet:
    """A layout and the name to print beside every figure measured on it."""

    layout: NocsLayout
    name: str


def open_set(root: Path, split: str) -> EvaluationSet:
    """Open ``root`` in our layout, or the splits "real_test" and "camera_val" in the layout that NOCS
    publishes.

    A published set counts as REAL275 or CAMERA25 only when it is complete: figures on a part are not
    comparable.

    :raise FileNotFoundError: a folder is missing, with what was looked for.
    """
    if split in _PUBLISHED and not (root / split).is_dir():
        frames, labels, intrinsics, name, whole = _PUBLISHED[split]
        layout = NocsLayout(root / frames, root / labels, intrinsics)
        found = sum(len(clip.frames) for clip in layout.clips)
        return EvaluationSet(
            layout, name if found >= whole else f"part of {name} ({found} of {whole} frames)"
        )
    layout = NocsLayout.open(root, split)
    rendered = (root / split / "render.json").is_file()
    return EvaluationSet(layout, f"{SYNTHETIC}, split {split}" if rendered else f"{root.name}, split {split}")
