# SPDX-License-Identifier: Apache-2.0
"""Open a bag, intact or damaged. Readable messages are read; unreadable parts are reported with the file name."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from seqpose_ros.bags import bounded_decompression, mcap_recovery

bounded_decompression.install()

_STORAGE = (".mcap", ".db3")


class BagError(ValueError):
    """A bag cannot be read. The message names the bag, the reason and a remedy."""


class BagReader:
    """An open ROS 2 bag: a folder with metadata.yaml, or a single .mcap or .db3 file.

    A truncated MCAP file (recorder killed, disk full) is read up to the truncation; :attr:`damage` reports it.

    :raises FileNotFoundError: the path does not exist. :raises BagError: it cannot be read as a bag.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(f"there is no bag {path}")
        self.path = path
        #: Messages that describe the unreadable parts of the bag; grows while messages are read.
        self.damage: list[str] = []
        self._stack = ExitStack()
        try:
            self._reader = AnyReader([self._readable_path()], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            self._stack.enter_context(self._reader)
        except BagError:
            self.close()
            raise
        except Exception as error:  # rosbags raises many kinds of exceptions on a damaged file
            self.close()
            raise BagError(f"{path} cannot be read as a bag: {_describe(error)}") from error

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
    def connections(self) -> list[Connection]:
        """The topics with their types."""
        return self._reader.connections

    @property
    def start_time(self) -> int:
        """Recorded time of the first message, nanoseconds."""
        return self._reader.start_time

    @property
    def duration(self) -> int:
        """Nanoseconds from the first message to the last."""
        return self._reader.end_time - self._reader.start_time

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """(connection, recorded time in ns, serialized message) of these connections, in recorded order.

        Stops at the first unreadable message; :attr:`damage` reports it.
        """
        if not connections:
            return
        stream = self._reader.messages(connections)
        while True:
            try:
                item = next(stream)
            except StopIteration:
                return
            except Exception as error:  # as above
                self._report_damage(f"{self.path} cannot be read to its end: {_describe(error)}")
                return
            yield item

    def deserialize(self, connection: Connection, raw: bytes) -> Any:
        """Deserialize one message.

        :raises ValueError: the bytes are not a message of that type.
        """
        try:
            return self._reader.deserialize(raw, connection.msgtype)
        except Exception as error:  # as above
            kind = f"{len(raw)} bytes are no {connection.msgtype}"
            raise ValueError(f"{kind}: {_describe(error)}") from error

    def _report_damage(self, text: str) -> None:
        if text not in self.damage:
            self.damage.append(text)

    def _readable_path(self) -> Path:
        """A path that rosbags can open: the bag itself, or a repaired copy that is deleted on close."""
        path = self.path
        if path.suffix == ".bag":
            raise BagError(f"{path} is a ROS 1 bag; make a ROS 2 bag of it: rosbags-convert --src {path} --dst NEW")
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in _STORAGE)
            if not (path / "metadata.yaml").is_file():
                if len(files) != 1:
                    raise BagError(
                        f"{path} is no bag: it holds no metadata.yaml and {len(files)} files of "
                        f"{' or '.join(_STORAGE)}; `ros2 bag reindex` writes metadata.yaml for several files"
                    )
                self._report_damage(f"{path} holds no metadata.yaml; {files[0].name} is read by itself")
                path = files[0]
        for file in files:
            if not file.is_file():
                raise BagError(f"{file} is not a regular file")
            _reject_truncated_database(file)
        truncated = [file for file in files if file.suffix == ".mcap" and mcap_recovery.is_truncated(file)]
        return self._repair(path, files, truncated) if truncated else path

    def _repair(self, path: Path, files: list[Path], truncated: list[Path]) -> Path:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="seqpose_bag_")))
        for file in files:
            if file in truncated:
                self._report_damage(f"{file} is truncated: everything after its last complete message is lost")
                mcap_recovery.recover(file, folder / file.name)
            else:
                (folder / file.name).symlink_to(file.resolve())
        if path in files:
            return folder / path.name
        shutil.copy(path / "metadata.yaml", folder)
        return folder


def _reject_truncated_database(path: Path) -> None:
    """Raise BagError for a truncated SQLite file: its pages are spread over the file, so no part can be read."""
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
        return
    page, pages = struct.unpack_from(">H", head, 16)[0], struct.unpack_from(">I", head, 28)[0]
    page = 65536 if page == 1 else page
    size = path.stat().st_size
    # The page count holds only if these two agree (https://www.sqlite.org/fileformat.html, 1.3.7).
    if head[24:28] == head[92:96] and size < page * pages:
        raise BagError(
            f"{path} is truncated: it has {size} of {page * pages} bytes; "
            f"`sqlite3 {path.name} .recover | sqlite3 NEW.db3` recovers the rest"
        )


def _describe(error: Exception) -> str:
    """Type and text of an exception; some libraries raise exceptions without text."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
