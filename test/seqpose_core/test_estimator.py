# SPDX-License-Identifier: Apache-2.0
"""Streaming inference: replayable, indifferent to image size, and tidy about what it reports."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from tiny import tiny_model

from seqpose_core import Camera, ObjectPose, PoseEstimator
from seqpose_core import estimator as estimator_module

CAMERA = Camera(600.0, 600.0, 322.0, 241.0, 640, 480)


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator(tiny_model(), score_threshold=0.0, min_hits=1)


@pytest.fixture(autouse=True)
def fresh(estimator: PoseEstimator) -> Iterator[None]:
    yield
    estimator.reset()
    estimator.configure(score_threshold=0.0, min_hits=1, max_objects=20, categories=())


def picture(seed: int, width: int = 640, height: int = 480) -> np.ndarray:
    """A smooth picture, so that resampling it loses little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def clip(estimator: PoseEstimator, start: float = 0.0) -> list[list[ObjectPose]]:
    pose = np.eye(4)
    results = []
    for frame in range(4):
        pose = pose.copy()
        pose[0, 3] = 0.01 * frame
        results.append(estimator.step(picture(frame), CAMERA, start + 0.1 * frame, pose))
    return results


def assert_same(first: list[ObjectPose], second: list[ObjectPose], tolerance: float) -> None:
    assert [o.category for o in first] == [o.category for o in second]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.transform, b.transform, atol=tolerance)
        np.testing.assert_allclose(a.size, b.size, atol=tolerance)
        assert a.score == pytest.approx(b.score, abs=tolerance)


def test_streaming_equals_replay(estimator: PoseEstimator) -> None:
    first = clip(estimator)
    estimator.reset()
    for a, b in zip(first, clip(estimator), strict=True):
        assert_same(a, b, 0.0)


def test_a_jump_in_time_starts_anew(estimator: PoseEstimator) -> None:
    first = clip(estimator)
    for start in (100.0, 50.0):  # later by more than max_frame_gap, and earlier
        for a, b in zip(first, clip(estimator, start), strict=True):
            assert_same(a, b, 1e-6)


def test_the_past_matters(estimator: PoseEstimator) -> None:
    last = clip(estimator)[-1]
    estimator.reset()
    alone = estimator.step(picture(3), CAMERA, 0.3)
    assert not np.allclose(last[0].translation, alone[0].translation, atol=1e-6)


def test_twice_the_image_with_twice_the_intrinsics_is_the_same(estimator: PoseEstimator) -> None:
    small = estimator.step(picture(0), CAMERA)
    estimator.reset()
    large = estimator.step(cv2.resize(picture(0), (1280, 960)), CAMERA.resized(1280, 960))
    assert_same(small, large, 0.02)


def test_another_aspect_is_padded_not_stretched(estimator: PoseEstimator) -> None:
    """A wide image equals the same one with grey bars above and below that make it 4:3."""
    wide = picture(1, 448, 240)
    tall = np.full((336, 448, 3), 114, np.uint8)
    tall[48:288] = wide
    whole = Camera(400.0, 400.0, 230.0, 165.0, 448, 336)
    first = estimator.step(wide, whole.cropped(0, 48, 448, 240))
    estimator.reset()
    second = estimator.step(tall, whole)
    assert_same(first, second, 2e-3)


def test_a_distorted_image_is_rectified(estimator: PoseEstimator) -> None:
    bent = Camera(600, 600, 322, 241, 640, 480, (-0.2, 0.05, 0.0, 0.0))
    first = estimator.step(picture(2), bent)
    estimator.reset()
    assert_same(first, estimator.step(bent.rectify(picture(2)), bent.rectified()), 0.0)


def test_options_decide_what_is_reported(estimator: PoseEstimator) -> None:
    everything = estimator.step(picture(0), CAMERA)
    assert [o.score for o in everything] == sorted((o.score for o in everything), reverse=True)
    estimator.reset()
    estimator.configure(max_objects=2)
    assert len(estimator.step(picture(0), CAMERA)) <= 2
    estimator.reset()
    estimator.configure(max_objects=20, categories=("mug",))
    assert {o.category for o in estimator.step(picture(0), CAMERA)} <= {"mug"}
    estimator.configure(score_threshold=1.0)
    assert estimator.step(picture(0), CAMERA) == []


