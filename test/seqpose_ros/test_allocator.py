# SPDX-License-Identifier: Apache-2.0
"""The memory allocator of the node's process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

#: Allocates in 4 threads at once, then prints the number of arenas as malloc_info reports it.
PROGRAM = """
import ctypes, re, sys, tempfile, threading
if sys.argv[1] == "one":
    from seqpose_ros.allocator import use_one_arena
    use_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
barrier = threading.Barrier(4)
def allocate():
    barrier.wait()
    libc.malloc(100_000)
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.NamedTemporaryFile("r") as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall("<heap nr=", file.read())))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no arenas")
def test_threads_share_one_arena_unless_the_user_has_set_their_number() -> None:
    def arenas(mode: str, **variables: str) -> int:
        environment = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"}
        command = [sys.executable, "-c", PROGRAM, mode]
        done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert arenas("one") == 1
    assert arenas("default") > 1
    assert arenas("one", MALLOC_ARENA_MAX="3") == 3
