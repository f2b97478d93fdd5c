# SPDX-License-Identifier: Apache-2.0
"""Write frames to a bag: image, camera_info, camera pose and ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from scipy.spatial.transform import Rotation

from seqpose_core import Camera
from train.data import Frame, SceneObject
from train.data.labels import is_symmetric

CAMERA_FRAME = "camera_optical_frame"
WORLD_FRAME = "world"
IMAGE_TOPIC = "/camera/image_raw/compressed"
INFO_TOPIC = "/camera/camera_info"
GROUND_TRUTH_TOPIC = "/truth/detections"
#: Minimum visible part of the image, 16 pixels at 224x168 as in training. Smaller objects are left out.
MIN_VISIBLE = 16 / (224 * 168)

_VISION_MSGS = Path(__file__).resolve().parents[1] / "overlay" / "vision_msgs" / "msg"


def typestore() -> Typestore:
    """The message types of Jazzy and vision_msgs."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for path in sorted(_VISION_MSGS.glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(), f"vision_msgs/msg/{path.stem}"))
    store.register(types)
    return store


class FrameWriter:
    """Writes the messages of frames to an open bag."""

    def __init__(self, bag: Writer, jpeg_quality: int) -> None:
        self._bag, self._store = bag, typestore()
        self._builder = MessageBuilder(self._store, jpeg_quality)
        self._connections: dict[str, Connection] = {}

    def write(self, frame: Frame, stamp: int) -> None:
        """Write all messages of a frame at ``stamp`` nanoseconds."""
        for order, (topic, message) in enumerate(self._builder.messages(frame, stamp)):
            kind = message.__msgtype__
            if topic not in self._connections:
                self._connections[topic] = self._bag.add_connection(topic, kind, typestore=self._store)
            # One microsecond apart, because messages recorded at the same time have no order.
            self._bag.write(self._connections[topic], stamp + 1000 * order, self._store.serialize_cdr(message, kind))


class MessageBuilder:
    """Builds the messages of a frame with the types of a store."""

    def __init__(self, store: Typestore, jpeg_quality: int) -> None:
        self._types = store.types
        self._quality = jpeg_quality

    def messages(self, frame: Frame, stamp: int) -> Iterator[tuple[str, Any]]:
        """(topic, message) of all messages at ``stamp`` nanoseconds, the camera's transform first."""
        if frame.camera_pose is not None:
            yield "/tf", self.transform(frame.camera_pose, stamp)
        yield INFO_TOPIC, self.camera_info(frame.camera, stamp)
        yield IMAGE_TOPIC, self.image(frame.image, stamp)
        yield GROUND_TRUTH_TOPIC, self.ground_truth(frame, stamp)

    def image(self, rgb: NDArray[np.uint8], stamp: int) -> Any:
        """sensor_msgs/CompressedImage, JPEG."""
        flags = [cv2.IMWRITE_JPEG_QUALITY, self._quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), flags)
        assert done
        header = self._header(stamp, CAMERA_FRAME)
        # image_transport's format string: the encoding of the raw image, and that of the JPEG.
        return self._make(
            "sensor_msgs",
            "CompressedImage",
            header=header,
            format="rgb8; jpeg compressed bgr8",
            data=data.ravel(),
        )

    def camera_info(self, camera: Camera, stamp: int) -> Any:
        """sensor_msgs/CameraInfo of an undistorted camera."""
        roi = self._make("sensor_msgs", "RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        return self._make(
            "sensor_msgs",
            "CameraInfo",
            header=self._header(stamp, CAMERA_FRAME),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=camera.matrix.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([camera.matrix, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def transform(self, world_from_camera: NDArray[np.float64], stamp: int) -> Any:
        """tf2_msgs/TFMessage with the camera pose in the world frame."""
        transform = self._make(
            "geometry_msgs",
            "Transform",
            translation=self._vector(world_from_camera[:3, 3]),
            rotation=self._quaternion(world_from_camera[:3, :3]),
        )
        stamped = self._make(
            "geometry_msgs",
            "TransformStamped",
            header=self._header(stamp, WORLD_FRAME),
            child_frame_id=CAMERA_FRAME,
            transform=transform,
        )
        return self._make("tf2_msgs", "TFMessage", transforms=[stamped])

    def ground_truth(self, frame: Frame, stamp: int) -> Any:
        """vision_msgs/Detection3DArray of the visible objects, id = instance.

        The covariance is zero except for the yaw (about the object's y axis) of symmetric objects and of mugs whose
        handle is hidden, which is not visible.
        """
        minimum = MIN_VISIBLE * frame.camera.width * frame.camera.height
        detections = [self._detection(o, stamp) for o in frame.objects if o.visible_pixels >= minimum]
        header = self._header(stamp, CAMERA_FRAME)
        return self._make("vision_msgs", "Detection3DArray", header=header, detections=detections)

    def _detection(self, item: SceneObject, stamp: int) -> Any:
        x, y, z = (float(v) for v in item.translation)
        pose = self._make(
            "geometry_msgs",
            "Pose",
            position=self._make("geometry_msgs", "Point", x=x, y=y, z=z),
            orientation=self._quaternion(item.rotation),
        )
        covariance = np.zeros((6, 6))
        if is_symmetric(item):
            axis = item.rotation[:, 1]
            covariance[3:, 3:] = np.pi**2 * np.outer(axis, axis)
        with_covariance = self._make("geometry_msgs", "PoseWithCovariance", pose=pose, covariance=covariance.ravel())
        hypothesis = self._make(
            "vision_msgs",
            "ObjectHypothesisWithPose",
            hypothesis=self._make("vision_msgs", "ObjectHypothesis", class_id=item.category_info.name, score=1.0),
            pose=with_covariance,
        )
        return self._make(
            "vision_msgs",
            "Detection3D",
            header=self._header(stamp, CAMERA_FRAME),
            results=[hypothesis],
            bbox=self._make("vision_msgs", "BoundingBox3D", center=pose, size=self._vector(item.size)),
            id=str(item.instance),
        )

    def _make(self, package: str, name: str, **fields: Any) -> Any:
        return self._types[f"{package}/msg/{name}"](**fields)

    def _header(self, stamp: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp, 10**9)
        time = self._make("builtin_interfaces", "Time", sec=seconds, nanosec=nanoseconds)
        return self._make("std_msgs", "Header", stamp=time, frame_id=frame_id)

    def _vector(self, values: NDArray[np.float64]) -> Any:
        x, y, z = (float(v) for v in values)
        return self._make("geometry_msgs", "Vector3", x=x, y=y, z=z)

    def _quaternion(self, rotation: NDArray[np.float64]) -> Any:
        x, y, z, w = (float(v) for v in Rotation.from_matrix(rotation).as_quat())
        return self._make("geometry_msgs", "Quaternion", x=x, y=y, z=z, w=w)