def test_no_two_reports_of_one_kind_stand_in_the_same_place(estimator: PoseEstimator) -> None:
    objects = estimator.step(picture(0), CAMERA)
    for i, a in enumerate(objects):
        for b in objects[:i]:
            if a.category == b.category:
                assert np.linalg.norm(a.translation - b.translation) >= 0.3 * np.linalg.norm(b.size) * 0.999


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ((0.0, 0.0, 1.2), True),  # the same line of sight, a hand farther
        ((0.03, 0.0, 1.0), True),
        ((0.08, 0.0, 1.0), False),  # its neighbour on the shelf
        ((0.0, 0.0, 1.6), False),  # another one at the far end of the table
        ((0.0, -0.12, 1.2), False),  # behind it, seen over it
    ],
)
def test_the_same_object_at_another_depth_is_reported_once(other: tuple[float, ...], same: bool) -> None:
    places = torch.tensor([(0.0, 0.0, 1.0), other])
    can = torch.tensor([0.066, 0.122, 0.066]).expand(2, 3)  # diagonal 15 cm
    one = estimator_module._one_object(places, can)
    assert bool(one[1, 0]) == bool(one[0, 1]) == same


def test_covariances_are_proper_and_say_that_a_round_turn_is_unknown(estimator: PoseEstimator) -> None:
    for item in estimator.step(picture(0), CAMERA):
        np.testing.assert_allclose(item.covariance, item.covariance.T, atol=0)
        assert (np.linalg.eigvalsh(item.covariance) > 0).all()
        about_y = item.rotation[:, 1] @ item.covariance[3:, 3:] @ item.rotation[:, 1]
        if item.category in ("bottle", "bowl", "can"):
            assert about_y == pytest.approx(np.pi**2 / 3, rel=1e-4)


def test_single_frame_operation_is_the_memory_of_zero_frames() -> None:
    single = PoseEstimator(tiny_model(), score_threshold=0.0, memory_frames=0)
    results = [single.step(picture(0), CAMERA, 0.1 * i) for i in range(3)]
    assert_same(results[0], results[2], 1e-6)


@pytest.mark.parametrize("size", [(112, 84), (640, 480)], ids=["network's size", "another"])
def test_a_reversed_view_is_an_image_too(estimator: PoseEstimator, size: tuple[int, int]) -> None:
    """OpenCV's BGR frames are commonly handed over as ``frame[..., ::-1]``."""
    camera = CAMERA.resized(*size)
    rgb = picture(0, *size)
    expected = estimator.step(rgb, camera)
    estimator.reset()
    assert_same(expected, estimator.step(np.ascontiguousarray(rgb[..., ::-1])[..., ::-1], camera), 0.0)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((480, 640), np.uint8), r"\(480, 640\).*\(H, W, 3\) uint8 RGB"),
        (np.zeros((480, 640, 3), np.float32), "float32"),
        (np.zeros((0, 0, 3), np.uint8), r"\(0, 0, 3\)"),
        (np.zeros((720, 1280, 3), np.uint8), "camera is 640x480 but the image is 1280x720"),
    ],
)
def test_wrong_images_are_named_and_do_no_harm(estimator: PoseEstimator, image: np.ndarray, message: str) -> None:
    before = estimator.step(picture(0), CAMERA, 0.0)
    with pytest.raises(ValueError, match=message):
        estimator.step(image, CAMERA, 0.1)
    estimator.reset()
    assert_same(before, estimator.step(picture(0), CAMERA, 0.0), 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_treshold": 0.5}, "did you mean 'score_threshold'"),
        ({"categories": ("mugs",)}, "did you mean 'mug'"),
        ({"precision": "fp8"}, "fp32, bf16"),
        ({"score_threshold": 2.0}, "2.0; it must lie in 0..1"),
        ({"memory_frames": -1}, "memory_frames is -1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PoseEstimator(tiny_model(), **options)


def test_a_read_only_image_gives_no_warning(estimator: PoseEstimator, recwarn: pytest.WarningsRecorder) -> None:
    image = np.zeros((84, 112, 3), np.uint8)
    image.flags.writeable = False
    estimator.step(image, Camera(100, 100, 56, 42, 112, 84))
    assert not recwarn.list
