# SPDX-License-Identifier: Apache-2.0
"""What a recorder that was killed leaves: an MCAP file without its end. Its whole records are saved here.

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
_CHUNK_HEAD = struct.Struct("<QQQII")  # first and last time, size, checksum, length of the compression's name


def is_cut(path: Path) -> bool:
    """Whether a file begins as MCAP and does not end as MCAP."""
    with path.open("rb") as file:
        begins = file.read(len(MAGIC)) == MAGIC
        file.seek(max(0, file.seek(0, io.SEEK_END) - len(MAGIC)))
        return begins and file.read() != MAGIC


def recover(path: Path, out: Path) -> None:
    """Copy the whole records of a cut file to ``out``, an MCAP file without index.

    Of the chunk in which the cut lies, the messages before it are kept if the chunk is not compressed.
    """
    size = path.stat().st_size
    with path.open("rb") as source, out.open("wb") as target:
        target.write(source.read(len(MAGIC)))
        for opcode, content, whole in _records(source, size):
            if opcode in (_DATA_END, _FOOTER):
                break
            if whole:
                _write(target, opcode, content)
            elif opcode == _CHUNK:
                inner = _plain_records(content)
                for code, record, complete in _records(io.BytesIO(inner), len(inner)):
                    if complete:
                        _write(target, code, record)
        _write(target, _DATA_END, bytes(4))
        _write(target, _FOOTER, bytes(20))
        target.write(MAGIC)


def _records(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Opcode and content of each record, and whether all of it is there; only the last may be cut."""
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        opcode, length = _HEAD.unpack(head)
        content = file.read(min(length, size))  # a damaged length asks for more memory than there is
        yield opcode, content, len(content) == length


def _plain_records(chunk: bytes) -> bytes:
    """The records, up to the cut, of a chunk's content; none if they are compressed."""
    if len(chunk) < _CHUNK_HEAD.size:
        return b""
    named = _CHUNK_HEAD.unpack_from(chunk)[-1]
    return b"" if named else chunk[_CHUNK_HEAD.size + 8 :]


def _write(target: BinaryIO, opcode: int, content: bytes) -> None:
    target.write(_HEAD.pack(opcode, len(content)))
    target.write(content)
