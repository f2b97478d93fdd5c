# SPDX-License-Identifier: Apache-2.0
"""Implausible camera_info is refused on arrival, and NaN in a stream is reported at level ERROR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_rig import CAMERA, STAMP, Client, FakeEstimator, InProcess, info_message, picture
from sensor_msgs.msg import CameraInfo

from seqpose_core.estimator import NonFiniteError
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import camera_from_info

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
