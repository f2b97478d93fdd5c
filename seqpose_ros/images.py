# SPDX-License-Identifier: Apache-2.0
"""Decode image messages to RGB arrays, with cv_bridge if it is installed, otherwise with NumPy and OpenCV.

Messages are duck-typed (the fields of sensor_msgs/Image or sensor_msgs/CompressedImage): the node and the bag reader
use the same code.
"""

from __future__ import annotations

import re
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
    """A sensor_msgs encoding.

    :param channels: samples per pixel of the rows that ``step`` describes. :param to_rgb: OpenCV's conversion of 8-bit
        samples to RGB; None: they are RGB. :param depth: bytes per sample.
    :param planes: rows of all planes, in rows of ``step`` bytes per image row.
    """

    channels: int
    to_rgb: int | None
    depth: int = 1
    planes: float = 1


# OpenCV names a Bayer pattern by its second row and column, ROS by its first: rggb is OpenCV's "BayerBG".
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(3, None),
    "bgr8": Encoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(4, cv2.COLOR_BGRA2RGB),
    "rgb16": Encoding(3, None, 2),
    "bgr16": Encoding(3, cv2.COLOR_BGR2RGB, 2),
    "rgba16": Encoding(4, cv2.COLOR_RGBA2RGB, 2),
    "bgra16": Encoding(4, cv2.COLOR_BGRA2RGB, 2),
    "mono8": Encoding(1, cv2.COLOR_GRAY2RGB),
    "mono16": Encoding(1, cv2.COLOR_GRAY2RGB, 2),
    "8UC1": Encoding(1, cv2.COLOR_GRAY2RGB),
    "8UC3": Encoding(3, cv2.COLOR_BGR2RGB),  # OpenCV's order of channels
    "8UC4": Encoding(4, cv2.COLOR_BGRA2RGB),
    "yuv422": Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "nv12": Encoding(1, cv2.COLOR_YUV2RGB_NV12, planes=1.5),
    "nv21": Encoding(1, cv2.COLOR_YUV2RGB_NV21, planes=1.5),
    "nv24": Encoding(1, cv2.COLOR_YUV2RGB_NV12, planes=3),
    **{f"bayer_{pattern}8": Encoding(1, code) for pattern, code in _BAYER.items()},
    **{f"bayer_{pattern}16": Encoding(1, code, 2) for pattern, code in _BAYER.items()},
}
# Encodings whose chroma is shared by two columns, or by two rows as well.
_EVEN_WIDTH = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21")
_EVEN_HEIGHT = ("nv12", "nv21")
# Encodings of OpenCV matrices (32FC1), which sensor_msgs uses for depth and other measurements.
_MATRIX = re.compile(r"(8|16|32|64)[USF]C\d*")

#: Largest accepted image: 8K UHD (7680x4320).
MAX_IMAGE_PIXELS = 33_177_600

# cv_bridge converts these; it has no other encodings, or converts them without regard to padding and byte order.
CV_BRIDGE_ENCODINGS = frozenset(
    {"rgb8", "bgr8", "rgba8", "bgra8", "mono8", "yuv422", "uyvy", "yuv422_yuy2", "yuyv"}
    | {f"bayer_{pattern}8" for pattern in _BAYER}
)
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
    if CvBridge is None or message.encoding not in CV_BRIDGE_ENCODINGS:
        return decode_with_numpy(message)
    return decode_with_cv_bridge(message)


def decode_with_numpy(message: Any) -> np.ndarray:
    """:func:`decode_image` with NumPy and OpenCV, for a validated message."""
    encoding = ENCODINGS[message.encoding]
    height, width, row = message.height, message.width, message.width * encoding.channels * encoding.depth
    lines = int(height * encoding.planes)
    rows = np.frombuffer(message.data, dtype=np.uint8, count=lines * message.step).reshape(lines, message.step)
    if message.encoding == "nv24":
        return _decode_nv24(rows, height, width)
    pixels = rows[:, :row]  # without row padding, still a view
    if encoding.depth == 2:
        wide = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2")
        pixels = _to_8_bits(wide)
    if encoding.channels > 1:
        pixels = pixels.reshape(height, width, encoding.channels)
    if encoding.to_rgb is None:
        return pixels
    # OpenCV requires contiguous rows; only padded images are copied.
    return cv2.cvtColor(np.ascontiguousarray(pixels), encoding.to_rgb)


