# SPDX-License-Identifier: Apache-2.0
"""Atomic file writes: a path holds the previous or the new content, never a part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` if the block ends without an error. Creates the folder of ``path``.

    :param sync: wait until the data is on the disk, so that it survives a power failure.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because renaming is atomic only within a file system. The process id makes the name
    # unique if several processes write the same file.
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in UTF-8 with :func:`atomic_write`."""
    with atomic_write(path) as file:
        file.write(text.encode())
