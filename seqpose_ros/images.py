# SPDX-License-Identifier: Apache-2.0
"""Image messages to RGB arrays: by cv_bridge where a distribution has it, by NumPy and OpenCV elsewhere.

Messages are duck-typed: any object with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage, so
that a bag read without ROS goes through the same code as the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from seqpose_ros.errors import InputError

try:
    from cv_bridge import CvBridge
except ImportError:  # not on PyPI; and a distribution's, built against NumPy 1, does not import under NumPy 2
    CvBridge = None


@dataclass(frozen=True)
class Encoding:
    """How one sensor_msgs encoding becomes RGB: bytes a pixel, and OpenCV's conversion (None: it is RGB)."""

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

# cv_bridge of Humble knows the YUV encodings by their older names only.
_CV_BRIDGE_NAMES = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}


def decode(message: Any) -> np.ndarray:
    """RGB pixels (H, W, 3) uint8 of a sensor_msgs/Image or a sensor_msgs/CompressedImage.

    :raises InputError: see :func:`decode_image` and :func:`decode_compressed`.
    """
    return decode_compressed(message) if hasattr(message, "format") else decode_image(message)


def decode_image(message: Any) -> np.ndarray:
    """RGB pixels of a sensor_msgs/Image.

    :return: (H, W, 3) uint8. For rgb8 it is a view of the message's own bytes: do not write into it.
    :raises InputError: for an empty image, an encoding that is not in :data:`ENCODINGS`, or too few bytes.
    """
    _check(message)
    return decode_with_numpy(message) if CvBridge is None else decode_with_cv_bridge(message)


def decode_with_numpy(message: Any) -> np.ndarray:
    """:func:`decode_image` by NumPy and OpenCV alone, for a message that was checked."""
    encoding = ENCODINGS[message.encoding]
    height, width, row = message.height, message.width, message.width * encoding.channels
    rows = np.frombuffer(message.data, dtype=np.uint8, count=height * message.step).reshape(height, message.step)
    pixels = rows[:, :row]  # without the padding, still a view
    if encoding.channels > 1:
        pixels = pixels.reshape(height, width, encoding.channels)
    if encoding.to_rgb is None:
        return pixels
    # OpenCV wants contiguous rows; this copies padded images only.
    return cv2.cvtColor(np.ascontiguousarray(pixels), encoding.to_rgb)


def decode_with_cv_bridge(message: Any) -> np.ndarray:
    """:func:`decode_image` by cv_bridge, for a message that was checked."""
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
    # The pixels must lie as the camera saw them: an EXIF orientation would part them from the intrinsics.
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
    """The fields, but for the header, of a sensor_msgs/Image that carries ``rgb`` (H, W, 3) uint8."""
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


def _check(message: Any) -> None:
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
