# SPDX-License-Identifier: Apache-2.0
"""Write a recorded run as one HTML file with a time line. It contains all images and scripts and opens offline."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seqpose_core import Camera, ObjectPose
from seqpose_core.geometry import BOX_EDGES, transform
from seqpose_ros.bags.bag import BagFrame
from seqpose_ros.view.state import position_sigma, track_label

_TEMPLATE = Path(__file__).parent / "templates" / "scene.html"
_PLACEHOLDER = "/*DATA*/"
_MAX_WIDTH = 640  # pixels of the embedded images
_JPEG_QUALITY = 70
_NEAR = 0.02  # metres; lines with a point nearer to the image plane are not drawn on the image


def write_scene_page(
    path: Path, title: str, frames: Iterable[BagFrame], predictions: Mapping[int, Sequence[ObjectPose]]
) -> Path:
    """Write the page.

    :param frames: of the bag, in order.
    :param predictions: by frame index; frames without an entry were dropped.
    :return: ``path``.
    """
    data = {"title": title, "edges": BOX_EDGES, "frames": [_frame(f, predictions.get(f.index)) for f in frames]}
    # Escaped, so that "</script>" in the data does not end the script element.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    path.write_text(_TEMPLATE.read_text(encoding="utf-8").replace(_PLACEHOLDER, text), encoding="utf-8")
    return path


def _frame(frame: BagFrame, objects: Sequence[ObjectPose] | None) -> dict[str, Any]:
    """The data of one frame; pixels are those of the full image, also if the embedded one is smaller."""
    scale = min(1.0, _MAX_WIDTH / frame.camera.width)
    image = (
        cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame.image
    )
    jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return {
        "index": frame.index,
        "time": frame.stamp * 1e-9,
        "image": "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode(),
        "width": frame.camera.width,
        "height": frame.camera.height,
        "dropped": objects is None,
        "objects": [_object(item, frame.camera) for item in objects or ()],
        "ground_truth": [_box(item, frame.camera) for item in frame.ground_truth or ()],
    }


def _object(item: ObjectPose, camera: Camera) -> dict[str, Any]:
    """:func:`_box`, score, axes (4, 3) in metres and in pixels, and the values of the table in cm."""
    tips = transform(item.transform, np.vstack([np.zeros(3), np.diag(0.75 * np.asarray(item.size))]))
    return {
        **_box(item, camera),
        "name": track_label(item),
        "score": round(item.score, 3),
        "sigma": round(100 * position_sigma(item), 1),
        "centre": _rounded(100 * item.translation, 1),
        "size": _rounded(100 * np.asarray(item.size), 1),
        "axes": _rounded(tips, 4),
        "axes_pixels": _pixels(tips, camera),
    }


def _box(item: ObjectPose, camera: Camera) -> dict[str, Any]:
    """Corners (8, 3) in the camera frame, and (8, 2) in pixels."""
    return {
        "colour": item.category_info.colour,
        "corners": _rounded(item.corners, 4),
        "pixels": _pixels(item.corners, camera),
    }


def _pixels(points: np.ndarray, camera: Camera) -> list[list[float] | None]:
    """Pixels of points (N, 3); None for points behind or too near the image plane."""
    pixels = camera.project(points)
    return [_rounded(p, 1) if z > _NEAR else None for p, z in zip(pixels, points[:, 2], strict=True)]


def _rounded(values: np.ndarray, digits: int) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()
