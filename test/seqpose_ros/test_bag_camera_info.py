# SPDX-License-Identifier: Apache-2.0
"""Which camera_info of a bag belongs to an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import FRAMES, rewrite

from seqpose_ros.bags.bag import Bag
from train.bag_messages import INFO_TOPIC

MILLISECOND = 1_000_000


def with_infos(bag: Path, out: Path, change: Callable[[int, Any], Any]) -> Path:
    """The bag with other camera_info messages: ``change`` takes the number and the message, stamped 1 ms before the
    image."""

    def edit(topic: str, number: int, message: Any) -> Any:
        if topic != INFO_TOPIC:
            return message
        message.header.stamp.nanosec = (message.header.stamp.nanosec - MILLISECOND) % 10**9
        return change(number, message)

    return rewrite(bag, out, edit)


def with_focal_length(info: Any, focal: float) -> Any:
    info.k = np.array([focal, 0, 47.5, 0, focal, 35.5, 0, 0, 1])
    return info


def focal_lengths(path: Path) -> list[float]:
    with Bag(path) as bag:
        values = [frame.camera.fx for frame in bag.frames()]
        assert not bag.skipped_frames
        return values


def test_a_camera_that_zooms_has_the_latest_camera_info_before_each_image(bag_path: Path, tmp_path: Path) -> None:
    bag = with_infos(bag_path, tmp_path / "bag", lambda n, info: with_focal_length(info, 80 + 10 * (n // 2)))
    assert focal_lengths(bag) == [80, 80, 90, 90]


def test_an_image_without_its_own_camera_info_has_that_of_the_image_before(bag_path: Path, tmp_path: Path) -> None:
    bag = with_infos(bag_path, tmp_path / "bag", lambda n, info: None if n == 2 else with_focal_length(info, 80 + n))
    assert focal_lengths(bag) == [80, 81, 81, 83]


@pytest.mark.parametrize("matched", [False, True], ids=["stamped 1 ms before the images", "stamped as the images"])
def test_zeros_before_the_calibration_are_ignored(matched: bool, bag_path: Path, tmp_path: Path) -> None:
    def change(number: int, info: Any) -> Any:
        if matched:
            info.header.stamp.nanosec = 10**8 * number
        return with_focal_length(info, 90) if number >= 2 else with_focal_length(info, 0)

    bag = with_infos(bag_path, tmp_path / "bag", change)
    assert focal_lengths(bag) == [90] * FRAMES
    with Bag(bag) as opened:
        (text,) = opened.warnings
    assert text.startswith(
        f"2 of {FRAMES} messages on {INFO_TOPIC} are not used; the first: camera_info cannot be used"
    )


def test_the_camera_info_of_the_images_stamp_has_precedence_over_a_later_one(bag_path: Path, tmp_path: Path) -> None:
    """The camera_info of the last image was recorded before all images, as if the images were delayed."""

    def change(topic: str, number: int, message: Any) -> Any:
        if topic == INFO_TOPIC:
            message.header.stamp.nanosec = 10**8 * (FRAMES - 1 - number)
            with_focal_length(message, 80 + FRAMES - 1 - number)
        return message

    assert focal_lengths(rewrite(bag_path, tmp_path / "bag", change)) == [80, 81, 82, 83]


def test_camera_infos_without_a_time_are_used_in_recorded_order(bag_path: Path, tmp_path: Path) -> None:
    """Images and camera_info of a driver that sets no stamps."""

    def change(topic: str, number: int, message: Any) -> Any:
        if topic != "/tf":
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        return with_focal_length(message, 80 + number) if topic == INFO_TOPIC else message

    bag = rewrite(bag_path, tmp_path / "bag", change)
    assert focal_lengths(bag) == [80, 81, 82, 83]
    with Bag(bag) as opened:
        assert any("share a stamp and differ" in text for text in opened.warnings)
