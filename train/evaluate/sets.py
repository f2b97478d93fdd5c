# SPDX-License-Identifier: Apache-2.0
"""Which data a set is: published ones are known by folders and size, ours by what the renderer left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seqpose_core.report.views import Frames, View
from train.data.nocs_files import BrokenFrameError
from train.data.nocs_layout import NocsLayout
from train.data.nocs_sets import Labels, open_layout
from train.evaluate.published_results import CAMERA25, REAL275

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


def views_of_set(root: Path, split: str) -> Frames:
    """What gives the views of a set's frames by the image_path of results, whose last two parts are clip and frame.

    Frames that the set does not have, and broken ones, have none.

    :raise FileNotFoundError: there is no such set.
    """
    layout = open_set(root, split).layout
    clips = {clip.scene: index for index, clip in enumerate(layout.clips)}

    def views(keys: Iterable[str]) -> dict[str, View]:
        out = {}
        for key in keys:
            scene, _, name = "/".join(key.split("/")[-2:]).partition("/")
            clip = clips.get(scene)
            if clip is None or name not in layout.clips[clip].frames:
                continue
            try:
                frame = layout.read(clip, layout.clips[clip].frames.index(name))
            except BrokenFrameError:
                continue
            out[key] = View(frame.image, frame.camera)
        return out

    return views
