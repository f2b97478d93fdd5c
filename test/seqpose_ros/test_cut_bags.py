# SPDX-License-Identifier: Apache-2.0
"""Truncated and corrupted bags: read up to the damage, or named in an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bag_rig import FRAMES, cut, rewrite, storage_file
from rosbags.rosbag2 import StoragePlugin

from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.reader import BagError, BagReader
from seqpose_ros.demo import BUNDLED_BAG
from train.bag_messages import IMAGE_TOPIC


def test_a_truncated_mcap_is_read_up_to_the_truncation_and_reported(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    cut(storage_file(bag), 0.6)
    status, _, report = evaluate(bag)
    assert status == 0
    assert 1 <= report["frames_processed"] < FRAMES
    text, *counts = report["damage"]
    assert text.startswith(f"{storage_file(bag)} is truncated")
    lost = f"{bag} has {report['frames_processed']} of the {FRAMES} messages on {IMAGE_TOPIC} that it lists"
    assert lost in counts


def test_a_folder_without_metadata_is_read_if_it_has_one_file(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    (bag / "metadata.yaml").unlink()
    cut(storage_file(bag), 0.99)
    status, _, report = evaluate(bag)
    assert status == 0 and report["frames_processed"] >= FRAMES - 1
    assert [text.partition("bag ")[2][:20] for text in report["damage"][:1]] == ["has no metadata.yaml"]


def test_a_truncated_file_is_read_without_its_folder(bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    cut(storage_file(bag), 0.6)
    with Bag(bag) as folder, Bag(storage_file(bag)) as file:
        assert [f.stamp for f in file.frames()] == [f.stamp for f in folder.frames()] != []


def test_images_before_the_truncation_are_recovered(tmp_path: Path) -> None:
    """The bundled bag has several chunks; complete ones and the start of the truncated one are kept."""
    complete, part = BUNDLED_BAG / "demo_bag.mcap", tmp_path / "part.mcap"
    part.write_bytes(complete.read_bytes()[: int(0.6 * complete.stat().st_size)])
    raw = []
    for path in (complete, part):
        with BagReader(path) as reader:
            images = [c for c in reader.connections if c.topic == IMAGE_TOPIC]
            raw.append([(time, bytes(data)) for _, time, data in reader.messages(images)])
            assert bool(reader.damage) == (path == part)
    assert raw[1] == raw[0][: len(raw[1])]
    assert len(raw[1]) == pytest.approx(0.6 * len(raw[0]), abs=6)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.03, 0.2, 0.45, 0.7, 0.9, 0.999])
def test_a_file_truncated_anywhere_is_read_or_named_in_an_error(share: float, bag_path: Path, tmp_path: Path) -> None:
    for storage in (StoragePlugin.MCAP, StoragePlugin.SQLITE3):
        bag = rewrite(bag_path, tmp_path / storage.name, storage=storage)
        cut(storage_file(bag), share)
        try:
            with Bag(bag) as opened:
                frames = list(opened.frames())
                assert opened.damage or len(frames) == FRAMES
        except BagError as error:
            assert str(tmp_path) in str(error)


@pytest.mark.parametrize("trusted", [True, False], ids=["page count valid", "page count not valid"])
@pytest.mark.parametrize("share", [0.001, 0.03, 0.2, 0.45, 0.7, 0.9, 0.999])
def test_a_truncated_database_is_refused_with_the_remedy_or_its_losses_are_counted(
    share: float, trusted: bool, bag_path: Path, tmp_path: Path
) -> None:
    bag = rewrite(bag_path, tmp_path / "bag", storage=StoragePlugin.SQLITE3)
    file = storage_file(bag)
    if not trusted:  # other writers leave "version valid for" (byte 92) behind the change counter
        data = bytearray(file.read_bytes())
        data[92:96] = bytes(4)
        file.write_bytes(data)
    cut(file, share)
    try:
        with Bag(bag) as opened:
            frames = list(opened.frames())
            lost = f"{bag} has {len(frames)} of the {FRAMES} messages on {IMAGE_TOPIC} that it lists"
            assert not trusted and (len(frames) == FRAMES or lost in opened.damage)
    except BagError as error:
        assert str(file) in str(error) and f"`sqlite3 {file.name} .recover | sqlite3 NEW.db3` recovers" in str(error)


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.8])
def test_corrupted_bytes_are_skipped_or_end_the_reading(at: float, bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    data = bytearray(storage_file(bag).read_bytes())
    start = int(at * len(data))
    data[start : start + 40] = bytes(byte ^ 0xFF for byte in data[start : start + 40])
    storage_file(bag).write_bytes(data)
    try:
        with Bag(bag) as opened:
            frames = list(opened.frames())
            assert len(frames) == FRAMES or opened.damage or opened.skipped_frames
    except BagError as error:
        assert str(bag) in str(error)
