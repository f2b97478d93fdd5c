# SPDX-License-Identifier: Apache-2.0
"""Decode image messages to RGB arrays, with cv_bridge if it is installed, otherwise with NumPy and OpenCV.

Messages are duck-typed (the fields of sensor_msgs/Image or sensor_msgs/CompressedImage): the node and the bag reader
use the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from seqpose_ros.errors import InputError

try:
    from cv_bridge import CvBridge
except ImportError:  # not on PyPI; cv_bridge built against NumPy 1 cannot be imported with NumPy 2
    CvBridge = None


@dataclass(frozen=True)
class Encoding:
    """Bytes per pixel of a sensor_msgs encoding, and the OpenCV code that converts it to RGB (None: it is RGB)."""

    channels: int
    to_rgb: int | None


# OpenCV names a Bayer pattern by its second row and column, ROS by its first: rggb is OpenCV's "BayerBG".
ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(3, None),
    "bgr8": Encoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": Encoding(1, cv2.COLOR_GRAY2RGB),
    "yuv422": Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "bayer_rggb8": Encoding(1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": Encoding(1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": Encoding(1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": Encoding(1, cv2.COLOR_BayerGB2RGB),
}

# cv_bridge of Humble supports only the older names of the YUV encodings.
_CV_BRIDGE_NAMES = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}


def decode(message: Any) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 of a sensor_msgs/Image or a sensor_msgs/CompressedImage.

    :raises InputError: see :func:`decode_image` and :func:`decode_compressed`.
    """
    return decode_compressed(message) if hasattr(message, "format") else decode_image(message)


def decode_image(message: Any) -> np.ndarray:
    """RGB pixels of a sensor_msgs/Image.

    :return: (H, W, 3) uint8. For rgb8 it is a view of the message data: do not write to it.
    :raises InputError: the image is empty, its encoding is not in :data:`ENCODINGS`, or it has too few bytes.
    """
    _validate(message)
    return decode_with_numpy(message) if CvBridge is None else decode_with_cv_bridge(message)


def decode_with_numpy(message: Any) -> np.ndarray:
    """:func:`decode_image` with NumPy and OpenCV, for a validated message."""
    encoding = ENCODINGS[message.encoding]
    height, width, row = message.height, message.width, message.width * encoding.channels
    rows = np.frombuffer(message.data, dtype=np.uint8, count=height * message.step).reshape(height, message.step)
    pixels = rows[:, :row]  # without row padding, still a view
    if encoding.channels > 1:
        pixels = pixels.reshape(height, width, encoding.channels)
    if encoding.to_rgb is None:
        return pixels
    # OpenCV requires contiguous rows; only padded images are copied.
    return cv2.cvtColor(np.ascontiguousarray(pixels), encoding.to_rgb)


def decode_with_cv_bridge(message: Any) -> np.ndarray:
    """:func:`decode_image` with cv_bridge, for a validated message."""
    name = message.encoding
    message.encoding = _CV_BRIDGE_NAMES.get(name, name)
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, "rgb8"))
    finally:
        message.encoding = name


def decode_compressed(message: Any) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 of a sensor_msgs/CompressedImage (JPEG, PNG or what else OpenCV reads).

    :raises InputError: for an empty message, a depth image, or bytes that are no image.
    """
    if len(message.data) == 0:
        raise InputError("empty_image", "the compressed image is empty (0 bytes); is the camera delivering?")
    if "compressedDepth" in message.format:
        raise InputError("encoding", f"format {message.format!r} is a depth image; a colour image is needed")
    # Ignore the EXIF orientation: the intrinsics belong to the unrotated image.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), flags)
    if pixels is None:
        raise InputError(
            "encoding",
            f"a compressed image of {len(message.data)} bytes with format {message.format!r} could not be "
            "decoded; JPEG and PNG can",
        )
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def image_fields(rgb: np.ndarray) -> dict[str, Any]:
    """Fields of a sensor_msgs/Image for ``rgb`` (H, W, 3) uint8, without the header."""
    height, width = rgb.shape[:2]
    data = np.ascontiguousarray(rgb, dtype=np.uint8).tobytes()
    return {
        "height": height,
        "width": width,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": 3 * width,
        "data": data,
    }


def _validate(message: Any) -> None:
    if message.width == 0 or message.height == 0 or len(message.data) == 0:
        raise InputError(
            "empty_image",
            f"the image is empty ({message.width}x{message.height}, {len(message.data)} bytes); "
            "is the camera delivering?",
        )
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise InputError(
            "encoding",
            f"image encoding {message.encoding!r} is not supported; supported are {', '.join(ENCODINGS)}",
        )
    row = message.width * encoding.channels
    if message.step < row:
        raise InputError(
            "bad_image",
            f"image step is {message.step} bytes but {message.width} pixels of {message.encoding} take {row}",
        )
    if len(message.data) < message.height * message.step:
        raise InputError(
            "bad_image",
            f"the image holds {len(message.data)} bytes but {message.height} rows of {message.step} bytes "
            f"take {message.height * message.step}",
        )
    if message.encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv") and message.width % 2:
        raise InputError("bad_image", f"a {message.encoding} image is {message.width} wide; the width must be even")
