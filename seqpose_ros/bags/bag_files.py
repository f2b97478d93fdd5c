# SPDX-License-Identifier: Apache-2.0
"""Find the storage files of a bag: a folder with or without metadata.yaml, or a single file, compressed or not."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seqpose_ros.bags.bounded_decompression import zstd
from seqpose_ros.bags.mcap_storage import MAGIC, McapStorage
from seqpose_ros.bags.metadata import Metadata, read_metadata
from seqpose_ros.bags.sqlite_storage import SqliteStorage
from seqpose_ros.bags.storage import Storage, StorageError

_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_SQLITE = b"SQLite format 3\0"
_ROS1 = b"#ROSBAG V"
_SPLIT = re.compile(r"(.*)_\d+")


class BagError(ValueError):
    """A bag cannot be read. The message names the bag, the reason and a remedy."""


@dataclass(frozen=True)
class BagFiles:
    """The storage files of a bag, and its metadata if it has any."""

    files: tuple[Path, ...]
    metadata: Metadata | None


def find_files(path: Path, report: Callable[[str], None]) -> BagFiles:
    """The storage files of the bag ``path``.

    :param report: is called with a description of what is missing but not required.
    :raises FileNotFoundError: the path does not exist. :raises BagError: there are no storage files, or one that
        metadata.yaml lists is missing.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no bag {path}")
    if not path.is_dir():
        _refuse_ros1(path)
        return BagFiles((path,), None)
    present = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
    if not (path / "metadata.yaml").is_file():
        return BagFiles(_without_metadata(path, present, report), None)
    try:
        metadata = read_metadata(path / "metadata.yaml")
    except ValueError as error:
        report(f"{error}; the files of {path} are read without it")
        return BagFiles(_without_metadata(path, present, lambda text: None), None)
    files = tuple(path / name for name in metadata.files)
    missing = [file for file in files if not file.exists()]
    unlisted = [file for file in present if file not in files]
    if missing and unlisted:
        names = ", ".join(file.name for file in missing)
        report(f"{path}/metadata.yaml lists {names}, which is missing; all files of the folder are read")
        return BagFiles(tuple(present), metadata)
    if missing:
        raise BagError(
            f"{missing[0]} is missing, but {path}/metadata.yaml lists it; copy it into the folder, "
            "or write a new metadata.yaml with `ros2 bag reindex`"
        )
    for file in unlisted:
        report(f"{file} is not read, because {path}/metadata.yaml does not list it; `ros2 bag reindex` adds it")
    return BagFiles(files, metadata)


def open_file(path: Path, temporary: Path, report: Callable[[str], None]) -> Storage:
    """Open a storage file; the format is detected from its content.

    :param temporary: folder for decompressed or repaired copies.
    :param report: is called with a description of damage and the file name.
    :raises StorageError: it cannot be read.
    """
    if not path.is_file():
        raise BagError(f"{path} is not a regular file")
    _refuse_ros1(path)
    file = path
    if path.suffix == ".zstd":
        file = temporary / path.stem
        _decompress(path, file, report)
    with file.open("rb") as stream:
        head = stream.read(100)
    if head.startswith(MAGIC):
        return McapStorage(file, lambda text: report(f"{path} {text}"))
    if not head.startswith(_SQLITE):
        raise StorageError("it is neither an MCAP nor an SQLite file")
    _reject_truncated_database(path, file, head)
    journals = [Path(f"{path}{suffix}") for suffix in ("-wal", "-journal")]
    if not any(journal.is_file() and journal.stat().st_size for journal in journals):
        return SqliteStorage(file, lambda text: report(f"{path} {text}"))
    # The recorder did not close the database. SQLite moves the rows of the log into a copy, not into the user's file.
    for source in (path, *journals):
        if source.is_file():
            shutil.copy(source, temporary)
    return SqliteStorage(temporary / path.name, lambda text: report(f"{path} {text}"), immutable=False)


def _refuse_ros1(path: Path) -> None:
    is_ros1 = path.suffix == ".bag"
    if path.is_file() and not is_ros1:
        with path.open("rb") as stream:
            is_ros1 = stream.read(len(_ROS1)) == _ROS1
    if is_ros1:
        raise BagError(f"{path} is a ROS 1 bag; make a ROS 2 bag of it: rosbags-convert --src {path} --dst NEW")


def _without_metadata(path: Path, present: list[Path], report: Callable[[str], None]) -> tuple[Path, ...]:
    """Check that the files belong to one recording (a single file, or NAME_0, NAME_1, ...), and return them.

    :raises BagError: there are none, or they belong to several recordings.
    """
    stems = {match[1] if (match := _SPLIT.fullmatch(f.name.partition(".")[0])) else f.name for f in present}
    if len(stems) != 1:
        for file in path.glob("*.bag"):
            _refuse_ros1(file)
        raise BagError(
            f"{path} is not a bag: it has no metadata.yaml and {len(present)} files of {' or '.join(_SUFFIXES[:2])}; "
            + ("name one of them, or write metadata.yaml with `ros2 bag reindex`" if present else "name a bag folder")
        )
    names = ", ".join(file.name for file in present)
    report(f"{path} has no metadata.yaml; {names} is read without it")
    return tuple(present)


def _decompress(path: Path, out: Path, report: Callable[[str], None]) -> None:
    """Decompress a file up to its end or up to the damage."""
    limit = shutil.disk_usage(out.parent).free // 2
    try:
        with zstd.open(path, "rb") as source, out.open("wb") as target:
            while block := source.read1(2**20):  # read() would lose what precedes the damage
                if target.tell() > limit:
                    raise StorageError(f"it decompresses to more than {limit} bytes, half of the free disk space")
                target.write(block)
    except (zstd.ZstdError, EOFError) as error:
        report(f"{path} is truncated or damaged: {error}")


def _reject_truncated_database(path: Path, file: Path, head: bytes) -> None:
    """Raise BagError for a truncated SQLite file: its pages are spread over the file, so no part can be read."""
    if len(head) < 100:
        return
    page, pages = struct.unpack_from(">H", head, 16)[0], struct.unpack_from(">I", head, 28)[0]
    page = 65536 if page == 1 else page
    size = file.stat().st_size
    # The page count holds only if these two agree (https://www.sqlite.org/fileformat.html, 1.3.7).
    if head[24:28] == head[92:96] and size < page * pages:
        raise BagError(
            f"{path} is truncated: it has {size} of {page * pages} bytes; "
            f"`sqlite3 {path.name} .recover | sqlite3 NEW.db3` recovers the rest"
        )
