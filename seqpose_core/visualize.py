# SPDX-License-Identifier: Apache-2.0
"""Draw objects on images: boxes, axes and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from seqpose_core.camera import Camera
from seqpose_core.geometry import BOX_EDGES
from seqpose_core.objects import ObjectPose

Colour = tuple[int, int, int]

_NEAR = 0.02  # metres: near plane at which lines are clipped
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_AXES: tuple[Colour, ...] = ((235, 60, 50), (60, 190, 70), (60, 110, 245))  # x red, y green, z blue


@dataclass(frozen=True)
class Style:
    """How objects are drawn.

    :param colour: RGB of boxes and labels; None uses each category's own.
    :param thickness: of box edges, pixels of a 640 pixel wide image.
    :param axes: draw the object frames (x red, y green, z blue).
    :param axes_thickness: as thickness; None draws axes a pixel thicker than edges.
    :param labels: write category, track id and distance (m) above each object.
    """

    colour: Colour | None = None
    thickness: float = 1.5
    axes: bool = True
    axes_thickness: float | None = None
    labels: bool = True


PREDICTION = Style(colour=(235, 50, 50))
GROUND_TRUTH = Style(colour=(50, 205, 50), thickness=1.0, axes=False, labels=False)


def draw_objects(
    image: np.ndarray,
    camera: Camera,
    objects: Sequence[ObjectPose],
    style: Style = Style(),
    *,
    in_place: bool = False,
) -> np.ndarray:
    """Draw objects on an image (H, W, 3) uint8 RGB.

    :param camera: the image's camera; boxes are distorted as the image is.
    :param in_place: draw on ``image`` itself instead of on a copy.
    :return: the image drawn on.
    :raises ValueError: if the image is not (H, W, 3) uint8 or not of the camera's size.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} of shape {image.shape}; it must be (H, W, 3) uint8")
    camera.check_image(image)
    canvas = image if in_place and image.flags["C_CONTIGUOUS"] and image.flags["WRITEABLE"] else image.copy()
    unit = image.shape[1] / 640
    # From back to front, so that nearer objects cover farther ones.
    for item in sorted(objects, key=lambda item: -float(item.translation[2])):
        colour = style.colour or item.category_info.colour
        thickness = max(1, round(style.thickness * unit))
        corners = item.corners
        for first, second in BOX_EDGES:
            _line(canvas, camera, corners[first], corners[second], colour, thickness)
        if style.axes:
            if style.axes_thickness is not None:
                axes_thickness = max(1, round(style.axes_thickness * unit))
            else:
                axes_thickness = thickness + 1
            for axis, axis_colour in enumerate(_AXES):
                tip = item.translation + item.rotation[:, axis] * item.size[axis] * 0.6
                _line(canvas, camera, item.translation, tip, axis_colour, axes_thickness)
        if style.labels:
            _label(canvas, camera, item, colour, unit)
    if in_place and canvas is not image:
        image[...] = canvas
        return image
    return canvas


def hstack_images(images: Sequence[np.ndarray], titles: Sequence[str] = (), gap: int = 4) -> np.ndarray:
    """Images (H, W, 3) uint8 of equal height in a row with white gaps, titles in their upper left corners.

    :raises ValueError: for no images, different heights, or a number of titles other than 0 or one per image.
    """
    heights = {image.shape[0] for image in images}
    if len(heights) != 1:
        raise ValueError(f"images are {sorted(heights)} pixels high; give at least one, all of equal height")
    if len(titles) not in (0, len(images)):
        raise ValueError(f"{len(titles)} titles for {len(images)} images; give one per image or none")
    (height,) = heights
    parts: list[np.ndarray] = []
    for index, image in enumerate(images):
        if index:
            parts.append(np.full((height, gap, 3), 255, np.uint8))
        panel = image.copy()
        if titles:
            _text(panel, titles[index], (6, 6), (40, 40, 40), image.shape[1] / 640)
        parts.append(panel)
    return np.concatenate(parts, axis=1)


