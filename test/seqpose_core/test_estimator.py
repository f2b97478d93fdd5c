# SPDX-License-Identifier: Apache-2.0
"""Streaming inference: reproducible, independent of the image size, and without duplicate detections."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from tiny import tiny_model

from seqpose_core import Camera, EstimatorOptions, ObjectPose, PoseEstimator, selection

CAMERA = Camera(600.0, 600.0, 322.0, 241.0, 640, 480)


@pytest.fixture(scope="module")
def estimator() -> PoseEstimator:
    return PoseEstimator(tiny_model(), score_threshold=0.0, min_hits=1)


@pytest.fixture(autouse=True)
def reset(estimator: PoseEstimator) -> Iterator[None]:
    yield
    estimator.reset()
    estimator.configure(score_threshold=0.0, min_hits=1, max_objects=20, categories=())


def smooth_image(seed: int, width: int = 640, height: int = 480) -> np.ndarray:
    """A random image with low frequencies only, so that resampling loses little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def clip(estimator: PoseEstimator, start: float = 0.0) -> list[list[ObjectPose]]:
    pose = np.eye(4)
    results = []
    for frame in range(4):
        pose = pose.copy()
        pose[0, 3] = 0.01 * frame
        results.append(estimator.step(smooth_image(frame), CAMERA, start + 0.1 * frame, pose))
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


def test_a_jump_in_time_resets_the_memory(estimator: PoseEstimator) -> None:
    first = clip(estimator)
    for start in (100.0, 50.0):  # later by more than max_frame_gap, and earlier
        for a, b in zip(first, clip(estimator, start), strict=True):
            assert_same(a, b, 1e-6)


def test_the_prediction_depends_on_past_frames(estimator: PoseEstimator) -> None:
    last = clip(estimator)[-1]
    estimator.reset()
    alone = estimator.step(smooth_image(3), CAMERA, 0.3)
    assert not np.allclose(last[0].translation, alone[0].translation, atol=1e-6)


def test_the_prediction_is_independent_of_the_image_size(estimator: PoseEstimator) -> None:
    small = estimator.step(smooth_image(0), CAMERA)
    estimator.reset()
    large = estimator.step(cv2.resize(smooth_image(0), (1280, 960)), CAMERA.resized(1280, 960))
    assert_same(small, large, 0.02)


def test_an_image_of_another_aspect_ratio_is_padded(estimator: PoseEstimator) -> None:
    """A wide image equals the same one with grey bars above and below that make it 4:3."""
    wide = smooth_image(1, 448, 240)
    tall = np.full((336, 448, 3), 114, np.uint8)
    tall[48:288] = wide
    full = Camera(400.0, 400.0, 230.0, 165.0, 448, 336)
    first = estimator.step(wide, full.cropped(0, 48, 448, 240))
    estimator.reset()
    second = estimator.step(tall, full)
    assert_same(first, second, 2e-3)


def test_a_distorted_image_is_rectified(estimator: PoseEstimator) -> None:
    distorted = Camera(600, 600, 322, 241, 640, 480, (-0.2, 0.05, 0.0, 0.0))
    first = estimator.step(smooth_image(2), distorted)
    estimator.reset()
    assert_same(first, estimator.step(distorted.rectify(smooth_image(2)), distorted.rectified()), 0.0)


def test_options_decide_what_is_reported(estimator: PoseEstimator) -> None:
    objects = estimator.step(smooth_image(0), CAMERA)
    assert [o.score for o in objects] == sorted((o.score for o in objects), reverse=True)
    estimator.reset()
    estimator.configure(max_objects=2)
    assert len(estimator.step(smooth_image(0), CAMERA)) <= 2
    estimator.reset()
    estimator.configure(max_objects=20, categories=("mug",))
    assert {o.category for o in estimator.step(smooth_image(0), CAMERA)} <= {"mug"}
    estimator.configure(score_threshold=1.0)
    assert estimator.step(smooth_image(0), CAMERA) == []


def test_no_two_objects_of_one_category_have_the_same_position(estimator: PoseEstimator) -> None:
    objects = estimator.step(smooth_image(0), CAMERA)
    for i, a in enumerate(objects):
        for b in objects[:i]:
            if a.category == b.category:
                assert np.linalg.norm(a.translation - b.translation) >= 0.3 * np.linalg.norm(b.size) * 0.999


