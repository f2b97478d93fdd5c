# SPDX-License-Identifier: Apache-2.0
"""Bags whose recorder was killed, or whose bytes were damaged: read up to there, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bag_rig import FRAMES, cut, rewrite, storage_file
from rosbags.rosbag2 import StoragePlugin

from seqpose_ros.bags import mcap_recovery
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.reader import BagError, BagReader
from seqpose_ros.demo import BUNDLED_BAG
from train.to_bag import IMAGE_TOPIC


def test_a_cut_mcap_is_read_up_to_the_cut_and_the_report_says_so(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    cut(storage_file(bag), 0.6)
    status, _, report = evaluate(bag)
    assert status == 0
    assert 1 <= report["frames_processed"] < FRAMES
    (sentence,) = report["damage"]
    assert sentence.startswith(f"{storage_file(bag)} is cut off")


def test_a_folder_without_metadata_is_read_by_its_one_file(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    (bag / "metadata.yaml").unlink()
    cut(storage_file(bag), 0.99)
    status, _, report = evaluate(bag)
    assert status == 0 and report["frames_processed"] >= FRAMES - 1
    assert [text.partition("bag ")[2][:22] for text in report["damage"][:1]] == ["holds no metadata.yaml"]


def test_the_cut_file_alone_is_read_too(bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    cut(storage_file(bag), 0.6)
    with Bag(bag) as folder, Bag(storage_file(bag)) as file:
        assert [f.stamp for f in file.frames()] == [f.stamp for f in folder.frames()] != []


def test_of_a_long_cut_file_the_images_before_the_cut_come_back(tmp_path: Path) -> None:
    """The bundled bag has several chunks; whole ones and the beginning of the one that was cut are kept."""
    whole, part = BUNDLED_BAG / "demo_bag.mcap", tmp_path / "part.mcap"
    part.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    mcap_recovery.recover(part, tmp_path / "saved.mcap")
    raw = []
    for path in (whole, tmp_path / "saved.mcap"):
        with BagReader(path) as reader:
            images = [c for c in reader.connections if c.topic == IMAGE_TOPIC]
            raw.append([(time, bytes(data)) for _, time, data in reader.messages(images)])
            assert not reader.damage
    assert raw[1] == raw[0][: len(raw[1])]
    assert len(raw[1]) == pytest.approx(0.6 * len(raw[0]), abs=6)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.03, 0.2, 0.45, 0.7, 0.9, 0.999])
def test_wherever_a_file_is_cut_it_is_read_or_refused_by_name(share: float, bag_path: Path, tmp_path: Path) -> None:
    for storage in (StoragePlugin.MCAP, StoragePlugin.SQLITE3):
        bag = rewrite(bag_path, tmp_path / storage.name, storage=storage)
        cut(storage_file(bag), share)
        try:
            with Bag(bag) as opened:
                frames = list(opened.frames())
                assert opened.damage or len(frames) == FRAMES
        except BagError as error:
            assert str(tmp_path) in str(error)


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.8])
def test_flipped_bytes_never_do_worse_than_end_the_reading(at: float, bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    data = bytearray(storage_file(bag).read_bytes())
    place = int(at * len(data))
    data[place : place + 40] = bytes(byte ^ 0xFF for byte in data[place : place + 40])
    storage_file(bag).write_bytes(data)
    try:
        with Bag(bag) as opened:
            frames = list(opened.frames())
            assert len(frames) == FRAMES or opened.damage or opened.skipped_frames
    except BagError as error:
        assert str(bag) in str(error)
