# SPDX-License-Identifier: Apache-2.0
"""MCAP files whose index leaves out what the format declares optional."""

from __future__ import annotations

from pathlib import Path

from bag_rig import FRAMES
from foreign_bag_rig import READ, assert_complete, content
from mcap_rig import McapFile

from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.reader import BagReader
from train.to_bag import EPOCH


def indexed(bag: Path, out: Path, **options: bool) -> Path:
    """The bag as an MCAP file with an index; ``options`` of :meth:`McapFile.write_indexed`."""
    file, rows = McapFile(), []
    for topic, (msgtype, definition, messages) in content(bag).items():
        if topic in READ:
            channel = file.channel(topic, file.schema(msgtype, definition))
            rows += [(time, channel, raw) for time, raw in messages]
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write_indexed(out, **options)


def test_a_file_without_numbers_of_messages_by_channel_is_read(bag_path: Path, tmp_path: Path) -> None:
    bag = indexed(bag_path, tmp_path / "bag.mcap", counted=False)
    assert_complete(bag)
    with Bag(bag) as opened:
        assert len(opened) == FRAMES and opened.damage == []


def test_a_chunk_without_messages_does_not_change_the_start_of_the_recording(bag_path: Path, tmp_path: Path) -> None:
    bag = indexed(bag_path, tmp_path / "bag.mcap", empty_chunk=True)
    assert_complete(bag)
    with BagReader(bag) as reader:
        # The first camera_info is recorded 1 microsecond after the transform of the frame, which is left out here.
        assert reader.start_time == EPOCH * 10**9 + 1000
