# SPDX-License-Identifier: Apache-2.0
"""The images that a report shows, by the key of their frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from seqpose_core.camera import Camera


@dataclass(frozen=True)
class View:
    """Image (H, W, 3) uint8 RGB of a frame and the camera that took it."""

    image: np.ndarray
    camera: Camera


#: Returns the views of frames by their keys (:func:`frame_key`), without those that it does not have. It is called once
#: for all frames of a report, so that a bag or a video is read only once.
LoadViews = Callable[[Iterable[str]], Mapping[str, View]]


def no_views(keys: Iterable[str]) -> dict[str, View]:
    """The :data:`LoadViews` of results without images."""
    return {}


def short_name(key: str) -> str:
    """Name of a frame in reports: the last two parts of its key, clip and frame."""
    return "/".join(key.split("/")[-2:])
