# SPDX-License-Identifier: Apache-2.0
"""The size of compressed images is read from the header, and large images are refused before decoding."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from seqpose_ros import images
from seqpose_ros.errors import InputError
from seqpose_ros.image_size import image_size

PICTURE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def encode(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, PICTURE, options)[1].tobytes()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG file of one image chunk that expands to rows of zeros."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def jpeg_of_size(width: int, height: int) -> bytes:
    """A valid JPEG file whose frame header was changed to another size."""
    data = encode(".jpg")
    start = data.index(b"\xff\xc0")  # marker, length (2), precision (1), height (2), width (2)
    return data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 :]


@pytest.mark.parametrize(
    "data",
    [
        encode(".png"),
        encode(".jpg"),
        encode(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encode(".jpg")[:2] + b"\xff\xe1\x00\x06Exif" + encode(".jpg")[2:],  # another segment comes first
        encode(".jpg")[:2] + b"\xff\xff\xff" + encode(".jpg")[2:],  # fill bytes before a marker
    ],
)
def test_the_header_gives_the_size_of_the_decoded_image(data: bytes) -> None:
    assert image_size(data) == (64, 48)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a" + bytes(30),
        encode(".bmp"),
        encode(".jpg")[:150],
    ],
)
def test_other_formats_and_incomplete_headers_have_no_size(data: bytes) -> None:
    assert image_size(data) is None


@pytest.mark.parametrize("data", [png_of_size(50_000, 40_000), jpeg_of_size(65_535, 65_500)])
def test_a_small_file_that_declares_a_huge_image_is_refused_without_decoding(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the image was decoded")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    with pytest.raises(InputError, match=r"image has \d+x\d+ pixels; max_image_pixels is 33177600") as error:
        images.decode(SimpleNamespace(format="jpeg", data=data))
    assert error.value.kind == "image_size"


def test_the_limit_is_the_number_of_pixels() -> None:
    message = SimpleNamespace(format="png", data=encode(".png"))
    assert images.decode(message, 64 * 48).shape == (48, 64, 3)
    with pytest.raises(InputError, match="image has 64x48 pixels; max_image_pixels is 3071"):
        images.decode(message, 64 * 48 - 1)
    raw = SimpleNamespace(**images.image_fields(PICTURE))
    assert images.decode(raw, 64 * 48).shape == (48, 64, 3)
    with pytest.raises(InputError, match="max_image_pixels is 3071"):
        images.decode(raw, 64 * 48 - 1)


@pytest.mark.parametrize("data", [b"GIF89a" + bytes(30), encode(".bmp"), encode(".tiff"), encode(".webp")])
def test_only_jpeg_and_png_are_decoded(data: bytes) -> None:
    with pytest.raises(InputError, match="could not be decoded: it is neither JPEG nor PNG"):
        images.decode(SimpleNamespace(format="jpeg", data=data))


def test_a_damaged_image_is_refused() -> None:
    with pytest.raises(InputError, match="could not be decoded"):
        images.decode(SimpleNamespace(format="png", data=encode(".png")[:40]))


def test_a_long_encoding_is_shortened_in_the_error() -> None:
    raw = SimpleNamespace(**{**images.image_fields(PICTURE), "encoding": "x" * 5_000_000})
    with pytest.raises(InputError) as error:
        images.decode(raw)
    assert "image encoding 'xxx" in str(error.value)
    assert len(str(error.value)) < 500
