# SPDX-License-Identifier: Apache-2.0
"""Open data sets and name them: REAL275 and CAMERA25 by their folders and size, rendered ones by render.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seqpose_core.categories import CATEGORIES, Category
from seqpose_core.evaluation import LoadViews, View
from train.data.layout import Layout
from train.data.nocs_files import BrokenFrameError
from train.data.nocs_layout import NocsLayout
from train.data.nocs_sets import ALIGNED_CACHE, OTHER_SETS, Labels, is_nocs, open_layout
from train.evaluate.paper_results import CAMERA25, REAL275

SYNTHETIC = "synthetic renders"

# split: name of the data set, number of frames of the complete set. CAMERA25 is named after 2,500 folders of 10 frames,
# but 3,792 of their images were not published (counted in preprocess/pose_data.py of Shape Prior Deformation).
_OFFICIAL = {"real_test": (REAL275, 2750), "camera_val": (CAMERA25, 25_000 - 3792)}


@dataclass(frozen=True)
class EvaluationSet:
    """A layout and the name printed with its figures. ``rendered``: whether ``train.render`` made it."""

    layout: Layout
    name: str
    rendered: bool = False


def open_set(
    root: Path,
    split: str,
    labels: Labels = "gts",
    categories: Sequence[Category] = CATEGORIES,
    aligned_cache: Path = ALIGNED_CACHE,
) -> EvaluationSet:
    """Open ``root`` in our layout, or a split of NOCS, HouseCat6D or Wild6D, see :func:`train.data.open_layout`.

    A set is named REAL275 or CAMERA25 only if it is complete and has the published ``gts`` labels; other figures cannot
    be compared with those of papers.

    :param categories: of the class ids in our layout.
    :param aligned_cache: folder of the poses that are computed for ``aligned`` labels.
    :raises FileNotFoundError: a folder is missing; names it.
    """
    layout = open_layout(root, split, labels, categories=categories, aligned_cache=aligned_cache)
    if split in _OFFICIAL and is_nocs(root, split):
        name, total = _OFFICIAL[split]
        frames = sum(len(clip.frames) for clip in layout.clips)
        if isinstance(layout, NocsLayout):
            frames += len(layout.missing_labels)
        name = name if frames >= total else f"part of {name} ({frames} of {total} frames)"
        return EvaluationSet(layout, name if labels == "gts" else f"{name}, {labels}")
    if split in OTHER_SETS:
        return EvaluationSet(layout, OTHER_SETS[split])
    rendered = (root / split / "render.json").is_file()
    name = f"{SYNTHETIC}, split {split}" if rendered else f"{root.name}, split {split}"
    return EvaluationSet(layout, name, rendered)


def views_of_set(dataset: EvaluationSet) -> LoadViews:
    """A function that loads the views of a data set by image_path, whose last two parts are clip and frame.

    It leaves out frames that are missing or broken.
    """
    layout = dataset.layout
    clips = {clip.scene: index for index, clip in enumerate(layout.clips)}

    def load_views(keys: Iterable[str]) -> dict[str, View]:
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

    return load_views
