# SPDX-License-Identifier: Apache-2.0
"""Limit the arenas of glibc's malloc, so that the memory of a running node does not grow by image buffers.

By default, threads have separate arenas (at most 8 per core), which keep freed blocks. An image is received, held and
freed by different threads: each arena grows until it has space for the images that ever waited at once.
"""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8  # malloc.h of glibc


def use_one_arena() -> None:
    """Let all threads started from now on share one arena; nothing changes if the user has set MALLOC_ARENA_MAX.

    Other C libraries have no arenas.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, 1)
