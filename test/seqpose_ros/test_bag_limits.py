# SPDX-License-Identifier: Apache-2.0
"""Bags that try to exhaust the memory or to block the reader are refused."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
from bag_rig import FRAMES, rewrite

from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.bounded_decompression import MAX_CHUNK_BYTES, decompress_lz4, decompress_zstd, zstd
from seqpose_ros.bags.mcap_storage import MAGIC
from seqpose_ros.bags.reader import BagError, BagReader
from seqpose_ros.bags.storage import StorageError

Compress = Callable[[bytes], bytes]
Decompress = Callable[[bytes, int], bytes]
PAIRS = [(lz4.frame.compress, decompress_lz4), (zstd.compress, decompress_zstd)]


@pytest.mark.parametrize(("compress", "decompress"), PAIRS)
def test_a_chunk_of_the_declared_size_is_decompressed(compress: Compress, decompress: Decompress) -> None:
    for content in (b"", b"a", os.urandom(100_000), bytes(3_000_000)):
        assert decompress(compress(content), len(content)) == content


@pytest.mark.parametrize(("compress", "decompress"), PAIRS)
def test_a_chunk_of_another_size_is_refused(compress: Compress, decompress: Decompress) -> None:
    data = compress(bytes(1000))
    for size in (0, 999, 1001):
        with pytest.raises(StorageError, match=f"does not have the {size} bytes"):
            decompress(data, size)
    with pytest.raises(StorageError, match=f"at most {MAX_CHUNK_BYTES} are read"):
        decompress(data, MAX_CHUNK_BYTES + 1)


@pytest.mark.parametrize(("compress", "decompress"), PAIRS)
def test_a_chunk_that_expands_beyond_its_declared_size_stops_there(compress: Compress, decompress: Decompress) -> None:
    data = compress(bytes(400 * 2**20))
    tracemalloc.start()
    with pytest.raises(StorageError, match="does not have"):
        decompress(data, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20


def test_a_small_mcap_file_that_expands_to_gigabytes_is_refused(tmp_path: Path) -> None:
    size = 600 * 2**20
    content = zstd.compress(bytes(size))
    name = b"zstd"
    chunk = struct.pack("<QQQII", 0, 1, size, 0, len(name)) + name + struct.pack("<Q", len(content)) + content
    records = b"".join(
        struct.pack("<BQ", opcode, len(data)) + data
        for opcode, data in ((0x01, struct.pack("<I", 4) + b"ros2" + struct.pack("<I", 0)), (0x06, chunk))
    )
    bag = tmp_path / "bomb.mcap"
    bag.write_bytes(
        MAGIC + records + struct.pack("<BQ", 0x0F, 4) + bytes(4) + struct.pack("<BQ", 2, 20) + bytes(20) + MAGIC
    )
    assert bag.stat().st_size < 100_000
    with pytest.raises(BagError, match=f"a chunk declares {size} bytes"):
        Bag(bag)


def test_compressed_bags_are_still_read(bag_path: Path, tmp_path: Path) -> None:
    with Bag(rewrite(bag_path, tmp_path / "bag")) as bag:
        assert len(list(bag.frames())) == FRAMES


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_a_fifo_is_refused(suffix: str, tmp_path: Path) -> None:
    fifo = tmp_path / f"bag{suffix}"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path):
        with pytest.raises(BagError, match="is not a regular file"):
            BagReader(path)