def _to_8_bits(samples: np.ndarray) -> np.ndarray:
    """16-bit samples scaled to 0..255."""
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _decode_nv24(rows: np.ndarray, height: int, width: int) -> np.ndarray:
    """RGB of a plane Y and a plane of U and V at full resolution: NV12 of an image that is twice as large."""
    luma = rows[:height, :width].repeat(2, axis=0).repeat(2, axis=1)
    chroma = rows[height:].reshape(height, -1)[:, : 2 * width]
    return cv2.cvtColor(np.vstack([luma, chroma]), cv2.COLOR_YUV2RGB_NV12)[::2, ::2]


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

    The format string of image_transport names the encoding of the image before compression: a Bayer mosaic is
    demosaiced, and depth is refused.

    :raises InputError: the message is empty, is a depth image, is neither JPEG nor PNG, is damaged, or has more than
        ``max_pixels`` pixels.
    """
    if len(message.data) == 0:
        raise InputError("empty_image", "the compressed image is empty (0 bytes); is the camera delivering?")
    if "compressedDepth" in message.format:
        raise InputError("encoding", f"format {quote(message.format)} is a depth image; a colour image is needed")
    name = f"a compressed image of {len(message.data)} bytes with format {quote(message.format)}"
    source = message.format.partition(";")[0].strip()
    if source not in ENCODINGS and (_MATRIX.fullmatch(source) or source.startswith("bayer_")):
        raise InputError("encoding", f"{name} was made of {quote(source)}, which is not supported; {_supported()}")
    size = image_size(memoryview(message.data).cast("B"))
    if size is None:
        raise InputError("encoding", f"{name} could not be decoded: it is neither JPEG nor PNG")
    _check_size(*size, max_pixels)
    # IMREAD_UNCHANGED keeps 16 bits and ignores the EXIF orientation: the intrinsics belong to the unrotated image.
    pixels = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[1::-1] != size:
        raise InputError("encoding", f"{name} could not be decoded: the data is damaged")
    return _to_rgb(pixels, source, name)


def _to_rgb(pixels: np.ndarray, source: str, name: str) -> np.ndarray:
    """RGB of the pixels of a JPEG or PNG file, as OpenCV decodes it.

    :param source: encoding of the image before compression, by image_transport's format string; may be empty.
    """
    grey = pixels.ndim == 2
    if pixels.dtype == np.uint16:
        if grey and source not in ENCODINGS:
            raise InputError(
                "encoding", f"{name} has one channel of 16 bits, as depth images; state mono16 if it is grey"
            )
        pixels = _to_8_bits(pixels)
    if grey:
        # A mosaic is compressed as a grey image.
        pattern = source.removeprefix("bayer_").rstrip("0123456789")
        return cv2.cvtColor(pixels, _BAYER.get(pattern, cv2.COLOR_GRAY2RGB))
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


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
            f"image encoding {quote(message.encoding)} is not supported; {_supported()}",
        )
    _check_size(message.width, message.height, max_pixels)
    row = message.width * encoding.channels * encoding.depth
    if message.step < row:
        raise InputError(
            "bad_image",
            f"image step is {message.step} bytes but {message.width} pixels of {message.encoding} take {row}",
        )
    lines = int(message.height * encoding.planes)
    if len(message.data) < lines * message.step:
        raise InputError(
            "bad_image",
            f"the image holds {len(message.data)} bytes but {lines} rows of {message.step} bytes "
            f"take {lines * message.step}",
        )
    if message.encoding in _EVEN_WIDTH and message.width % 2:
        raise InputError("bad_image", f"a {message.encoding} image is {message.width} wide; the width must be even")
    if message.encoding in _EVEN_HEIGHT and message.height % 2:
        raise InputError("bad_image", f"a {message.encoding} image is {message.height} high; the height must be even")


def _supported() -> str:
    return f"supported are {', '.join(ENCODINGS)}"


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InputError("image_size", f"the image has {width}x{height} pixels; max_image_pixels is {max_pixels}")
