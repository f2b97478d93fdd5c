# SPDX-License-Identifier: Apache-2.0
"""The video and the picture sheet of a bag, and the frame rate of its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import imageio.v2 as imageio
import numpy as np
import pytest
from bag_rig import CAMERA, FRAMES, HEIGHT, WIDTH, rewrite, upright_object
from foreign_bag_rig import READ, content
from mcap_rig import McapFile

from seqpose_core import ObjectPose
from seqpose_core.categories import Category
from seqpose_ros.bags.bag import Bag, BagFrame
from seqpose_ros.bags.video import write_sheet, write_video
from train.bag_messages import IMAGE_TOPIC, INFO_TOPIC

SECOND = 10**9


def frame(index: int, scale: int = 1) -> BagFrame:
    """A grey image with a mug 1 m in front of the camera; ``scale`` times as large as CAMERA's."""
    image = np.full((scale * HEIGHT, scale * WIDTH, 3), 128, np.uint8)
    camera = CAMERA.resized(scale * WIDTH, scale * HEIGHT)
    return BagFrame(index, index * 10**8, "camera", image, camera, [upright_object("mug", (0, 0, 1))])


def off_by(centimetres: float) -> list[ObjectPose]:
    return [upright_object("mug", (0.01 * centimetres, 0, 1))]


def test_the_sheet_has_the_best_of_each_third_of_the_processed_frames(tmp_path: Path) -> None:
    # Frames 0 to 11 were skipped, so the processed frames are 12 to 20; those off by 1 cm are the best of their thirds.
    errors = {12: 5, 13: 1, 14: 5, 15: 5, 16: 5, 17: 1, 18: 1, 19: 5, 20: 5}
    predictions = {index: off_by(error) for index, error in errors.items()}
    frames = [frame(index) for index in range(21)]
    assert write_sheet(tmp_path / "sheet.png", frames, predictions) == [13, 17, 18]


def test_the_sheet_compares_objects_of_the_given_categories(tmp_path: Path) -> None:
    pan = Category(1, "pan", False, (0.3, 0.05, 0.5), (0, 0, 0))
    errors = (5, 1, 5, 1, 5, 1)
    predictions = {i: [replace(o, category="pan", category_info=pan) for o in off_by(e)] for i, e in enumerate(errors)}
    exact = [replace(upright_object("mug", (0, 0, 1)), category="pan", category_info=pan)]
    frames = [replace(frame(index), ground_truth=exact) for index in range(6)]
    assert write_sheet(tmp_path / "sheet.png", frames, predictions, [pan]) == [1, 3, 5]


def test_images_of_another_size_are_fitted_into_the_video_and_the_sheet(tmp_path: Path) -> None:
    frames = [frame(0), frame(1, scale=2), frame(2)]
    predictions = {index: off_by(1) for index in range(3)}
    video = write_video(tmp_path / "video.mp4", frames, predictions, 10.0)
    shapes = [np.shape(picture) for picture in imageio.get_reader(video)]
    assert len(shapes) == 3 and len(set(shapes)) == 1
    assert write_sheet(tmp_path / "sheet.png", frames, predictions) == [0, 1, 2]
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


def larger_from(first: int) -> Callable[[str, int, Any], Any]:
    """A change of a bag: images and camera_info are twice as large from a frame on."""

    def change(topic: str, number: int, message: Any) -> Any:
        if number < first:
            return message
        if topic == IMAGE_TOPIC:
            pixels = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
            message.data = cv2.imencode(".jpg", cv2.resize(pixels, None, fx=2, fy=2))[1].ravel()
        if topic == INFO_TOPIC:
            larger = CAMERA.resized(2 * WIDTH, 2 * HEIGHT)
            message.width, message.height, message.k = larger.width, larger.height, larger.matrix.ravel()
        return message

    return change


def test_a_bag_whose_images_change_their_size_is_evaluated_with_video_and_report(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    status, _, report = evaluate(rewrite(bag_path, tmp_path / "bag", larger_from(2)), "--video", "--report")
    assert (status, report["frames_processed"], report["skipped"]) == (0, FRAMES, {})
    assert {"video.mp4", "frames.png", "report"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_pictures_that_cannot_be_written_do_not_lose_the_figures(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    (tmp_path / "out" / "video.mp4").mkdir(parents=True)
    status, error, report = evaluate(bag_path, "--video")
    assert (status, report["frames_processed"]) == (1, FRAMES)
    assert error.startswith("evaluate_bag: ")


def test_the_frame_rate_is_that_of_the_images_alone(bag_path: Path, tmp_path: Path) -> None:
    """A transform is recorded 10 s after the last image."""
    file, rows = McapFile(), []
    for topic, (msgtype, definition, messages) in content(bag_path).items():
        channel = file.channel(topic, file.schema(msgtype, definition))
        late = 0 if topic in READ else 10 * SECOND
        rows += [(time + late, channel, raw) for time, raw in messages]
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    with Bag(file.write(tmp_path / "bag.mcap")) as bag:
        assert bag.rate == pytest.approx(10.0)
