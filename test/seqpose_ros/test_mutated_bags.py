# SPDX-License-Identifier: Apache-2.0
"""Randomly mutated bags are read or refused by name, and what is lost is reported.

SEQPOSE_MUTATIONS sets the number of mutated bags (default 40).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bag_rig import FRAMES, rewrite, storage_file
from rosbags.rosbag2 import StoragePlugin

from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.reader import BagError
from train.bag_messages import GROUND_TRUTH_TOPIC, IMAGE_TOPIC

MUTATIONS = int(os.environ.get("SEQPOSE_MUTATIONS", "40"))
Random = np.random.Generator


def a_row(random: Random, database: sqlite3.Connection) -> int:
    rows = [key for (key,) in database.execute("SELECT id FROM messages")]
    return int(random.choice(rows)) if rows else 0


def drop(random: Random, database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM messages WHERE id = ?", (a_row(random, database),))


def duplicate(random: Random, database: sqlite3.Connection) -> None:
    database.execute(
        "INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, timestamp, data FROM messages WHERE id = ?",
        (a_row(random, database),),
    )


def reorder(random: Random, database: sqlite3.Connection) -> None:
    database.execute("UPDATE messages SET timestamp = timestamp - ?", (int(random.integers(10**9)),))
    database.execute(
        "UPDATE messages SET timestamp = ? WHERE id = ?", (int(random.integers(2**40)), a_row(random, database))
    )


def shorten(random: Random, database: sqlite3.Connection) -> None:
    length = int(random.integers(60))
    database.execute("UPDATE messages SET data = substr(data, 1, ?) WHERE id = ?", (length, a_row(random, database)))


def overwrite(random: Random, database: sqlite3.Connection) -> None:
    database.execute(
        "UPDATE messages SET data = ? WHERE id = ?", (random.bytes(random.integers(80)), a_row(random, database))
    )


def retype_row(random: Random, database: sqlite3.Connection) -> None:
    value = random.choice(["'text'", "17", "2.5"])
    column = random.choice(["data", "timestamp"])
    database.execute(f"UPDATE messages SET {column} = {value} WHERE id = ?", (a_row(random, database),))


def retype_topic(random: Random, database: sqlite3.Connection) -> None:
    types = ["std_msgs/msg/String", "demo/msg/Odd", "", "sensor_msgs/Image", "sensor_msgs/msg/Image"]
    database.execute("UPDATE topics SET type = ? WHERE id = ?", (str(random.choice(types)), int(random.integers(1, 5))))


def redefine(random: Random, database: sqlite3.Connection) -> None:
    texts = ["", "int32 = ?", "---", "std_msgs/Header header\n", "uint8[] data\n", "demo/Odd odd\n"]
    database.execute(
        "UPDATE message_definitions SET encoded_message_definition = ?, encoding = ? WHERE id = ?",
        (
            str(random.choice(texts)),
            str(random.choice(["ros2msg", "ros2idl", "unknown", ""])),
            int(random.integers(1, 5)),
        ),
    )


def drop_topic(random: Random, database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM topics WHERE id = ?", (int(random.integers(1, 5)),))


ROWS: list[Callable[[Random, sqlite3.Connection], None]] = [
    drop, duplicate, reorder, shorten, overwrite, retype_row, retype_topic, redefine, drop_topic
]  # fmt: skip


def mutate_text(random: Random, file: Path) -> None:
    """Delete, repeat or overwrite a line."""
    lines = file.read_text().splitlines()
    line, kind = int(random.integers(len(lines))), random.integers(3)
    lines[line : line + 1] = [[], [lines[line]] * 2, [lines[line][: int(random.integers(30))] + "?: ["]][kind]
    file.write_text("\n".join(lines))


def mutate_bytes(random: Random, file: Path) -> None:
    """Truncate the file, or overwrite some bytes."""
    data = bytearray(file.read_bytes())
    if random.random() < 0.5:
        del data[int(random.integers(len(data))) :]
    else:
        start = int(random.integers(len(data)))
        data[start : start + 8] = random.bytes(8)
    file.write_bytes(data)


@pytest.fixture(scope="module")
def sources(bag_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sources")
    return {p.name: rewrite(bag_path, root / p.name, storage=p) for p in (StoragePlugin.SQLITE3, StoragePlugin.MCAP)}


def mutate(random: Random, bag: Path) -> tuple[int, int] | None:
    """Mutate a bag; returns the number of images and of ground truths that are left, None if they are not known."""
    file = storage_file(bag)
    if random.random() < 0.3:
        mutate_text(random, bag / "metadata.yaml")
    if file.suffix == ".mcap" or random.random() < 0.2:
        mutate_bytes(random, file)
        return None
    with sqlite3.connect(file) as database:
        for index in random.integers(len(ROWS), size=random.integers(1, 4)):
            ROWS[index](random, database)
        query = "SELECT COUNT(*) FROM messages m JOIN topics t ON t.id = m.topic_id WHERE t.name = ?"
        images, ground_truths = (database.execute(query, (t,)).fetchone()[0] for t in (IMAGE_TOPIC, GROUND_TRUTH_TOPIC))
    return images, ground_truths


@pytest.mark.parametrize("seed", range(MUTATIONS))
def test_a_mutated_bag_is_read_or_refused_and_losses_are_reported(
    seed: int, sources: dict[str, Path], tmp_path: Path
) -> None:
    random = np.random.default_rng(seed)
    bag = tmp_path / "bag"
    shutil.copytree(sources["MCAP" if seed % 4 == 0 else "SQLITE3"], bag)
    left = mutate(random, bag)
    try:
        with Bag(bag) as opened:
            frames = list(opened.frames())
            images, ground_truths = left or (FRAMES, FRAMES)
            assert len(frames) + len(opened.skipped_frames) == images or opened.damage
            judged = sum(frame.ground_truth is not None for frame in frames)
            explained = opened.damage or opened.skipped_frames or opened.skipped_ground_truths or opened.warnings
            assert judged >= min(ground_truths, images) or explained
    except BagError as error:
        assert str(bag) in str(error) and "\n" not in str(error)
