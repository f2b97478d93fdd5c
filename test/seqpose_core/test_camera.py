# SPDX-License-Identifier: Apache-2.0
"""The pinhole camera against OpenCV and hand calculation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqpose_core import Camera

PLAIN = Camera(500.0, 510.0, 321.0, 238.0, 640, 480)
WIDE = Camera(400.0, 405.0, 318.0, 243.0, 640, 480, (-0.12, 0.03, 0.001, -0.0007, 0.0))
pixels = st.tuples(st.floats(0, 639), st.floats(0, 479))
depths = st.floats(0.1, 10.0)


@given(pixels, depths)
@pytest.mark.parametrize("camera", [PLAIN, WIDE], ids=["plain", "distorted"])
def test_unprojecting_and_projecting_is_the_identity(camera: Camera, pixel: tuple[float, float], z: float) -> None:
    assert camera.project(camera.unproject(pixel, z)) == pytest.approx(pixel, abs=1e-6)


def test_projection_agrees_with_opencv() -> None:
    points = np.random.default_rng(0).uniform([-0.4, -0.3, 0.8], [0.4, 0.3, 2.0], (50, 3))
    for camera in (PLAIN, WIDE):
        d = np.zeros(5) if camera.distortion is None else np.asarray(camera.distortion)
        expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.matrix, d)[0][:, 0]
        np.testing.assert_allclose(camera.project(points), expected, atol=1e-9)


def test_a_point_on_the_optical_axis_projects_to_the_principal_point() -> None:
    assert PLAIN.project([0, 0, 3.0]) == pytest.approx((321.0, 238.0))


def test_points_behind_the_camera_project_to_nan() -> None:
    for camera in (PLAIN, WIDE):
        assert np.isnan(camera.project([[0.1, 0.1, -1.0], [0.1, 0.1, 0.0]])).all()


def test_resizing_preserves_the_image_edges() -> None:
    """The left edge of the image is at pixel -0.5 and the right edge at width - 0.5, for every size."""
    half = PLAIN.resized(320, 240)
    for edge, smaller in ((-0.5, -0.5), (639.5, 319.5)):
        ray = PLAIN.unproject((edge, 100.0), 1.0)
        assert half.project(ray)[0] == pytest.approx(smaller)


def test_cropping_shifts_the_origin() -> None:
    point = PLAIN.unproject((200.0, 150.0), 1.3)
    assert PLAIN.cropped(50, 20, 300, 200).project(point) == pytest.approx((150.0, 130.0))


def test_rectifying_removes_the_distortion() -> None:
    """A dot at a point's distorted projection is at its undistorted projection after rectification."""
    point = np.array([0.35, -0.25, 1.0])
    image = np.zeros((480, 640), np.uint8)
    u, v = WIDE.project(point)
    yy, xx = np.mgrid[:480, :640]
    image[:] = (255 * np.exp(-((xx - u) ** 2 + (yy - v) ** 2) / 8)).astype(np.uint8)
    rectified = WIDE.rectify(image).astype(float)
    centroid = (rectified * xx).sum() / rectified.sum(), (rectified * yy).sum() / rectified.sum()
    assert centroid == pytest.approx(tuple(WIDE.rectified().project(point)), abs=0.15)


def test_without_distortion_rectifying_returns_the_image() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    assert PLAIN.rectify(image) is image
    assert Camera(500, 500, 320, 240, 640, 480, (0.0,) * 5).distortion is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fx": 0.0}, "fx=0.0"),
        ({"fy": float("nan")}, "fy=nan"),
        ({"width": 0}, "0x480"),
        ({"distortion": (0.1, 0.2, 0.3)}, "3 coefficients"),
        ({"distortion": (float("inf"), 0.0, 0.0, 0.0)}, "finite"),
    ],
)
def test_invalid_cameras_raise_an_error(values: dict[str, float], message: str) -> None:
    valid = {"fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0, "width": 640, "height": 480}
    with pytest.raises(ValueError, match=message):
        Camera(**{**valid, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        ([[500, 0, 0], [0, 500, 0], [320, 240, 1]], "values below its diagonal; is it transposed"),
        ([[500, 40, 320], [0, 500, 240], [0, 0, 1]], "skew of 40 pixels"),
        (np.eye(4), r"shape \(4, 4\)"),
    ],
)
def test_a_matrix_that_is_not_of_a_pinhole_without_skew_is_refused(matrix: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Camera.from_matrix(matrix, 640, 480)  # type: ignore[arg-type]


def test_the_error_for_an_image_of_another_size_gives_both_sizes() -> None:
    with pytest.raises(ValueError, match="camera is 640x480 but the image is 1280x720"):
        PLAIN.rectify(np.zeros((720, 1280, 3), np.uint8))


FISHEYE = Camera(285.0, 286.0, 424.0, 400.0, 848, 800, (-0.01, 0.04, -0.03, 0.006), fisheye=True)
IDEAL = Camera(285.0, 285.0, 424.0, 400.0, 848, 800, (0.0, 0.0, 0.0, 0.0), fisheye=True)


def test_an_equidistant_lens_without_coefficients_is_no_pinhole() -> None:
    # 45 degrees off axis: the distance is f · pi/4 instead of f · tan 45 degrees.
    assert IDEAL.project([1.0, 0.0, 1.0]) == pytest.approx((424.0 + 285.0 * np.pi / 4, 400.0))
    assert IDEAL.resized(424, 400).project([1.0, 0.0, 1.0])[0] == pytest.approx(211.75 + 142.5 * np.pi / 4)


def test_the_projection_of_a_fisheye_lens_agrees_with_opencv_and_is_inverted() -> None:
    points = np.random.default_rng(0).uniform([-1.5, -1.5, 0.8], [1.5, 1.5, 2.0], (50, 3))
    for camera in (FISHEYE, IDEAL):
        expected = cv2.fisheye.distortPoints(
            (points[:, :2] / points[:, 2:])[:, None], camera.matrix, np.asarray(camera.distortion)
        )[:, 0]
        np.testing.assert_allclose(camera.project(points), expected, atol=1e-9)
        np.testing.assert_allclose(camera.unproject(camera.project(points), points[:, 2]), points, atol=1e-9)


def test_rectifying_a_fisheye_image_moves_points_to_their_pinhole_pixels() -> None:
    image = np.zeros((800, 848), np.float32)
    point = np.array([0.6, 0.4, 1.0])
    u, v = np.round(FISHEYE.project(point)).astype(int)
    cv2.circle(image, (int(u), int(v)), 4, 1.0, -1)
    rows, columns = np.nonzero(FISHEYE.rectify(image) > 0.5)
    assert (columns.mean(), rows.mean()) == pytest.approx(FISHEYE.rectified().project(point), abs=1.5)


def test_a_fisheye_lens_needs_four_coefficients() -> None:
    for coefficients in (None, (0.1,) * 5):
        with pytest.raises(ValueError, match="4 distortion coefficients"):
            Camera(285.0, 285.0, 424.0, 400.0, 848, 800, coefficients, fisheye=True)
