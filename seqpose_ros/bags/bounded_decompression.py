# SPDX-License-Identifier: Apache-2.0
"""Decompress MCAP chunks with a size limit.

rosbags decompresses a chunk without a limit: a file of 30 kB can expand to gigabytes. :func:`install` replaces its
functions. They stop at the uncompressed size that the chunk header declares, which may not exceed MAX_CHUNK_BYTES.
"""

from __future__ import annotations

from typing import Any

from lz4.frame import LZ4FrameDecompressor
from rosbags.rosbag2 import storage_mcap
from rosbags.rosbag2.errors import ReaderError

MAX_CHUNK_BYTES = 128 * 2**20  # a chunk holds at least one message: an 8K rgb8 image has 95 MiB


def install() -> None:
    """Make rosbags use the functions of this module."""
    storage_mcap.DECOMPRESSORS.update({"lz4": decompress_lz4, "zstd": decompress_zstd})


def decompress_lz4(data: bytes, size: int) -> bytes:
    """``size`` bytes from an LZ4 frame. :raises ReaderError: the size is too large or wrong."""
    return _decompress(LZ4FrameDecompressor(), data, size)


def decompress_zstd(data: bytes, size: int) -> bytes:
    """``size`` bytes from a Zstandard frame. :raises ReaderError: the size is too large or wrong."""
    return _decompress(storage_mcap.zstd.ZstdDecompressor(), data, size)


def _decompress(decompressor: Any, data: bytes, size: int) -> bytes:
    if size > MAX_CHUNK_BYTES:
        raise ReaderError(f"a chunk declares {size} bytes; at most {MAX_CHUNK_BYTES} are read")
    # One byte more than declared, so that a longer frame is noticed.
    content = bytes(decompressor.decompress(data, max_length=size + 1))
    if len(content) != size or not decompressor.eof:
        raise ReaderError(f"a chunk does not have the {size} bytes that its header declares")
    return content