def crop(
    image: np.ndarray, camera: Camera, objects: Sequence[ObjectPose], side: int, margin: float = 0.35
) -> tuple[np.ndarray, Camera]:
    """Crop a square around objects, resampled to (side, side, 3); returns it and its camera.

    :param margin: on each side, as a fraction of the objects' extent. The crop is moved inside the image if it fits,
        else the area outside is grey. Objects outside the image give a crop of the full image.
    """
    near, far = np.zeros(2), np.array([camera.width, camera.height], dtype=float)
    corners = np.concatenate([np.zeros((0, 3)), *(item.corners for item in objects)])
    pixels = camera.project(corners[corners[:, 2] > _NEAR])
    low, high = (near, far) if not len(pixels) else (pixels.min(axis=0), pixels.max(axis=0))
    if (high < near).any() or (low > far).any() or not np.isfinite([low, high]).all():
        low, high = near, far
    low, high = np.maximum(low, -0.25 * far), np.minimum(high, 1.25 * far)
    length = int(np.clip((high - low).max() * (1 + 2 * margin), 0.12 * far.max(), far.max()))
    # Move the crop inside the image; centre it along an axis where it is larger than the image.
    slack = far - length
    x, y = np.clip(np.round((low + high - length) / 2), np.minimum(slack, 0), np.maximum(slack, 0))
    x, y = np.where(slack < 0, np.floor(slack / 2), (x, y))
    scale = length / side
    to_image = np.array([[scale, 0, x + scale / 2 - 0.5], [0, scale, y + scale / 2 - 0.5]])
    window = cv2.warpAffine(
        image, to_image, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=(205, 205, 205)
    )
    return window, camera.cropped(x, y, length, length).resized(side, side)


def _line(
    canvas: np.ndarray, camera: Camera, start: np.ndarray, end: np.ndarray, colour: Colour, thickness: int
) -> None:
    """Draw the part of a 3D segment (camera frame) in front of the near plane."""
    if max(start[2], end[2]) <= _NEAR:
        return
    if start[2] < _NEAR or end[2] < _NEAR:
        cut = start + (end - start) * ((_NEAR - start[2]) / (end[2] - start[2]))
        start, end = (cut, end) if start[2] < _NEAR else (start, cut)
    # With distortion a line is a curve.
    steps = 2 if camera.distortion is None else 9
    polyline = start + (end - start) * np.linspace(0, 1, steps)[:, None]
    points = camera.project(polyline)
    if camera.distortion is not None:
        # Far outside the image the distortion polynomial maps points back into it.
        undistorted = camera.rectified().project(polyline)
        extent = np.array([camera.width, camera.height])
        points = points[((undistorted > -extent) & (undistorted < 2 * extent)).all(axis=1)]
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, colour, thickness, cv2.LINE_AA, _SHIFT)


def _label(canvas: np.ndarray, camera: Camera, item: ObjectPose, colour: Colour, unit: float) -> None:
    corners = item.corners
    pixels = camera.project(corners[corners[:, 2] > _NEAR])
    if not len(pixels):
        return
    name = item.category if item.track_id is None else f"{item.category} {item.track_id}"
    text = f"{name}  {np.linalg.norm(item.translation):.2f} m"
    left, top = pixels.min(axis=0)
    right, bottom = pixels.max(axis=0)
    height, width = canvas.shape[:2]
    if right < 0 or bottom < 0 or left >= width or top >= height:
        return
    _text(canvas, text, (left, top), colour, unit, above=True)


def _text(
    canvas: np.ndarray,
    text: str,
    corner: tuple[float, float],
    colour: Colour,
    unit: float,
    above: bool = False,
) -> None:
    """Write on a filled rectangle inside the image, its upper (with ``above``: lower) left corner near ``corner``."""
    scale = 0.42 * max(unit, 0.75)
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    pad = 3
    background = (width + 2 * pad, height + base + 2 * pad)
    x = int(np.clip(corner[0], 0, max(0, canvas.shape[1] - background[0])))
    y = corner[1] - background[1] - 2 if above else corner[1]
    y = int(np.clip(y, 0, max(0, canvas.shape[0] - background[1])))
    cv2.rectangle(canvas, (x, y), (x + background[0] - 1, y + background[1] - 1), colour, cv2.FILLED)
    # Black or white, whichever has more contrast (luma of ITU-R BT.601).
    ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 140 else (255, 255, 255)
    cv2.putText(canvas, text, (x + pad, y + pad + height), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
