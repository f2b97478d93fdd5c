# SPDX-License-Identifier: Apache-2.0
"""Faults of a camera, its driver and its users, which the soak command causes one by one."""

from __future__ import annotations

import array
from collections.abc import Callable

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from seqpose_core import Camera
from seqpose_ros.stamps import stamp_nanoseconds
from seqpose_ros.stress.rig import Client, image_message, info_message, time_message

SECOND = 10**9  # nanoseconds


class CameraSource:
    """Valid messages of one camera.

    :param frames: images (H, W, 3) of one size, repeated in a loop. :param camera: of the images.
    """

    def __init__(self, client: Client, frames: list[np.ndarray], camera: Camera) -> None:
        self._client, self._camera, self._index = client, camera, 0
        self._messages = [image_message(client.header(), frame) for frame in frames]

    def image(self) -> Image:
        """The next image, with the current time."""
        message = self._messages[self._index % len(self._messages)]
        self._index += 1
        return Image(
            header=self._client.header(),
            height=message.height,
            width=message.width,
            encoding=message.encoding,
            step=message.step,
            data=message.data,
        )

    def send(self) -> int:
        """Publish a valid image with camera_info and camera pose; returns its stamp in nanoseconds."""
        image = self.image()
        self._client.publish_info(info_message(image.header, self._camera))
        self._client.publish_camera_pose()
        return self._client.publish_image(image)

    def send_info(self, **changes: object) -> None:
        """Publish camera_info with changed fields."""
        message = info_message(self._client.header(), self._camera)
        for name, value in changes.items():
            setattr(message, name, value)
        self._client.publish_info(message)


Fault = Callable[[Client, CameraSource, np.random.Generator], None]


def _changed_image(**changes: object) -> Fault:
    def publish(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
        image = camera.image()
        for name, value in changes.items():
            setattr(image, name, value)
        client.publish_image(image)

    return publish


def _changed_info(**changes: object) -> Fault:
    def publish(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
        camera.send_info(**changes)
        client.publish_image(camera.image())

    return publish


def _noise_image(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
    image = camera.image()
    image.data = array.array("B", random.integers(0, 256, len(image.data), np.uint8).tobytes())
    client.publish_image(image)


def _shifted_stamp(offset: int | None) -> Fault:
    """An image whose stamp is shifted by ``offset`` nanoseconds, or 0 if None."""

    def publish(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
        image = camera.image()
        stamp = 0 if offset is None else stamp_nanoseconds(image.header.stamp) + offset
        image.header.stamp = time_message(stamp)
        client.publish_image(image)

    return publish


def _repeated_image(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
    image = camera.image()
    for _ in range(3):
        client.publish_image(image)
        client.spin(0.3)


def _other_frame_id(frame_id: str) -> Fault:
    def publish(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
        image = camera.image()
        image.header.frame_id = frame_id
        client.publish_image(image)

    return publish


def _no_images(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
    client.spin(2.5)


def _no_camera_pose(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
    for _ in range(10):
        client.publish_image(camera.image())
        client.spin(0.1)


def _call_reset(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
    client.call(Trigger, "reset", Trigger.Request())


def _request_transitions(*ids: int) -> Fault:
    def request(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
        for number in ids:
            client.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(id=number)), 120.0)

    return request


def _bad_parameter(client: Client, camera: CameraSource, random: np.random.Generator) -> None:
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=7.0)
    request = SetParameters.Request(parameters=[Parameter(name="score_threshold", value=value)])
    client.call(SetParameters, "set_parameters", request)


FAULTS: dict[str, Fault] = {
    "unknown encoding": _changed_image(encoding="nonsense"),
    "encoding of 1 MB": _changed_image(encoding="x" * 10**6),
    "depth image": _changed_image(encoding="32FC1"),
    "truncated data": _changed_image(data=array.array("B", b"short")),
    "empty image": _changed_image(width=0, height=0, step=0, data=array.array("B")),
    "step too small": _changed_image(step=1),
    "absurd size": _changed_image(width=2**32 - 1, height=2**32 - 1),
    "image of another size": _changed_image(height=240),
    "noise image": _noise_image,
    "uncalibrated camera_info": _changed_info(k=np.zeros(9)),
    "NaN in camera_info": _changed_info(k=np.full(9, np.nan)),
    "huge focal length": _changed_info(k=np.array([1e300, 0, 1, 0, 1e300, 1, 0, 0, 1.0])),
    "tiny focal length": _changed_info(k=np.array([1e-30, 0, 1, 0, 1e-30, 1, 0, 0, 1.0])),
    "unknown distortion": _changed_info(distortion_model="unknown", d=[0.1]),
    "camera_info of another size": _changed_info(width=320, height=240),
    "stamp 0": _shifted_stamp(None),
    "stamp 1 hour ahead": _shifted_stamp(3600 * SECOND),
    "stamp 1 hour behind": _shifted_stamp(-3600 * SECOND),
    "repeated stamp": _repeated_image,
    "frame_id of 1 MB": _other_frame_id("f" * 10**6),
    "frame_id with a slash": _other_frame_id("/camera"),
    "no frame_id": _other_frame_id(""),
    "no images for 2.5 s": _no_images,
    "no camera pose for 1 s": _no_camera_pose,
    "reset": _call_reset,
    "transition that is not allowed": _request_transitions(
        Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
    ),
    "deactivate and activate": _request_transitions(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE),
    "invalid parameter": _bad_parameter,
}
