# SPDX-License-Identifier: Apache-2.0
"""Read the size of a JPEG or PNG image from its header, without decoding it.

A few hundred bytes can declare an image of gigabytes, so the size is checked before the decoder allocates memory.
"""

from __future__ import annotations

import struct

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8"
#: JPEG markers (ITU-T T.81, table B.1): start of frame, except DHT (C4), JPG (C8) and DAC (CC), has the image size.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0 to RST7, SOI
_MAX_SEGMENTS = 1000


def image_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """(width, height) in pixels, or None if ``data`` is neither JPEG nor PNG or has no complete header."""
    if bytes(data[:8]) == _PNG_SIGNATURE:
        if len(data) < 24 or bytes(data[12:16]) != b"IHDR":
            return None
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if bytes(data[:2]) == _JPEG_SIGNATURE:
        return _jpeg_size(data)
    return None


def _jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    position = 2
    for _ in range(_MAX_SEGMENTS):
        while position < len(data) and data[position] == 0xFF:  # the marker prefix and fill bytes
            position += 1
        if position + 3 > len(data):
            return None
        marker = data[position]
        if marker in _WITHOUT_LENGTH:
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 1)
        if marker in _START_OF_FRAME:
            if position + 8 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, position + 4)
            return width, height
        position += 1 + length
    return None
