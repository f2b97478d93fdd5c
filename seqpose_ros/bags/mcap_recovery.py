# SPDX-License-Identifier: Apache-2.0
"""Recover the complete records of a truncated MCAP file, as a killed recorder leaves it.

Record layout (https://mcap.dev/spec): opcode (1 byte), length (8 bytes, little endian), content.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _CHUNK, _DATA_END = 0x02, 0x06, 0x0F
_HEAD = struct.Struct("<BQ")
_CHUNK_HEAD = struct.Struct("<QQQII")  # start and end time, uncompressed size, CRC, length of the compression name


def is_truncated(path: Path) -> bool:
    """Whether a file starts with the MCAP magic bytes and does not end with them."""
    with path.open("rb") as file:
        begins = file.read(len(MAGIC)) == MAGIC
        file.seek(max(0, file.seek(0, io.SEEK_END) - len(MAGIC)))
        return begins and file.read() != MAGIC


def recover(path: Path, out: Path) -> None:
    """Copy the complete records of a truncated file to ``out``, an MCAP file without an index.

    Messages of a truncated chunk are recovered only if the chunk is not compressed.
    """
    size = path.stat().st_size
    with path.open("rb") as source, out.open("wb") as target:
        target.write(source.read(len(MAGIC)))
        for opcode, content, complete in _records(source, size):
            if opcode in (_DATA_END, _FOOTER):
                break
            if complete:
                _write(target, opcode, content)
            elif opcode == _CHUNK:
                inner = _uncompressed_records(content)
                for code, record, inner_complete in _records(io.BytesIO(inner), len(inner)):
                    if inner_complete:
                        _write(target, code, record)
        _write(target, _DATA_END, bytes(4))
        _write(target, _FOOTER, bytes(20))
        target.write(MAGIC)


def _records(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Opcode and content of each record, and whether the content is complete; only the last may be truncated."""
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        opcode, length = _HEAD.unpack(head)
        content = file.read(min(length, size))  # a corrupt length may exceed the memory
        yield opcode, content, len(content) == length


def _uncompressed_records(chunk: bytes) -> bytes:
    """The records inside a chunk; empty if the chunk is compressed."""
    if len(chunk) < _CHUNK_HEAD.size:
        return b""
    name_length = _CHUNK_HEAD.unpack_from(chunk)[-1]
    return b"" if name_length else chunk[_CHUNK_HEAD.size + 8 :]


def _write(target: BinaryIO, opcode: int, content: bytes) -> None:
    target.write(_HEAD.pack(opcode, len(content)))
    target.write(content)
