# SPDX-License-Identifier: Apache-2.0
"""Bags as other tools write them: the topics of a bag written again in another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bag_rig import FRAMES
from mcap_rig import McapFile

from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.reader import BagReader
from train.bag_messages import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, INFO_TOPIC

Connections = dict[str, tuple[str, str, list[tuple[int, bytes]]]]
READ = (IMAGE_TOPIC, INFO_TOPIC, GROUND_TRUTH_TOPIC)


def content(bag: Path) -> Connections:
    """Type, definition, and (time, bytes) of the messages of each topic."""
    with BagReader(bag) as reader:
        return {
            t.topic: (t.msgtype, t.channels[0][1].definition, [(time, raw) for _, time, raw in reader.messages([t])])
            for t in reader.connections
        }


def as_mcap(
    bag: Path,
    out: Path,
    profile: str = "ros2",
    extra: Callable[[McapFile], None] = lambda file: None,
    defined: tuple[str, ...] = READ,
    qos: str = "",
) -> Path:
    """The bag as one MCAP file.

    :param extra: adds channels before the others. :param defined: topics whose schema has a definition.
    """
    file = McapFile(profile)
    extra(file)
    rows = []
    for topic, (msgtype, definition, messages) in content(bag).items():
        if topic in READ:
            schema = file.schema(msgtype, definition if topic in defined else "", "ros2msg" if topic in defined else "")
            channel = file.channel(topic, schema, metadata=[("offered_qos_profiles", qos)])
            rows += [(time, channel, raw) for time, raw in messages]
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write(out)


def assert_complete(bag: Path) -> None:
    with Bag(bag) as opened:
        frames = list(opened.frames())
        assert len(frames) == FRAMES and all(frame.ground_truth for frame in frames)
        assert not opened.skipped_frames and not opened.skipped_ground_truths
