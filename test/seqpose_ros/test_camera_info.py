# SPDX-License-Identifier: Apache-2.0
"""Implausible camera_info is refused on arrival, and NaN in a stream is reported at level ERROR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_rig import CAMERA, STAMP, Client, FakeEstimator, InProcess, info_message, picture
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from seqpose_core import Camera
from seqpose_core.estimator import NonFiniteError
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import camera_for_image, camera_from_info, camera_warnings
from train.data.augment import Augmentation, ClipAugmentation
from train.render.scene import sample_intrinsics

Start = Callable[..., InProcess]


def info(**changes: Any) -> CameraInfo:
    message = info_message(CAMERA)
    k = np.array(message.k)
    for name, value in changes.items():
        index = {"fx": 0, "cx": 2, "fy": 4, "cy": 5}.get(name)
        if index is None:
            setattr(message, name, value)
        else:
            k[index] = value
    message.k = k
    return message


@pytest.mark.parametrize("value", [1e300, 1e38, 1e5, 1.0, 1e-30, 1e-300, -90.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["fx", "fy"])
def test_implausible_focal_lengths_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match="focal length") as error:
        camera_from_info(info(**{name: value}), rectified=False)
    assert error.value.kind == "camera_info"


@pytest.mark.parametrize("value", [1e300, -1e38, 1e5])
@pytest.mark.parametrize("name", ["cx", "cy"])
def test_implausible_principal_points_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match="principal point"):
        camera_from_info(info(**{name: value}), rectified=False)


def test_implausible_distortion_is_refused() -> None:
    with pytest.raises(InputError, match="distortion coefficient 1e\\+38"):
        camera_from_info(info(d=[0.1, 1e38, 0.0, 0.0]), rectified=False)
    with pytest.raises(InputError, match="100000 coefficients"):
        camera_from_info(info(d=[0.1] * 100_000), rectified=False)
    with pytest.raises(InputError, match="'xxx") as error:
        camera_from_info(info(d=[0.1] * 4, distortion_model="x" * 5_000_000), rectified=False)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("focal", "width"),
    [(200.0, 4000), (130.0, 640), (590.0, 640), (60_000.0, 1920)],  # fisheye, wide angle, REAL275, telephoto
)
def test_intrinsics_of_real_cameras_are_accepted(focal: float, width: int) -> None:
    message = info(fx=focal, fy=focal, cx=width / 2, cy=width / 4, width=width, height=width // 2)
    assert camera_from_info(message, rectified=False).fx == focal


def test_a_crop_outside_the_image_is_refused_without_an_exception_of_another_type() -> None:
    message = info(binning_x=1000, binning_y=1000)
    with pytest.raises(InputError, match="camera_info"):
        camera_from_info(message, rectified=False)


def test_the_node_refuses_implausible_camera_info_and_keeps_the_valid_one(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    client.send_first(picture(), STAMP)
    for value in (1e300, 1e38, 1e-30, 1e-300):
        client.diagnostics.clear()
        client.info.publish(info(fx=value))
        client.until(
            lambda: client.diagnostics and "focal length" in client.diagnostics[-1].status[0].message, "the reason"
        )
    client.send(picture(), STAMP + 0.1)
    assert all(step["camera"] == CAMERA for step in estimator.steps)


def test_nan_in_the_stream_is_reported_at_level_error_and_the_next_image_is_processed(
    client: Client, start: Start
) -> None:
    estimator = FakeEstimator()
    start(estimator)
    client.connect()
    client.send_first(picture(), STAMP)
    estimator.fault = NonFiniteError("the network returned NaN")
    client.send_image(picture(), STAMP + 0.1)
    client.until(lambda: client.diagnostics[-1].status[0].level == DiagnosticStatus.ERROR, "the error")
    assert "the network returned NaN" in client.diagnostics[-1].status[0].message
    estimator.fault = None
    client.send(picture(), STAMP + 0.2)


def test_long_strings_are_not_copied_into_logs_and_diagnostics(client: Client, start: Start) -> None:
    start(FakeEstimator())
    client.connect()
    client.send_first(picture(), STAMP)
    client.diagnostics.clear()
    message = info(d=[0.1] * 4, distortion_model="x" * 1_000_000)
    client.info.publish(message)
    client.until(lambda: client.diagnostics and "distortion" in client.diagnostics[-1].status[0].message, "the reason")
    assert len(client.diagnostics[-1].status[0].message) < 1000


def test_an_equidistant_lens_without_coefficients_stays_a_fisheye() -> None:
    for d in ([], [0.0] * 4):
        camera = camera_from_info(info(distortion_model="equidistant", d=d), rectified=False)
        # 30 degrees off axis: f · pi/6, not f · tan 30 degrees.
        assert camera.project([np.tan(np.pi / 6), 0, 1])[0] == pytest.approx(31.0 + 90.0 * np.pi / 6)
    assert not camera_from_info(info(distortion_model="equidistant", d=[0.0] * 4), rectified=True).fisheye


def test_k_in_units_of_the_image_size_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="units of the image size, but CameraInfo has pixels: multiply"):
        camera_from_info(info(fx=1.2, fy=1.6, cx=0.5, cy=0.5), rectified=False)


@pytest.mark.parametrize("crop", [{"binning_x": 2, "binning_y": 2}, {"roi": RegionOfInterest(width=32, height=24)}])
def test_a_crop_that_is_announced_but_not_made_is_named(crop: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"region of interest or binning, 32x24 of 64x48, but the image has the full"):
        camera_for_image(picture(), info(**crop), rectified=False)
    assert camera_for_image(picture()[:24, :32], info(**crop), rectified=False).width == 32


def test_rectified_decides_between_k_and_p() -> None:
    message = info(d=[0.1, 0.0, 0.0, 0.0, 0.0])
    message.p = [80.0, 0.0, 30.0, 0.0, 0.0, 81.0, 22.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    raw, rectified = (camera_from_info(message, value) for value in (False, True))
    assert (raw.fx, raw.distortion) == (90.0, (0.1, 0.0, 0.0, 0.0, 0.0))
    assert (rectified.fx, rectified.distortion) == (80.0, None)


def test_rational_polynomial_is_opencvs_model_of_eight_coefficients() -> None:
    d = [0.5, 0.1, 0.001, -0.002, 0.02, 0.8, 0.2, 0.03]
    camera = camera_from_info(info(distortion_model="rational_polynomial", d=d), rectified=False)
    expected = cv2.projectPoints(np.array([[0.2, 0.1, 1.0]]), np.zeros(3), np.zeros(3), CAMERA.matrix, np.array(d))[0]
    assert camera.project([0.2, 0.1, 1.0]) == pytest.approx(expected.ravel(), abs=1e-9)


def test_probably_wrong_camera_settings_give_a_warning() -> None:
    message = info(d=[0.1, 0.0, 0.0, 0.0, 0.0])
    camera = camera_from_info(message, rectified=False)
    (text,) = camera_warnings("/camera/image_rect/compressed", message, camera, rectified=False)
    assert "image_rect/compressed is named as rectified images are" in text and "set rectified to true" in text
    assert not camera_warnings("/camera/image_rect", message, camera, rectified=True)
    assert not camera_warnings("/camera/image_raw", message, camera, rectified=False)
    # 64 pixels at f = 600: 2 · atan(32 / 600) = 6 degrees.
    (text,) = camera_warnings("/image", info(), Camera(600.0, 600.0, 31.5, 23.5, 64, 48), rectified=False)
    assert text.startswith("the field of view is 6 degrees")


def test_the_warning_about_the_field_of_view_begins_outside_the_training_data() -> None:
    """The renderer and the augmentation that the bundled checkpoints were trained with stay inside the limits."""
    random = np.random.default_rng(0)
    for _ in range(2000):
        rendered = Camera.from_matrix(sample_intrinsics(random, 256, 192), 256, 192)
        window = ClipAugmentation.draw(Augmentation(), random).window(192, 256, 168, 224)
        camera = window.camera(rendered, 168, 224)
        assert not camera_warnings("/image", info(), camera, rectified=False)
    # 2 atan(320 / f): 31.0, 32.7, 83.3 and 86.0 degrees; the limits are 32 and 85.
    for focal, warnings in ((1154.0, 1), (1090.0, 0), (360.0, 0), (343.0, 1)):
        camera = Camera(focal, focal, 319.5, 239.5, 640, 480)
        assert len(camera_warnings("/image", info(), camera, rectified=False)) == warnings


def test_camera_info_that_was_published_once_before_the_node_started_is_received(client: Client, start: Start) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    client.node.destroy_publisher(client.info)
    client.info = client.node.create_publisher(CameraInfo, "camera_info", latched)
    client.send_info()
    estimator = FakeEstimator()
    start(estimator)
    client.until(lambda: client.image.get_subscription_count(), "the node")
    while not client.detections:
        client.send_image(picture(), STAMP)
        client.executor.spin_once(timeout_sec=0.2)
    assert estimator.steps[-1]["camera"] == CAMERA
