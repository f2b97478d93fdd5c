# SPDX-License-Identifier: Apache-2.0
"""What the storage formats of bags (MCAP, SQLite) have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol


class StorageError(ValueError):
    """A storage file, or a part of it, cannot be read. The message gives the reason without the file name."""


@dataclass(frozen=True)
class Connection:
    """One channel of a storage file.

    :param id: of the channel in the file.
    :param encoding: of its messages; ROS 2 writes cdr.
    :param definition: text of the message definition, in the format ``definition_format`` (ros2msg, ros2idl, ...); may
        be empty.
    :param msgcount: number of messages, counted or declared by the file.
    """

    id: int
    topic: str
    msgtype: str
    encoding: str
    definition: str
    definition_format: str
    msgcount: int


class Storage(Protocol):
    """An open storage file."""

    connections: list[Connection]
    #: Recorded times of the first and last message, nanoseconds; None if there are no messages.
    times: tuple[int, int] | None

    def messages(self, ids: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """(recorded time in ns, connection id, serialized message) of these connections, in recorded order."""

    def close(self) -> None:
        """Close the file."""


def normalize_type(name: str) -> str:
    """The name in the form ``package/msg/Name``; the short form ``package/Name`` is converted."""
    package, _, rest = name.partition("/")
    return f"{package}/msg/{rest}" if rest and "/" not in rest else name
