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

from seqpose_ros.errors import InputError, quote
from seqpose_ros.image_size import image_size

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

#: Largest accepted image: 8K UHD (7680x4320).
MAX_IMAGE_PIXELS = 33_177_600

# cv_bridge of Humble supports only the older names of the YUV encodings.
_CV_BRIDGE_NAMES = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}


def decode(message: Any, max_pixels: int = MAX_IMAGE_PIXELS) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 of a sensor_msgs/Image or a sensor_msgs/CompressedImage.

    :param max_pixels: larger images are refused before they are decoded.

    :raises InputError: see :func:`decode_image` and :func:`decode_compressed`.
    """
    if hasattr(message, "format"):
        return decode_compressed(message, max_pixels)
    return decode_image(message, max_pixels)


def decode_image(message: Any, max_pixels: int = MAX_IMAGE_PIXELS) -> np.ndarray:
    """RGB pixels of a sensor_msgs/Image.

    :return: (H, W, 3) uint8. For rgb8 it is a view of the message data: do not write to it.
    :raises InputError: the image is empty, its encoding is not in :data:`ENCODINGS`, it has too few bytes, or it
        has more than ``max_pixels`` pixels.
    """
    _validate(message, max_pixels)
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


def decode_compressed(message: Any, max_pixels: int = MAX_IMAGE_PIXELS) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 of a sensor_msgs/CompressedImage in JPEG or PNG format.

    :raises InputError: the message is empty, is a depth image, is neither JPEG nor PNG, is damaged, or has more than
        ``max_pixels`` pixels.
    """
    if len(message.data) == 0:
        raise InputError("empty_image", "the compressed image is empty (0 bytes); is the camera delivering?")
    if "compressedDepth" in message.format:
        raise InputError("encoding", f"format {quote(message.format)} is a depth image; a colour image is needed")
    name = f"a compressed image of {len(message.data)} bytes with format {quote(message.format)}"
    size = image_size(memoryview(message.data).cast("B"))
    if size is None:
        raise InputError("encoding", f"{name} could not be decoded: it is neither JPEG nor PNG")
    _check_size(*size, max_pixels)
    # Ignore the EXIF orientation: the intrinsics belong to the unrotated image.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), flags)
    if pixels is None or pixels.shape[1::-1] != size:
        raise InputError("encoding", f"{name} could not be decoded: the data is damaged")
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


def _validate(message: Any, max_pixels: int) -> None:
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
            f"image encoding {quote(message.encoding)} is not supported; supported are {', '.join(ENCODINGS)}",
        )
    _check_size(message.width, message.height, max_pixels)
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


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InputError("image_size", f"the image has {width}x{height} pixels; max_image_pixels is {max_pixels}")
