# SPDX-License-Identifier: Apache-2.0
"""Every encoding decodes to the expected colour, with and without cv_bridge."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from seqpose_ros import images
from seqpose_ros.errors import InputError

DECODERS = [images.decode_with_numpy] + ([images.decode_with_cv_bridge] if images.CvBridge else [])
COLOUR = (200, 120, 40)  # RGB, different in every channel
HEIGHT, WIDTH = 6, 8

# COLOUR by ITU-R BT.601, studio swing: Y = 16 + .257 R + .504 G + .098 B, U = 128 - .148 R - .291 G + .439 B,
# V = 128 + .439 R - .368 G - .071 B.
Y, U, V = 132, 81, 169


def message(rows: np.ndarray, encoding: str, width: int = WIDTH, padding: int = 0) -> Any:
    """A sensor_msgs/Image of rows (H, bytes), each followed by `padding` bytes."""
    padded = np.concatenate([rows, np.full((len(rows), padding), 77, np.uint8)], axis=1)
    return SimpleNamespace(
        height=len(rows),
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=padded.shape[1],
        data=padded.tobytes(),
    )


def pixels(*values: int) -> np.ndarray:
    """Rows of WIDTH pixels of one value."""
    return np.tile(np.array(values, np.uint8), (HEIGHT, WIDTH))


def bayer(pattern: str) -> np.ndarray:
    """A mosaic of COLOUR: pattern names the sensors of the first two rows and columns, row by row."""
    sensor = {"r": COLOUR[0], "g": COLOUR[1], "b": COLOUR[2]}
    block = np.array([sensor[c] for c in pattern], np.uint8).reshape(2, 2)
    return np.tile(block, (HEIGHT // 2, WIDTH // 2))


r, g, b = COLOUR
TABLE = {
    "rgb8": (pixels(r, g, b), COLOUR, 0),
    "bgr8": (pixels(b, g, r), COLOUR, 0),
    "rgba8": (pixels(r, g, b, 9), COLOUR, 0),
    "bgra8": (pixels(b, g, r, 9), COLOUR, 0),
    "mono8": (pixels(90), (90, 90, 90), 0),
    "yuv422": (np.tile(np.array([U, Y, V, Y], np.uint8), (HEIGHT, WIDTH // 2)), COLOUR, 3),
    "uyvy": (np.tile(np.array([U, Y, V, Y], np.uint8), (HEIGHT, WIDTH // 2)), COLOUR, 3),
    "yuv422_yuy2": (np.tile(np.array([Y, U, Y, V], np.uint8), (HEIGHT, WIDTH // 2)), COLOUR, 3),
    "yuyv": (np.tile(np.array([Y, U, Y, V], np.uint8), (HEIGHT, WIDTH // 2)), COLOUR, 3),
    "bayer_rggb8": (bayer("rggb"), COLOUR, 0),
    "bayer_bggr8": (bayer("bggr"), COLOUR, 0),
    "bayer_gbrg8": (bayer("gbrg"), COLOUR, 0),
    "bayer_grbg8": (bayer("grbg"), COLOUR, 0),
}


def test_the_table_has_every_supported_encoding() -> None:
    assert set(TABLE) == set(images.ENCODINGS)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", TABLE)
@pytest.mark.parametrize("decode", DECODERS)
def test_encodings_decode_to_the_expected_colour(decode: Any, encoding: str, padding: int) -> None:
    rows, expected, tolerance = TABLE[encoding]
    image = decode(message(rows, encoding, padding=padding))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("decode", DECODERS)
def test_pixels_keep_their_position(decode: Any) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for encoding, channels in (("rgb8", picture), ("bgr8", picture[..., ::-1])):
        image = decode(message(channels.reshape(48, -1), encoding, width=64, padding=7))
        np.testing.assert_array_equal(image, picture)


def test_rgb8_is_not_copied() -> None:
    source = message(pixels(*COLOUR), "rgb8")
    buffer = bytearray(source.data)
    source.data = buffer
    image = images.decode_with_numpy(source)
    buffer[0] = 1
    assert image[0, 0, 0] == 1


def test_a_large_image_is_decoded_completely() -> None:
    picture = np.zeros((2160, 3840, 3), np.uint8)
    picture[-1, -1] = COLOUR
    image = images.decode_image(message(picture.reshape(2160, -1), "rgb8", width=3840))
    assert image.shape == picture.shape
    assert tuple(image[-1, -1]) == COLOUR


def test_bytes_after_the_last_row_are_ignored() -> None:
    source = message(pixels(*COLOUR), "rgb8")
    source.data += b"tail"
    assert (images.decode_image(source) == COLOUR).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"encoding": "16UC1"}, "'16UC1' is not supported; supported are rgb8, bgr8"),
        ({"encoding": ""}, "'' is not supported"),
        ({"width": 0}, r"empty \(0x6, 144 bytes\)"),
        ({"data": b""}, r"empty \(8x6, 0 bytes\)"),
        ({"step": 20}, "step is 20 bytes but 8 pixels of rgb8 take 24"),
        ({"data": b"123"}, "holds 3 bytes but 6 rows of 24 bytes take 144"),
        ({"encoding": "yuyv", "width": 7}, "yuyv image is 7 wide; the width must be even"),
    ],
)
def test_the_error_of_a_bad_image_names_the_problem(change: dict[str, Any], expected: str) -> None:
    source = message(pixels(*COLOUR), "rgb8")
    vars(source).update(change)
    with pytest.raises(InputError, match=expected):
        images.decode_image(source)


@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".jpg", 4)])
def test_compressed_images_come_as_rgb(suffix: str, tolerance: int) -> None:
    picture = np.full((48, 64, 3), COLOUR, np.uint8)
    data = cv2.imencode(suffix, picture[..., ::-1])[1].tobytes()
    image = images.decode_compressed(SimpleNamespace(format=f"rgb8; {suffix[1:]} compressed bgr8", data=data))
    assert np.abs(image.astype(int) - picture).max() <= tolerance


def test_the_exif_orientation_is_ignored() -> None:
    data = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    # TIFF, little endian, one entry: tag 0x0112 (orientation), type short, value 6 (rotate by 90 degrees).
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    rotated = data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    assert cv2.imdecode(np.frombuffer(rotated, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (64, 48)
    assert images.decode_compressed(SimpleNamespace(format="jpeg", data=rotated)).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("form", "data", "expected"),
    [
        ("jpeg", b"", "empty"),
        ("jpeg", b"no image", "8 bytes with format 'jpeg' could not be decoded"),
        ("16UC1; compressedDepth png", b"x", "depth image"),
    ],
)
def test_bad_compressed_images_are_refused(form: str, data: bytes, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        images.decode_compressed(SimpleNamespace(format=form, data=data))


def test_encoding_and_decoding_an_image_message_is_lossless() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    fields = images.image_fields(picture)
    np.testing.assert_array_equal(images.decode_image(SimpleNamespace(**fields)), picture)
