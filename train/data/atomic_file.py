# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path, sync: bool = False) -> Iterator[BinaryIO]:
    """Write ``path`` anew, in place of what it holds, once the block ends without error; its folder is made.

    :param sync: wait until the disk has it, so that it outlives a power cut as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, as only within a file system replacing is one step; several processes may write the same file.
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
