# SPDX-License-Identifier: Apache-2.0
"""Open a bag, intact or damaged. Readable messages are read; unreadable parts are reported with the file name."""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from seqpose_ros.bags.bag_files import BagError, find_files, open_file
from seqpose_ros.bags.bounded_decompression import decompress_message
from seqpose_ros.bags.message_types import typestore_of
from seqpose_ros.bags.storage import Connection, Storage, StorageError

__all__ = ["BagError", "BagReader", "Topic"]


@dataclass(frozen=True)
class Topic:
    """All channels of a bag that have the same topic, type and message encoding; split and merged bags have several.

    :param msgcount: number of messages that the files declare.
    """

    topic: str
    msgtype: str
    encoding: str
    msgcount: int
    channels: tuple[tuple[int, Connection], ...] = field(repr=False)


class BagReader:
    """An open ROS 2 bag: a folder, or a single .mcap or .db3 file, also compressed (.zstd).

    Only the topics that are read need a readable type definition. An MCAP file that was truncated (recorder killed,
    disk full) is read up to its end, and :attr:`damage` reports it.

    :raises FileNotFoundError: the path does not exist. :raises BagError: it cannot be read as a bag.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Messages that describe the unreadable parts of the bag; grows while messages are read.
        self.damage: list[str] = []
        self._stack = ExitStack()
        self._storages: list[Storage] = []
        try:
            found = find_files(path, self._report_damage)
            temporary = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="seqpose_bag_")))
            for file in found.files:
                try:
                    storage = open_file(file, temporary, self._report_damage)
                except StorageError as error:
                    raise BagError("; ".join([f"{file} cannot be read as a bag: {error}", *self.damage])) from error
                self._stack.callback(storage.close)
                self._storages.append(storage)
        except BaseException:
            self.close()
            raise
        self._metadata = found.metadata
        self.connections = self._topics()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    @property
    def start_time(self) -> int:
        """Recorded time of the first message, nanoseconds."""
        return min((s.times[0] for s in self._storages if s.times), default=0)

    def messages(self, topics: Collection[Topic]) -> Iterator[tuple[Topic, int, bytes]]:
        """(topic, recorded time in ns, serialized message) of these topics, in recorded order.

        Messages that cannot be read are left out; :attr:`damage` reports them.
        """
        for topic, _, time, raw in self._raw_messages(topics):
            yield topic, time, raw

    def deserialized(self, topic: Topic) -> Iterator[tuple[int, Any]]:
        """Recorded time in ns and message, or a ValueError in its place if the bytes cannot be deserialized."""
        for _, connection, time, raw in self._raw_messages([topic]):
            try:
                yield time, _deserialize(connection, raw)
            except ValueError as error:
                yield time, error

    def _raw_messages(self, topics: Collection[Topic]) -> Iterator[tuple[Topic, Connection, int, bytes]]:
        channels = {(file, c.id): (topic, c) for topic in topics for file, c in topic.channels}
        streams = []
        for file, storage in enumerate(self._storages):
            ids = [key for index, key in channels if index == file]
            if ids:
                streams.append(_with_file(file, storage.messages(ids)))
        read: Counter[Topic] = Counter()
        for time, file, key, raw in heapq.merge(*streams, key=lambda item: item[0]):
            topic, connection = channels[file, key]
            read[topic] += 1
            if self._metadata is not None and self._metadata.compressed_messages:
                try:
                    raw = decompress_message(raw)
                except StorageError as error:
                    self._report_damage(f"{self.path}: on {topic.topic}, {error}")
                    continue
            yield topic, connection, time, raw
        for topic in topics:
            self._check_count(topic, read[topic])

    def _topics(self) -> list[Topic]:
        grouped: dict[tuple[str, str, str], list[tuple[int, Connection]]] = {}
        for file, storage in enumerate(self._storages):
            for connection in storage.connections:
                key = (connection.topic, connection.msgtype, connection.encoding)
                grouped.setdefault(key, []).append((file, connection))
        return [Topic(*key, sum(c.msgcount for _, c in channels), tuple(channels)) for key, channels in grouped.items()]

    def _check_count(self, topic: Topic, count: int) -> None:
        declared = topic.msgcount
        # metadata.yaml counts all types of a topic together.
        if self._metadata is not None and sum(t.topic == topic.topic for t in self.connections) == 1:
            declared = max(declared, self._metadata.counts[topic.topic])
        if count < declared:
            self._report_damage(f"{self.path} has {count} of the {declared} messages on {topic.topic} that it lists")

    def _report_damage(self, text: str) -> None:
        if text not in self.damage:
            self.damage.append(text)


def _with_file(file: int, messages: Iterator[tuple[int, int, bytes]]) -> Iterator[tuple[int, int, int, bytes]]:
    for time, key, raw in messages:
        yield time, file, key, raw


def _deserialize(connection: Connection, raw: bytes) -> Any:
    """:raises ValueError: the bytes are not a message of that type."""
    store = typestore_of(connection)
    try:
        return store.deserialize_cdr(raw, connection.msgtype)
    except Exception as error:  # rosbags raises many kinds of exceptions on damaged bytes
        origin = "" if connection.definition.strip() else " of the current layout (the bag has no definition)"
        raise ValueError(f"{len(raw)} bytes are not a {connection.msgtype}{origin}: {_describe(error)}") from error


def _describe(error: Exception) -> str:
    """Type and text of an exception; some libraries raise exceptions without text."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
