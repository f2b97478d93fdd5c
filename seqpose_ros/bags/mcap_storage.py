# SPDX-License-Identifier: Apache-2.0
"""Read MCAP files, intact or damaged.

Record layout (https://mcap.dev/spec): opcode (1 byte), length (8 bytes, little endian), content. The index at the end
of the file is used if it is consistent; otherwise all records are scanned, up to the point where the file is truncated.
"""

from __future__ import annotations

import heapq
import io
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from seqpose_ros.bags.bounded_decompression import decompress
from seqpose_ros.bags.storage import Connection, StorageError, normalize_type

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
_CHUNK_INDEX, _STATISTICS, _DATA_END = 0x08, 0x0B, 0x0F
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK_HEAD = struct.Struct("<QQQI")  # start and end time, uncompressed size, CRC
_FOOTER_SIZE = _RECORD.size + 20 + len(MAGIC)

Report = Callable[[str], None]


@dataclass(frozen=True)
class _Block:
    """A chunk, or a message outside chunks: its time range, its position, and its channels if known."""

    start: int
    end: int
    offset: int
    channels: frozenset[int] | None


class McapStorage:
    """An open MCAP file.

    :param report: receives a description of each part that cannot be read.
    :raises StorageError: the file is not an MCAP file, or is a ROS 1 recording.
    """

    def __init__(self, path: Path, report: Report) -> None:
        self._report = report
        self._file: BinaryIO = path.open("rb")
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._channels: dict[int, tuple[int, str, str]] = {}
        self._counts: Counter[int] = Counter()
        self._blocks: list[_Block] = []
        self._size = self._file.seek(0, io.SEEK_END)
        try:
            self._data_start = self._read_header()
            if not self._read_summary():
                self._scan()
        except BaseException:
            self._file.close()
            raise
        self.connections = [self._connection(key) for key in self._channels]
        # A chunk without messages declares the times 0.
        filled = [b for b in self._blocks if b.channels or (b.channels is None and b.end > 0)]
        self.times = (min(b.start for b in filled), max(b.end for b in filled)) if filled else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(self, ids: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """(recorded time in ns, channel, serialized message) of these channels, in recorded order.

        Chunks may overlap in time: a message is returned as soon as no later chunk can contain an earlier one.
        """
        wanted, order = frozenset(ids), count()
        pending: list[tuple[int, int, int, bytes]] = []
        for block in sorted(self._blocks, key=lambda b: b.start):
            if block.channels is not None and not block.channels & wanted:
                continue
            while pending and pending[0][0] < block.start:
                time, _, channel, data = heapq.heappop(pending)
                yield time, channel, data
            for channel, time, data in self._block_messages(block):
                if channel in wanted:
                    heapq.heappush(pending, (time, next(order), channel, data))
        while pending:
            time, _, channel, data = heapq.heappop(pending)
            yield time, channel, data

    def _read_header(self) -> int:
        """Check the magic bytes and the profile; returns the position of the first record after the header."""
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            raise StorageError("it is not an MCAP file")
        head = self._file.read(_RECORD.size)
        if len(head) == _RECORD.size and head[0] == _HEADER:
            end = self._file.tell() + _RECORD.unpack(head)[1]
            content = io.BytesIO(self._file.read(min(_RECORD.unpack(head)[1], self._size)))
            if end <= self._size and _text(content) == "ros1":
                raise StorageError(
                    "it is a ROS 1 recording in MCAP; make a ROS 2 bag of the original .bag file: "
                    "rosbags-convert --src FILE.bag --dst NEW"
                )
            return min(end, self._size)
        return len(MAGIC)

    def _read_summary(self) -> bool:
        """Read schemas, channels, chunk index and counts from the end of the file; False if they are not complete."""
        if self._size < self._data_start + _FOOTER_SIZE:
            return False
        self._file.seek(self._size - _FOOTER_SIZE)
        footer = self._file.read()
        if not footer.endswith(MAGIC) or _RECORD.unpack_from(footer) != (_FOOTER, 20):
            return False
        start, _, crc = struct.unpack_from("<QQI", footer, _RECORD.size)
        if not self._data_start <= start <= self._size - _FOOTER_SIZE:
            return False
        self._file.seek(start)
        summary = self._file.read(self._size - start - len(MAGIC))
        if crc and crc32(summary[:-4]) != crc:
            return False
        expected: tuple[int, ...] | None = None
        try:
            for opcode, content, _, _ in _records(io.BytesIO(summary), len(summary)):
                if opcode == _CHUNK_INDEX:
                    self._blocks.append(_chunk_index(content))
                elif opcode == _STATISTICS:
                    expected = struct.unpack_from("<QHIIIIQQ", content)
                    pairs = content[46 : 46 + struct.unpack_from("<I", content, 42)[0]]
                    self._counts.update(dict(struct.iter_unpack("<HQ", pairs)))
                else:
                    self._read_definition(opcode, content)
        except (struct.error, StorageError):
            expected = None
        if (
            expected is None
            or (len(self._schemas), len(self._channels)) != expected[1:3]
            or len(self._blocks) != expected[5]
            or (expected[0] and not self._blocks)  # messages outside chunks have no index
            or expected[0] != sum(self._counts.values())  # the numbers of messages by channel are optional
        ):
            self._schemas, self._channels, self._counts, self._blocks = {}, {}, Counter(), []
            return False
        return True

    def _scan(self) -> None:
        """Read schemas, channels, counts and positions from all records."""
        self._file.seek(self._size - min(self._size, len(MAGIC)))
        if self._file.read() != MAGIC:
            self._report("is truncated: everything after its last complete message is lost")
        self._file.seek(self._data_start)
        for opcode, content, offset, complete in _records(self._file, self._size):
            if opcode in (_DATA_END, _FOOTER):
                return
            if opcode not in (_CHUNK, _MESSAGE):
                self._scan_definition(opcode, content)
                continue
            if opcode == _MESSAGE and not complete:
                return
            times, channels = [], set()
            try:
                for code, record in self._inner_records(opcode, content):
                    if code == _MESSAGE:
                        channel, _, time, _ = _MESSAGE_HEAD.unpack_from(record)
                        times.append(time)
                        channels.add(channel)
                        self._counts[channel] += 1
                    else:
                        self._scan_definition(code, record)
            except (StorageError, struct.error) as error:
                self._report(f"cannot be read completely: at byte {offset}, {error}")
            if times:
                self._blocks.append(_Block(min(times), max(times), offset, frozenset(channels)))

    def _scan_definition(self, opcode: int, content: bytes) -> None:
        try:
            self._read_definition(opcode, content)
        except StorageError as error:
            self._report(f"cannot be read completely: {error}")

    def _read_definition(self, opcode: int, content: bytes) -> None:
        """Read a schema or a channel record; others are ignored."""
        if opcode not in (_SCHEMA, _CHANNEL):
            return
        stream = io.BytesIO(content)
        (key,) = _unpack(stream, "<H")
        if opcode == _SCHEMA:
            self._schemas[key] = (_text(stream), _text(stream), _text(stream))
        else:
            (schema,) = _unpack(stream, "<H")
            self._channels[key] = (schema, _text(stream), _text(stream))

    def _connection(self, key: int) -> Connection:
        schema, topic, encoding = self._channels[key]
        name, definition_format, definition = self._schemas.get(schema, ("", "", ""))
        msgtype = normalize_type(name)
        return Connection(key, topic, msgtype, encoding, definition, definition_format, self._counts[key])

    def _block_messages(self, block: _Block) -> Iterator[tuple[int, int, bytes]]:
        """(channel, time, data) of the messages in a block; reports what cannot be read."""
        try:
            self._file.seek(block.offset)
            opcode, content, _, _ = next(_records(self._file, self._size))
            for code, record in self._inner_records(opcode, content):
                if code == _MESSAGE:
                    channel, _, time, _ = _MESSAGE_HEAD.unpack_from(record)
                    yield channel, time, record[_MESSAGE_HEAD.size :]
        except (StorageError, struct.error, StopIteration) as error:
            reason = str(error) or "the record is not there"
            self._report(f"cannot be read completely: at byte {block.offset}, {reason}")

    def _inner_records(self, opcode: int, content: bytes) -> Iterator[tuple[int, bytes]]:
        """The complete records of a chunk, or the message itself. A truncated compressed chunk has none."""
        if opcode == _MESSAGE:
            yield opcode, content
            return
        if opcode != _CHUNK:
            raise StorageError("the index is wrong: there is no chunk")
        if len(content) < _CHUNK_HEAD.size + 12:
            return
        _, _, size, crc = _CHUNK_HEAD.unpack_from(content)
        stream = io.BytesIO(content[_CHUNK_HEAD.size :])
        compression = _text(stream)
        (length,) = _unpack(stream, "<Q")
        data = stream.read()
        if compression:
            if len(data) < length:
                return
            data = decompress(compression, data[:length], size)
        data = data[:size]
        if crc and len(data) == size and crc32(data) != crc:
            raise StorageError("a chunk has another checksum than its header declares")
        for code, record, _, complete in _records(io.BytesIO(data), len(data)):
            if complete:
                yield code, record


def _records(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, int, bool]]:
    """Opcode, content and position of each record, and whether the content is complete (the last may be truncated)."""
    offset = file.tell()
    while len(head := file.read(_RECORD.size)) == _RECORD.size:
        opcode, length = _RECORD.unpack(head)
        content = file.read(min(length, size))  # a corrupt length may exceed the memory
        yield opcode, content, offset, len(content) == length
        offset += _RECORD.size + len(content)
        file.seek(offset)


def _chunk_index(content: bytes) -> _Block:
    start, end, offset, _, index_size = struct.unpack_from("<QQQQI", content)
    channels = {channel for channel, _ in struct.iter_unpack("<HQ", content[36 : 36 + index_size])}
    return _Block(start, end, offset, frozenset(channels) if channels else None)


def _unpack(stream: BinaryIO, layout: str) -> tuple[int, ...]:
    data = stream.read(struct.calcsize(layout))
    if len(data) < struct.calcsize(layout):
        raise StorageError("a record is shorter than its fields")
    return struct.unpack(layout, data)


def _text(stream: BinaryIO) -> str:
    """A string; schemas of other systems may be binary."""
    (length,) = _unpack(stream, "<I")
    data = stream.read(length)
    if len(data) < length:
        raise StorageError("a record is shorter than its fields")
    return data.decode(errors="backslashreplace")
