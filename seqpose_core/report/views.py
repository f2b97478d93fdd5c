# SPDX-License-Identifier: Apache-2.0
"""The images that a report shows, by the key of the frame that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from seqpose_core.camera import Camera


@dataclass(frozen=True)
class View:
    """What a frame looked like: image (H, W, 3) uint8 RGB and the camera that took it."""

    image: np.ndarray
    camera: Camera


#: Asked once for all frames that a report shows, by their keys (:func:`frame_key`); gives the views of those that it
#: knows. One call, so that a bag or a video needs to be read through only once.
Frames = Callable[[Iterable[str]], Mapping[str, View]]


def no_images(keys: Iterable[str]) -> dict[str, View]:
    """The :data:`Frames` of results whose images are not at hand."""
    return {}


def short_name(key: str) -> str:
    """A frame's key for readers: the last two parts of a path, clip and frame."""
    return "/".join(key.split("/")[-2:])
