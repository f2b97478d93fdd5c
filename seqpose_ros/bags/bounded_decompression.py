# SPDX-License-Identifier: Apache-2.0
"""Decompress parts of bags with a size limit: a file of 30 kB can expand to gigabytes."""

from __future__ import annotations

import sys
from typing import Any

from lz4.frame import LZ4FrameDecompressor

from seqpose_ros.bags.storage import StorageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_CHUNK_BYTES = 128 * 2**20  # a chunk holds at least one message: an 8K rgb8 image has 95 MiB


def decompress(compression: str, data: bytes, size: int) -> bytes:
    """Decompress an lz4 or zstd frame to ``size`` bytes. :raises StorageError: another compression, or a wrong size."""
    functions = {"lz4": decompress_lz4, "zstd": decompress_zstd}
    if compression not in functions:
        raise StorageError(f"compression {compression!r} is not supported; supported are {' and '.join(functions)}")
    return functions[compression](data, size)


def decompress_lz4(data: bytes, size: int) -> bytes:
    """Decompress an LZ4 frame to ``size`` bytes. :raises StorageError: the size is too large or wrong."""
    return _decompress(LZ4FrameDecompressor(), data, size)


def decompress_zstd(data: bytes, size: int) -> bytes:
    """Decompress a Zstandard frame to ``size`` bytes. :raises StorageError: the size is too large or wrong."""
    return _decompress(zstd.ZstdDecompressor(), data, size)


def decompress_message(data: bytes) -> bytes:
    """Decompress a Zstandard frame of unknown size. :raises StorageError: it is damaged or too large."""
    decompressor = zstd.ZstdDecompressor()
    try:
        content = decompressor.decompress(data, max_length=MAX_CHUNK_BYTES)
    except zstd.ZstdError as error:
        raise StorageError(f"a message cannot be decompressed: {error}") from error
    if not decompressor.eof:
        raise StorageError(f"a compressed message is incomplete or has more than {MAX_CHUNK_BYTES} bytes")
    return content


def _decompress(decompressor: Any, data: bytes, size: int) -> bytes:
    if size > MAX_CHUNK_BYTES:
        raise StorageError(f"a chunk declares {size} bytes; at most {MAX_CHUNK_BYTES} are read")
    try:
        # One byte more than declared, to detect a longer frame.
        content = bytes(decompressor.decompress(data, max_length=size + 1))
    except (zstd.ZstdError, RuntimeError) as error:  # lz4 raises RuntimeError
        raise StorageError(f"a chunk cannot be decompressed: {error}") from error
    if len(content) != size or not decompressor.eof:
        raise StorageError(f"a chunk does not have the {size} bytes that its header declares")
    return content
