# SPDX-License-Identifier: Apache-2.0
"""Which data a set is: published ones are known by folders and size, ours by what the renderer left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from train.data.nocs_layout import NocsLayout
from train.data.nocs_sets import Labels, open_layout
from train.published import CAMERA25, REAL275

SYNTHETIC = "synthetic renders"

# split name: name of the set, frames that it has when it is whole
_PUBLISHED = {"real_test": (REAL275, 2750), "camera_val": (CAMERA25, 25_000)}


@dataclass(frozen=True)
class EvaluationSet:
    """A layout and the name to print beside every figure measured on it."""

    layout: NocsLayout
    name: str


def open_set(root: Path, split: str, labels: Labels = "gts") -> EvaluationSet:
    """Open ``root`` in our layout, or the splits "real_test" and "camera_val" in the layout that NOCS
    publishes.

    A published set counts as REAL275 or CAMERA25 only when it is complete and with the labels of its own: figures
    on a part, or on other labels, are not comparable.

    :raise FileNotFoundError: a folder is missing, with what was looked for.
    """
    layout = open_layout(root, split, labels)
    if split in _PUBLISHED and not (root / split).is_dir():
        name, whole = _PUBLISHED[split]
        found = sum(len(clip.frames) for clip in layout.clips)
        name = name if found >= whole else f"part of {name} ({found} of {whole} frames)"
        return EvaluationSet(layout, name if labels == "gts" else f"{name}, {labels}")
    rendered = (root / split / "render.json").is_file()
    return EvaluationSet(layout, f"{SYNTHETIC}, split {split}" if rendered else f"{root.name}, split {split}")