@pytest.mark.parametrize(
    ("position", "same"),
    [
        ((0.0, 0.0, 1.2), True),  # 20 cm farther on the same line of sight
        ((0.03, 0.0, 1.0), True),
        ((0.08, 0.0, 1.0), False),  # a neighbour, 8 cm to the side
        ((0.0, 0.0, 1.6), False),  # another one 60 cm behind it
        ((0.0, -0.12, 1.2), False),  # behind and above it
    ],
)
def test_the_same_object_at_another_depth_is_reported_once(position: tuple[float, ...], same: bool) -> None:
    positions = np.array([(0.0, 0.0, 1.0), position])
    can = np.tile([0.066, 0.122, 0.066], (2, 1))  # diagonal 15 cm
    same_object = selection._same_object(positions, can)
    assert bool(same_object[1, 0]) == bool(same_object[0, 1]) == same


def test_covariances_are_positive_definite_with_uniform_yaw_if_symmetric(
    estimator: PoseEstimator,
) -> None:
    for item in estimator.step(smooth_image(0), CAMERA):
        np.testing.assert_allclose(item.covariance, item.covariance.T, atol=0)
        assert (np.linalg.eigvalsh(item.covariance) > 0).all()
        about_y = item.rotation[:, 1] @ item.covariance[3:, 3:] @ item.rotation[:, 1]
        if item.category in ("bottle", "bowl", "can"):
            assert about_y == pytest.approx(np.pi**2 / 3, rel=1e-4)


def test_with_zero_memory_frames_every_frame_is_independent() -> None:
    single = PoseEstimator(tiny_model(), score_threshold=0.0, memory_frames=0)
    results = [single.step(smooth_image(0), CAMERA, 0.1 * i) for i in range(3)]
    assert_same(results[0], results[2], 1e-6)


@pytest.mark.parametrize("size", [(112, 84), (640, 480)], ids=["network's size", "another"])
def test_a_reversed_view_is_accepted(estimator: PoseEstimator, size: tuple[int, int]) -> None:
    """OpenCV's BGR frames are commonly passed as ``frame[..., ::-1]``."""
    camera = CAMERA.resized(*size)
    rgb = smooth_image(0, *size)
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
def test_invalid_images_raise_an_error_and_leave_the_memory_unchanged(
    estimator: PoseEstimator, image: np.ndarray, message: str
) -> None:
    before = estimator.step(smooth_image(0), CAMERA, 0.0)
    with pytest.raises(ValueError, match=message):
        estimator.step(image, CAMERA, 0.1)
    estimator.reset()
    assert_same(before, estimator.step(smooth_image(0), CAMERA, 0.0), 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_treshold": 0.5}, "did you mean 'score_threshold'"),
        ({"categories": ("mugs",)}, "did you mean 'mug'"),
        ({"precision": "fp8"}, "fp32, bf16"),
        ({"score_threshold": 2.0}, "2.0; it must lie in 0..1"),
        ({"memory_frames": -1}, "memory_frames is -1"),
        ({"min_hits": 0}, "min_hits is 0"),
        ({"smoothing": 1.0}, "smoothing is 1.0"),
    ],
)
def test_invalid_options_raise_an_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PoseEstimator(tiny_model(), **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_hits": 0}, "min_hits is 0"),
        ({"categories": ("mugs",)}, "did you mean 'mug'"),
        ({"memory_frames": 0}, "memory_frames is fixed"),
    ],
)
def test_an_invalid_change_leaves_the_options_unchanged(
    estimator: PoseEstimator, changes: dict[str, object], message: str
) -> None:
    before = estimator.options
    with pytest.raises(ValueError, match=message):
        estimator.configure(**changes)
    assert estimator.options == before


def test_options_and_keywords_build_the_same_estimator() -> None:
    model = tiny_model()
    options = EstimatorOptions(score_threshold=0.2, max_objects=3)
    assert PoseEstimator(model, options).options == PoseEstimator(model, score_threshold=0.2, max_objects=3).options
    assert PoseEstimator(model, options, max_objects=5).options == EstimatorOptions(score_threshold=0.2, max_objects=5)


def test_a_read_only_image_gives_no_warning(estimator: PoseEstimator, recwarn: pytest.WarningsRecorder) -> None:
    image = np.zeros((84, 112, 3), np.uint8)
    image.flags.writeable = False
    estimator.step(image, Camera(100, 100, 56, 42, 112, 84))
    assert not recwarn.list
