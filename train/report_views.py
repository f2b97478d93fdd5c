# SPDX-License-Identifier: Apache-2.0
"""Images and cameras of the frames that a report shows, out of a set in the NOCS layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from seqpose_core.report import Frames, View
from train.data.nocs_files import BrokenFrameError
from train.evaluation_sets import open_set


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
