# SPDX-License-Identifier: Apache-2.0
"""Random images and camera_infos, from valid to absurd, reproducible by the random generator."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from seqpose_core import Camera
from seqpose_ros.images import ENCODINGS
from seqpose_ros.stress.rig import info_message

_SIZES = (0, 1, 2, 3, 48, 64, 65, 2**16, 2**31, 2**32 - 1)
_STRINGS = ("", "rgb", "RGB8", "\x00", "8UC1; compressedDepth", "32FC1", "x" * 10_000, "é" * 100, "bayer_", "../..")
_NUMBERS = (0.0, -0.0, -1.0, 1e-300, 1e-30, 1e30, 1e300, np.inf, -np.inf, np.nan, 90.0, 1e5)
_CAMERA = Camera(90.0, 92.0, 31.0, 23.0, 64, 48)


def random_image(random: np.random.Generator, header: Header) -> Image:
    """An image of 64x48 pixels in a random encoding with, mostly, one or two wrong fields."""
    encoding = str(random.choice(list(ENCODINGS)))
    kind = ENCODINGS[encoding]
    height, width = 48, 64
    step = width * kind.channels * kind.depth + int(random.choice([0, 0, 4, 13]))
    data = random.integers(0, 256, int(height * kind.planes) * step, np.uint8).tobytes()
    values: dict[str, Any] = {
        "encoding": encoding,
        "height": height,
        "width": width,
        "step": step,
        "is_bigendian": int(random.integers(0, 2)),
    }
    for _ in range(random.integers(0, 3)):
        name = str(random.choice(["encoding", "height", "width", "step", "data"]))
        if name == "data":
            data = data[: random.integers(0, len(data) + 1)]
        else:
            values[name] = str(random.choice(_STRINGS)) if name == "encoding" else int(random.choice(_SIZES))
    return Image(header=header, data=array.array("B", data), **values)


def random_compressed(random: np.random.Generator, header: Header) -> CompressedImage:
    """A JPEG or PNG image with, mostly, changed bytes, a truncated end or another format string."""
    pixels = random.integers(0, 256, (48, 64, 3), np.uint8)
    extension = str(random.choice([".jpg", ".png"]))
    data = bytearray(cv2.imencode(extension, pixels)[1].tobytes())
    for _ in range(random.choice([0, 1, 8, 64])):
        data[random.integers(0, len(data))] = random.integers(0, 256)
    if random.random() < 0.2:
        data = data[: random.integers(0, len(data))]
    formats = ("rgb8; jpeg compressed bgr8", "jpeg", "png", "", *_STRINGS)
    return CompressedImage(header=header, format=str(random.choice(formats)), data=array.array("B", bytes(data)))


def random_info(random: np.random.Generator, header: Header) -> CameraInfo:
    """camera_info of 64x48 pixels with, mostly, some wrong fields."""
    message = info_message(header, _CAMERA)
    for _ in range(random.integers(0, 4)):
        name = str(random.choice(["k", "p", "d", "width", "height", "distortion_model", "binning_x", "roi"]))
        if name in ("k", "p"):
            values = np.array(getattr(message, name))
            values[random.integers(0, len(values))] = random.choice(_NUMBERS)
            setattr(message, name, values)
        elif name == "d":
            message.d = random.choice(_NUMBERS, random.integers(0, 15)).tolist()
        elif name == "distortion_model":
            names = ("plumb_bob", "equidistant", "rational_polynomial", *_STRINGS)
            message.distortion_model = str(random.choice(names))
        elif name == "roi":
            message.roi.x_offset, message.roi.y_offset = (int(random.choice(_SIZES)) for _ in range(2))
            message.roi.width, message.roi.height = (int(random.choice(_SIZES)) for _ in range(2))
        else:
            setattr(message, name, int(random.choice(_SIZES)))
    return message
