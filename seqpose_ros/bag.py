# SPDX-License-Identifier: Apache-2.0
"""Reads a recorded bag frame by frame, without ROS: the same frames in the same order every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from seqpose_core import Camera, ObjectPose
from seqpose_ros.images import decode_compressed, decode_image
from seqpose_ros.inputs import camera_from_info, objects_from_detections
from seqpose_ros.stamps import stamp_nanoseconds

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
TRUTH_TOPIC = "/truth/detections"


@dataclass(frozen=True)
class BagFrame:
    """One image of a bag with what belongs to it.

    image (H, W, 3) uint8 RGB; stamp in nanoseconds; truth in the camera frame,
    NOCS axes, None where the bag tells none for this image.
    """

    index: int
    stamp: int
    frame_id: str
    image: np.ndarray
    camera: Camera
    truth: list[ObjectPose] | None


class Bag:
    """An open bag with one camera (MCAP or sqlite3; raw or compressed images).

    :param image_topic, camera_info_topic: needed only where the bag has several of their kind.
    :param rectified: as the node's parameter.
    :raises FileNotFoundError, ValueError: no such bag; no image or camera_info topic in it, or several.
    """

    def __init__(
        self,
        path: Path,
        image_topic: str | None = None,
        camera_info_topic: str | None = None,
        rectified: bool = False,
    ) -> None:
        if not path.exists():
            raise FileNotFoundError(f"there is no bag {path}")
        self._rectified = rectified
        self._reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        self._reader.open()
        try:
            self.image = self._one("image", IMAGE_TYPES, image_topic)
            self.camera_info = self._one("camera_info", ("sensor_msgs/msg/CameraInfo",), camera_info_topic)
            infos = [message for _, message in self._messages(self.camera_info)]
            if not infos:
                raise ValueError(f"{path} has no message on {self.camera_info.topic}")
        except ValueError:
            self._reader.close()
            raise
        self._infos = {stamp_nanoseconds(info.header.stamp): info for info in infos}
        self._first_info = infos[0]
        self._truth = self._read_truth()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    @property
    def compressed(self) -> bool:
        """Whether the images are CompressedImage."""
        return self.image.msgtype == IMAGE_TYPES[1]

    @property
    def duration(self) -> int:
        """Nanoseconds from the first message to the last."""
        return self._reader.end_time - self._reader.start_time

    @property
    def rate(self) -> float:
        """Mean frames a second, by the images' recorded times."""
        duration = self.duration * 1e-9
        return (self.image.msgcount - 1) / duration if self.image.msgcount > 1 and duration > 0 else 1.0

    def __len__(self) -> int:
        return self.image.msgcount

    def frames(self) -> Iterator[BagFrame]:
        """Every image in recorded order. A frame's camera_info is the one of its stamp, else the bag's first.

        :raises InputError: for an image or camera_info that the node would refuse too.
        """
        for index, (_, message) in enumerate(self._messages(self.image)):
            stamp = stamp_nanoseconds(message.header.stamp)
            image = decode_compressed(message) if self.compressed else decode_image(message)
            camera = camera_from_info(self._infos.get(stamp, self._first_info), self._rectified)
            yield BagFrame(
                index,
                stamp,
                message.header.frame_id,
                image,
                camera,
                self._truth.get(stamp),
            )

    def transforms(self) -> Iterator[tuple[bytes, bool]]:
        """Every serialized tf2_msgs/TFMessage, and whether it is of /tf_static."""
        connections = [c for c in self._reader.connections if c.msgtype == "tf2_msgs/msg/TFMessage"]
        if connections:
            for connection, _, raw in self._reader.messages(connections):
                yield bytes(raw), connection.topic.endswith("tf_static")

    def _one(self, what: str, types: tuple[str, ...], topic: str | None) -> Connection:
        found = [c for c in self._reader.connections if c.msgtype in types]
        chosen = found if topic is None else [c for c in found if c.topic == topic]
        if len(chosen) != 1:
            have = ", ".join(c.topic for c in found) or "none"
            wanted = "exactly one is needed; name it" if topic is None else f"{topic} is not among them"
            raise ValueError(f"the bag's {what} topics are: {have}; {wanted}")
        return chosen[0]

    def _messages(self, connection: Connection) -> Iterator[tuple[int, Any]]:
        for _, time, raw in self._reader.messages([connection]):
            yield time, self._reader.deserialize(raw, connection.msgtype)

    def _read_truth(self) -> dict[int, list[ObjectPose]]:
        return {
            stamp_nanoseconds(message.header.stamp): objects_from_detections(message.detections)
            for connection in self._reader.connections
            if connection.topic == TRUTH_TOPIC
            for _, message in self._messages(connection)
        }
