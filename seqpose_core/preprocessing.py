# SPDX-License-Identifier: Apache-2.0
"""Convert a camera image to the input of the network."""

from __future__ import annotations

import cv2
import numpy as np

from seqpose_core.camera import Camera

_GREY = 114  # of the padding


def fit_image(image: np.ndarray, camera: Camera, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Rectify an image, resize it at constant aspect ratio and pad it with grey.

    :param image: (H, W, 3) uint8 RGB.
    :return: (height, width, 3) uint8, contiguous, and its intrinsics (3, 3) float32, pixels.
    :raises ValueError: if the image is not of the camera's size.
    """
    image = camera.rectify(image)
    scale = min(width / camera.width, height / camera.height)
    columns, rows = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    if (columns, rows) != (camera.width, camera.height):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, (columns, rows), interpolation=method)
    left, top = (width - columns) // 2, (height - rows) // 2
    if (columns, rows) != (width, height):
        canvas = np.full((height, width, 3), _GREY, np.uint8)
        canvas[top : top + rows, left : left + columns] = image
        image = canvas
    fitted = camera.rectified().resized(columns, rows).cropped(-left, -top, width, height)
    # torch accepts neither reversed views (BGR as RGB) nor read-only arrays: only those are copied.
    return np.require(image, requirements=["C", "W"]), fitted.matrix.astype(np.float32)
