# SPDX-License-Identifier: Apache-2.0
"""Read the SQLite files of rosbag2 (schema versions 1 to 4)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from seqpose_ros.bags.storage import Connection, StorageError, normalize_type


class SqliteStorage:
    """An open SQLite file. It is not modified.

    :param immutable: open without locks and without a write-ahead log next to it.
    :param report: receives a description of each part that cannot be read.
    :raises StorageError: the file is not a database of rosbag2.
    """

    def __init__(self, path: Path, report: Callable[[str], None], immutable: bool = True) -> None:
        self._report = report
        uri = path.resolve().as_uri() + ("?immutable=1" if immutable else "")
        try:
            self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise StorageError(f"the database cannot be opened: {error}") from error
        # Topic names and definitions may have any bytes.
        self._database.text_factory = lambda data: data.decode(errors="backslashreplace")
        try:
            self.connections = self._read_topics()
            first, last = self._database.execute(
                "SELECT MIN(timestamp), MAX(timestamp) FROM messages WHERE typeof(timestamp) = 'integer'"
            ).fetchone()
            self.times = None if first is None else (first, last)
        except sqlite3.Error as error:
            self._database.close()
            if str(error).startswith("no such"):
                raise StorageError(f"the database is not one of rosbag2: {error}") from error
            remedy = f"`sqlite3 {path.name} .recover | sqlite3 NEW.db3` recovers the rest"
            raise StorageError(f"the database is damaged: {error}; {remedy}") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def messages(self, ids: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """(recorded time in ns, topic id, serialized message) of these topics, in recorded order."""
        placeholders = ",".join("?" * len(ids))
        columns = "id, timestamp, topic_id, data"
        query = f"SELECT {columns} FROM messages WHERE topic_id IN ({placeholders}) ORDER BY timestamp, id"
        try:
            for row, time, topic, data in self._database.execute(query, tuple(ids)):
                if isinstance(time, int) and isinstance(data, bytes):
                    yield time, topic, data
                else:
                    self._report(f"has a message that is not read: row {row} has no time or no data")
        except sqlite3.Error as error:
            self._report(f"cannot be read to its end: {error}")

    def _read_topics(self) -> list[Connection]:
        definitions = self._read_definitions()
        counts = dict(self._database.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        connections = []
        for key, topic, msgtype, encoding in self._database.execute(
            "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
        ):
            if not (isinstance(key, int) and isinstance(topic, str) and isinstance(msgtype, str)):
                continue  # its messages are reported below
            definition_format, definition = definitions.get(msgtype, ("", ""))
            kind = normalize_type(msgtype)
            number = counts.pop(key, 0)
            connections.append(Connection(key, topic, kind, str(encoding), definition, definition_format, number))
        if counts:
            self._report(f"has {sum(counts.values())} messages whose topic is not listed; they are not read")
        return connections

    def _read_definitions(self) -> dict[str, tuple[str, str]]:
        """(format, text) of the message definitions by type; none before schema version 4."""
        try:
            rows = self._database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ).fetchall()
        except sqlite3.Error:
            return {}
        return {name: (encoding, text) for name, encoding, text in rows if isinstance(text, str)}
