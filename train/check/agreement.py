# SPDX-License-Identifier: Apache-2.0
"""Agreement of the labels of an object: its pose and size, its NOCS map, and the depth image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from train.data.frame import Frame

_MIN_PIXELS = 64
_REFERENCE_WIDTH = 640  # pixel errors are given for images of this width


@dataclass(frozen=True)
class Agreement:
    """Medians over the pixels of one object.

    The NOCS coordinates of a pixel, placed by pose and size, are a point of the object in the camera frame.

    :param pixels: distance of its projection to the pixel, for images of 640 pixels width.
    :param centimetres: absolute difference of its z to the depth image; NaN without depth.
    """

    pixels: float
    centimetres: float


def agreements(frame: Frame) -> Iterator[Agreement]:
    """The agreement of every labelled object of a frame with enough visible pixels."""
    for item in frame.objects:
        rows, columns = np.nonzero(frame.mask == item.instance)
        if len(rows) < _MIN_PIXELS:
            continue
        local = (frame.coord[rows, columns] - 0.5) * np.linalg.norm(item.size)
        points = local @ item.rotation.T + item.translation
        ahead = points[:, 2] > 0
        if not ahead.any():
            yield Agreement(float("inf"), float("inf"))
            continue
        points, pixels = points[ahead], np.stack([columns, rows], axis=1)[ahead]
        matrix = frame.camera.matrix
        projected = points[:, :2] / points[:, 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        off = np.linalg.norm(projected - pixels, axis=1) * (_REFERENCE_WIDTH / frame.camera.width)
        depth = frame.depth[rows, columns][ahead]
        known = depth > 0
        error = 100 * float(np.median(np.abs(points[known, 2] - depth[known]))) if known.any() else float("nan")
        yield Agreement(float(np.median(off)), error)
