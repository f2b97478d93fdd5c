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
        height=HEIGHT if encoding.startswith("nv") else len(rows),
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


def wide(rows: np.ndarray) -> np.ndarray:
    """8-bit samples as little-endian 16-bit samples: the value 200 of 255 is 200 * 257 of 65535."""
    return (rows.astype("<u2") * 257).view(np.uint8)


r, g, b = COLOUR
CHROMA = np.tile(np.array([U, V], np.uint8), WIDTH)
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
    "rgb16": (wide(pixels(r, g, b)), COLOUR, 0),
    "bgr16": (wide(pixels(b, g, r)), COLOUR, 0),
    "rgba16": (wide(pixels(r, g, b, 9)), COLOUR, 0),
    "bgra16": (wide(pixels(b, g, r, 9)), COLOUR, 0),
    "mono16": (wide(pixels(90)), (90, 90, 90), 0),
    "8UC1": (pixels(90), (90, 90, 90), 0),
    "8UC3": (pixels(b, g, r), COLOUR, 0),
    "8UC4": (pixels(b, g, r, 9), COLOUR, 0),
    "nv12": (np.vstack([pixels(Y), np.tile(CHROMA[:WIDTH], (HEIGHT // 2, 1))]), COLOUR, 3),
    "nv21": (np.vstack([pixels(Y), np.tile(CHROMA[:WIDTH][::-1], (HEIGHT // 2, 1))]), COLOUR, 3),
    "nv24": (np.vstack([pixels(Y), np.tile(CHROMA, (HEIGHT, 1)).reshape(2 * HEIGHT, WIDTH)]), COLOUR, 3),
    "bayer_rggb16": (wide(bayer("rggb")), COLOUR, 0),
    "bayer_bggr16": (wide(bayer("bggr")), COLOUR, 0),
    "bayer_gbrg16": (wide(bayer("gbrg")), COLOUR, 0),
    "bayer_grbg16": (wide(bayer("grbg")), COLOUR, 0),
}


def test_the_table_has_every_supported_encoding() -> None:
    assert set(TABLE) == set(images.ENCODINGS)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", TABLE)
@pytest.mark.parametrize("decode", DECODERS)
def test_encodings_decode_to_the_expected_colour(decode: Any, encoding: str, padding: int) -> None:
    if decode is not images.decode_with_numpy and encoding not in images.CV_BRIDGE_ENCODINGS:
        decode = images.decode_image
    rows, expected, tolerance = TABLE[encoding]
    if encoding == "nv24" and padding:  # a row of chroma takes two steps, with the padding of both at its end
        rows = np.vstack([rows[:HEIGHT], np.zeros((2 * HEIGHT, WIDTH), np.uint8)])
        padded = message(rows, encoding, padding=padding)
        luma = np.frombuffer(padded.data, np.uint8)[: HEIGHT * padded.step].tobytes()
        padded.data = luma + HEIGHT * (CHROMA.tobytes() + bytes(2 * padding))
        assert np.abs(decode(padded).astype(int) - expected).max() <= tolerance
        return
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


@pytest.mark.parametrize("encoding", [name for name in TABLE if name.endswith("16")])
def test_16_bit_samples_may_be_big_endian(encoding: str) -> None:
    rows = TABLE[encoding][0]
    # 51450 = 0xC8FA is 200.19 of 255; its bytes in the other order are 0xFAC8, 249.8 of 255.
    distinct = np.full_like(rows.view("<u2"), 0xC8FA)
    source = message(distinct.astype(">u2").view(np.uint8), encoding)
    source.is_bigendian = 1
    assert (images.decode_image(source) == 200).all()


def test_nv12_and_nv24_keep_positions() -> None:
    """The left half is COLOUR, the right half is grey (128 without colour)."""
    luma = np.hstack([np.full((6, 4), Y), np.full((6, 4), 126)]).astype(np.uint8)
    for encoding, chroma in (
        ("nv12", np.tile(np.array([U, V, U, V, 128, 128, 128, 128], np.uint8), (3, 1))),
        ("nv24", np.tile(np.array([U, V] * 4 + [128] * 8, np.uint8), (6, 1)).reshape(12, 8)),
    ):
        image = images.decode_image(message(np.vstack([luma, chroma]), encoding)).astype(int)
        assert np.abs(image[:, :4] - COLOUR).max() <= 3 and np.abs(image[:, 4:] - 128).max() <= 3


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
        ({"encoding": "32FC1"}, "'32FC1' is not supported"),
        ({"encoding": "nv12", "step": 24}, "holds 144 bytes but 9 rows of 24 bytes take 216"),
        ({"encoding": "nv21", "height": 5, "step": 8}, "nv21 image is 5 high; the height must be even"),
        ({"encoding": "yuyv", "width": 7}, "yuyv image is 7 wide; the width must be even"),
    ],
)
def test_the_error_of_a_bad_image_names_the_problem(change: dict[str, Any], expected: str) -> None:
    source = message(pixels(*COLOUR), "rgb8")
    vars(source).update(change)
    with pytest.raises(InputError, match=expected):
        images.decode_image(source)


@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".jpg", 4)])
def test_compressed_images_are_decoded_to_rgb(suffix: str, tolerance: int) -> None:
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


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_compressed_mosaic_is_demosaiced(suffix: str, pattern: str) -> None:
    mosaic = np.tile(bayer(pattern), (4, 4))
    data = cv2.imencode(suffix, mosaic, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    form = f"bayer_{pattern}8; {suffix[1:]} compressed "
    image = images.decode_compressed(SimpleNamespace(format=form, data=data))
    assert np.abs(image.astype(int) - COLOUR).max() <= (0 if suffix == ".png" else 6)


def test_a_mosaic_that_was_converted_before_compression_is_colour() -> None:
    picture = np.full((48, 64, 3), COLOUR, np.uint8)
    data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    image = images.decode_compressed(SimpleNamespace(format="bayer_rggb8; png compressed bgr8", data=data))
    np.testing.assert_array_equal(image, picture)


@pytest.mark.parametrize(("source", "code"), [("mono16", None), ("bayer_rggb16", "rggb"), ("rgb16", "rgb")])
def test_compressed_16_bit_images_are_scaled(source: str, code: str | None) -> None:
    expected = (90, 90, 90) if code is None else COLOUR
    rows = pixels(90) if code is None else bayer(code) if code != "rgb" else pixels(b, g, r).reshape(HEIGHT, WIDTH, 3)
    data = cv2.imencode(".png", rows.astype(np.uint16) * 257)[1].tobytes()
    image = images.decode_compressed(SimpleNamespace(format=f"{source}; png compressed ", data=data))
    assert (image == expected).all()


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("16UC1; png compressed ", "was made of '16UC1', which is not supported"),
        ("32FC1; png compressed ", "was made of '32FC1'"),
        ("bayer_xxxx8; png compressed ", "was made of 'bayer_xxxx8'"),
        ("png", "one channel of 16 bits, as depth images"),
    ],
)
def test_compressed_depth_is_not_taken_for_colour(form: str, reason: str) -> None:
    data = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 800, np.uint16))[1].tobytes()
    with pytest.raises(InputError, match=reason):
        images.decode_compressed(SimpleNamespace(format=form, data=data))


def test_encoding_and_decoding_an_image_message_is_lossless() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    fields = images.image_fields(picture)
    np.testing.assert_array_equal(images.decode_image(SimpleNamespace(**fields)), picture)
