# SPDX-License-Identifier: Apache-2.0
"""A recorded bag frame by frame, without ROS: the same frames in the same order every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import Connection

from seqpose_core import Camera, ObjectPose
from seqpose_ros.bags.reader import BagError, BagReader
from seqpose_ros.errors import InputError
from seqpose_ros.images import decode
from seqpose_ros.inputs import camera_of, object_from_detection
from seqpose_ros.stamps import stamp_nanoseconds

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TRUTH_TYPE = "vision_msgs/msg/Detection3DArray"
TRUTH_TOPIC = "/truth/detections"


@dataclass(frozen=True)
class BagFrame:
    """One image of a bag with what belongs to it.

    index counts the images as recorded; image (H, W, 3) uint8 RGB; stamp in nanoseconds; truth in the camera
    frame, NOCS axes, None where the bag tells none for this image.
    """

    index: int
    stamp: int
    frame_id: str
    image: np.ndarray
    camera: Camera
    truth: list[ObjectPose] | None


@dataclass(frozen=True)
class _Truth:
    frame_id: str
    objects: list[ObjectPose]


class Bag:
    """An open bag with one camera (MCAP or sqlite3; raw or compressed images).

    :param image_topic, camera_info_topic: needed only where the bag has several of their kind.
    :param rectified: as the node's parameter.
    :param truth_topic: of vision_msgs/Detection3DArray; the bag need not have it.
    :raises FileNotFoundError: there is no such path.
    :raises BagError: it cannot be read, has no image or camera_info topic, several, or nothing on them.
    """

    def __init__(
        self,
        path: Path,
        image_topic: str | None = None,
        camera_info_topic: str | None = None,
        rectified: bool = False,
        truth_topic: str = TRUTH_TOPIC,
    ) -> None:
        self.path = path
        #: Images that cannot be used, and what of the truth cannot, each with the reason. They fill as the
        #: frames are read.
        self.skipped_frames: dict[str, str] = {}
        self.skipped_truths: dict[str, str] = {}
        self._rectified = rectified
        self._reader = BagReader(path)
        try:
            self.image = self._one("image", IMAGE_TYPES, image_topic)
            self.camera_info = self._one("camera_info", (INFO_TYPE,), camera_info_topic)
            if self.image.msgcount == 0:
                raise BagError(f"{path} has no message on {self.image.topic}")
            self._infos, self._first_info = self._read_infos()
            self._truth = self._read_truth(truth_topic)
        except ValueError as error:
            self._reader.close()
            raise BagError("; ".join([str(error), *self.damage])) from error

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
        return self._reader.duration

    @property
    def rate(self) -> float:
        """Mean frames a second, by the images' recorded times."""
        duration = self.duration * 1e-9
        return (self.image.msgcount - 1) / duration if self.image.msgcount > 1 and duration > 0 else 1.0

    @property
    def damage(self) -> list[str]:
        """Sentences on what of the file cannot be read; complete once the frames were read."""
        return self._reader.damage

    @property
    def has_truth(self) -> bool:
        """Whether the bag tells the truth of any image."""
        return bool(self._truth)

    def __len__(self) -> int:
        return self.image.msgcount

    def frames(self) -> Iterator[BagFrame]:
        """Every usable image in recorded order. A frame's camera_info is the one of its stamp, else the first.

        What the node would refuse too is left out and noted in :attr:`skipped_frames`.
        """
        for index, (_, message) in enumerate(self._messages(self.image)):
            if isinstance(message, ValueError):
                self.skipped_frames[f"frame {index}"] = str(message)
                continue
            stamp = stamp_nanoseconds(message.header.stamp)
            try:
                image = decode(message)
                camera = camera_of(image, self._infos.get(stamp, self._first_info), self._rectified)
            except InputError as error:
                self.skipped_frames[f"frame {index} (stamp {_text(stamp)})"] = str(error)
                continue
            frame_id = message.header.frame_id
            yield BagFrame(index, stamp, frame_id, image, camera, self._truth_of(stamp, frame_id))

    def transforms(self) -> Iterator[tuple[bytes, bool]]:
        """Every serialized tf2_msgs/TFMessage, and whether it is of /tf_static."""
        connections = [c for c in self._reader.connections if c.msgtype == "tf2_msgs/msg/TFMessage"]
        for connection, _, raw in self._reader.messages(connections):
            yield bytes(raw), connection.topic.endswith("tf_static")

    def _one(self, what: str, types: tuple[str, ...], topic: str | None) -> Connection:
        found = [c for c in self._reader.connections if c.msgtype in types]
        chosen = found if topic is None else [c for c in found if c.topic == topic]
        if len(chosen) != 1:
            have = ", ".join(c.topic for c in found) or "none"
            wanted = "exactly one is needed; name it" if topic is None else f"{topic} is not among them"
            if not found:
                wanted = f"one of type {' or '.join(types)} is needed"
            raise BagError(f"the {what} topics of {self.path} are: {have}; {wanted}")
        return chosen[0]

    def _messages(self, connection: Connection) -> Iterator[tuple[int, Any]]:
        """Recorded time and message, or the ValueError of one whose bytes are none."""
        for _, time, raw in self._reader.messages([connection]):
            try:
                yield time, self._reader.deserialize(connection, raw)
            except ValueError as error:
                yield time, error

    def _read_infos(self) -> tuple[dict[int, Any], Any]:
        """camera_info by stamp, and the first."""
        infos = [m for _, m in self._messages(self.camera_info) if not isinstance(m, ValueError)]
        if not infos:
            raise BagError(f"{self.path} has no readable message on {self.camera_info.topic}")
        return {stamp_nanoseconds(info.header.stamp): info for info in infos}, infos[0]

    def _read_truth(self, topic: str) -> dict[int, _Truth]:
        truth = {}
        for connection in self._reader.connections:
            if connection.topic != topic:
                continue
            if connection.msgtype != TRUTH_TYPE:
                raise BagError(f"{topic} of {self.path} is {connection.msgtype}; the truth must be {TRUTH_TYPE}")
            for time, message in self._messages(connection):
                if isinstance(message, ValueError):
                    self.skipped_truths[f"truth recorded at {_text(time)}"] = str(message)
                    continue
                stamp = stamp_nanoseconds(message.header.stamp)
                truth[stamp] = _Truth(message.header.frame_id, self._true_objects(stamp, message.detections))
        return truth

    def _true_objects(self, stamp: int, detections: Any) -> list[ObjectPose]:
        objects = []
        for row, detection in enumerate(detections):
            try:
                objects.append(object_from_detection(detection))
            except InputError as error:
                self.skipped_truths[f"truth {row} of stamp {_text(stamp)}"] = str(error)
        return objects

    def _truth_of(self, stamp: int, frame_id: str) -> list[ObjectPose] | None:
        truth = self._truth.get(stamp)
        if truth is None:
            return None
        if truth.frame_id != frame_id:
            self.skipped_truths[f"truth of stamp {_text(stamp)}"] = (
                f"it is in frame {truth.frame_id!r} but the image is in {frame_id!r}"
            )
            return None
        return truth.objects


def _text(nanoseconds: int) -> str:
    """A stamp as seconds, exactly."""
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
