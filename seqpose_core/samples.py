# SPDX-License-Identifier: Apache-2.0
"""Ten bundled frames of a video, synthetic renders, to test an installation without a camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from seqpose_core.camera import Camera

_FOLDER = Path(__file__).parent / "sample_frames"
#: Intrinsics of the bundled frames.
SAMPLE_CAMERA = Camera(fx=679.687, fy=678.716, cx=321.170, cy=243.406, width=640, height=480)
_FRAMES_PER_SECOND = 10.0


def sample_frames() -> Iterator[tuple[np.ndarray, Camera, float]]:
    """Yield (image (480, 640, 3) uint8 RGB, camera, stamp in seconds) of consecutive frames at 10 Hz."""
    for index, path in enumerate(sorted(_FOLDER.glob("*.jpg"))):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert image is not None
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), SAMPLE_CAMERA, index / _FRAMES_PER_SECOND
