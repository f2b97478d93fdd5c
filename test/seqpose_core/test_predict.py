# SPDX-License-Identifier: Apache-2.0
"""seqpose-predict reads images, folders and videos, and raises errors for unreadable files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from seqpose_core.predict import camera_of, main, read_frames
from seqpose_core.samples import SAMPLE_CAMERA, sample_frames


def write_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (640, 480))
    for image, _, _ in list(sample_frames())[:frames]:
        writer.write(image[..., ::-1])
    writer.release()
    return path


def test_a_field_of_view_of_90_degrees_is_a_focal_length_of_half_the_width() -> None:
    assert math.isclose(camera_of(640, 480, None, 90.0).fx, 320.0)
    assert camera_of(640, 480, 500.0, 90.0).fx == 500.0


def test_sample_frames_fit_their_camera_and_are_a_tenth_of_a_second_apart() -> None:
    frames = list(sample_frames())
    assert len(frames) == 10
    assert {image.shape for image, _, _ in frames} == {(SAMPLE_CAMERA.height, SAMPLE_CAMERA.width, 3)}
    assert np.allclose(np.diff([stamp for _, _, stamp in frames]), 0.1)


def test_a_video_gives_one_line_per_frame_with_stamps_of_its_rate(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", 3)
    assert main([str(video), "--fx", str(SAMPLE_CAMERA.fx), "--out", str(tmp_path / "out")]) == 0
    records = [json.loads(line) for line in (tmp_path / "out/poses.jsonl").read_text().splitlines()]
    assert np.allclose([record["stamp"] for record in records], [0.0, 0.1, 0.2])
    assert all(record["objects"] for record in records)
    assert len(list(read_frames(tmp_path / "out/video.mp4"))) == 3


def test_a_folder_gives_a_picture_per_image(tmp_path: Path) -> None:
    for index, (image, _, _) in enumerate(list(sample_frames())[:2]):
        cv2.imwrite(str(tmp_path / f"{index}.jpg"), image[..., ::-1])
    assert main([str(tmp_path), "--single", "--out", str(tmp_path / "out")]) == 0
    assert sorted(file.name for file in (tmp_path / "out").glob("*.png")) == ["0.png", "1.png"]


def test_no_input_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = next(iter(sample_frames()))[0]
    video, picture = write_video(tmp_path / "video.mp4", 2), tmp_path / "images/a.png"
    picture.parent.mkdir()
    cv2.imwrite(str(picture), image[..., ::-1])
    for path, out in ((picture.parent, picture.parent), (picture, picture.parent), (video, tmp_path)):
        before = {file: file.read_bytes() for file in (video, picture)}
        assert main([str(path), "--out", str(out)]) == 1
        assert "choose another --out" in capsys.readouterr().err
        assert {file: file.read_bytes() for file in before} == before


def test_images_of_equal_stems_have_pictures_of_their_own(tmp_path: Path) -> None:
    image = next(iter(sample_frames()))[0]
    for name in ("a.png", "a.jpg", "b.jpg"):
        cv2.imwrite(str(tmp_path / name), image[..., ::-1])
    assert main([str(tmp_path), "--single", "--out", str(tmp_path / "out")]) == 0
    assert sorted(file.name for file in (tmp_path / "out").glob("*.png")) == ["a.jpg.png", "a.png.png", "b.png"]


@pytest.mark.parametrize("name", ["missing.mp4", "broken.mp4", "broken.png", "empty"])
def test_the_error_names_an_unreadable_input(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for broken in ("broken.mp4", "broken.png"):
        (tmp_path / broken).write_bytes(b"not an image")
    assert main([str(tmp_path / name), "--fx", "600", "--out", str(tmp_path / "out")]) == 1
    assert name in capsys.readouterr().err
