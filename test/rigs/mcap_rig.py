# SPDX-License-Identifier: Apache-2.0
"""Write MCAP files record by record (https://mcap.dev/spec), with or without an index."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

MAGIC = b"\x89MCAP0\r\n"


class McapFile:
    """The records of a file: schemas and channels get ids in the order in which they are added."""

    def __init__(self, profile: str = "ros2") -> None:
        self._records = [_record(0x01, _text(profile) + _text("test"))]
        self._schemas = self._channels = 0
        self._times: list[int] = []
        self._counts: Counter[int] = Counter()

    def schema(self, name: str, definition: str | bytes = "", encoding: str = "ros2msg") -> int:
        self._schemas += 1
        content = struct.pack("<H", self._schemas) + _text(name) + _text(encoding) + _text(definition)
        self._records.append(_record(0x03, content))
        return self._schemas

    def channel(self, topic: str, schema: int, encoding: str = "cdr", metadata: Sequence[tuple[str, str]] = ()) -> int:
        self._channels += 1
        entries = b"".join(_text(key) + _text(value) for key, value in metadata)
        content = struct.pack("<HH", self._channels, schema) + _text(topic) + _text(encoding)
        self._records.append(_record(0x04, content + struct.pack("<I", len(entries)) + entries))
        return self._channels

    def message(self, channel: int, time: int, data: bytes) -> None:
        self._times.append(time)
        self._counts[channel] += 1
        self._records.append(_record(0x05, struct.pack("<HIQQ", channel, 0, time, time) + bytes(data)))

    def write(self, path: Path) -> Path:
        end = _record(0x0F, bytes(4)) + _record(0x02, bytes(20))
        path.write_bytes(MAGIC + b"".join(self._records) + end + MAGIC)
        return path

    def write_indexed(self, path: Path, counted: bool = True, empty_chunk: bool = False) -> Path:
        """All records in one chunk, with an index.

        :param counted: the statistics have the number of messages by channel, which is optional.
        :param empty_chunk: a chunk without messages precedes.
        """
        header, *records = self._records
        definitions = b"".join(record for record in records if record[0] != 0x05)
        chunks = [(0, 0, b"")] if empty_chunk else []
        chunks.append((min(self._times), max(self._times), b"".join(records)))
        data, index = MAGIC + header, b""
        for start, end, content in chunks:
            record = _record(0x06, struct.pack("<QQQI", start, end, len(content), 0) + _text("") + _bytes(content))
            sizes = struct.pack("<QQ", len(content), len(content))
            position = struct.pack("<QQQQIQ", start, end, len(data), len(record), 0, 0)
            index += _record(0x08, position + _text("") + sizes)
            data += record
        totals = (len(self._times), self._schemas, self._channels, 0, 0, len(chunks), min(self._times))
        counts = b"".join(struct.pack("<HQ", *item) for item in self._counts.items()) if counted else b""
        statistics = _record(0x0B, struct.pack("<QHIIIIQQI", *totals, max(self._times), len(counts)) + counts)
        data += _record(0x0F, bytes(4))
        footer = _record(0x02, struct.pack("<QQI", len(data), 0, 0))
        path.write_bytes(data + definitions + statistics + index + footer + MAGIC)
        return path


def _record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def _text(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<I", len(data)) + data


def _bytes(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data
