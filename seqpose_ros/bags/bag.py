# SPDX-License-Identifier: Apache-2.0
"""Read a recorded bag frame by frame, without ROS: the same frames in the same order every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from seqpose_core import CATEGORIES, Camera, Category, ObjectPose
from seqpose_ros.bags.camera_infos import CameraInfos
from seqpose_ros.bags.clock_resets import ClockResets, ImageTime
from seqpose_ros.bags.reader import BagError, BagReader, Topic
from seqpose_ros.bags.topics import IMAGE_TYPES, select_camera_info, select_image
from seqpose_ros.bags.transform_topics import TF_TYPE, is_static, select_transforms
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import camera_for_image, camera_warnings, object_from_detection
from seqpose_ros.images import decode
from seqpose_ros.stamps import stamp_nanoseconds

GROUND_TRUTH_TYPE = "vision_msgs/msg/Detection3DArray"
GROUND_TRUTH_TOPIC = "/truth/detections"


@dataclass(frozen=True)
class BagFrame:
    """One image of a bag with its camera and ground truth.

    :param index: position among the recorded images. :param stamp: of the image header, nanoseconds.
    :param image: (H, W, 3) uint8 RGB.
    :param ground_truth: objects in the camera frame, NOCS axes; None if the bag has none for this image.
    :param sequence: number of resets of the clock before it; stamps of different sequences cannot be compared.
    """

    index: int
    stamp: int
    frame_id: str
    image: np.ndarray
    camera: Camera
    ground_truth: list[ObjectPose] | None
    sequence: int = 0


@dataclass(frozen=True)
class _GroundTruth:
    frame_id: str
    objects: list[ObjectPose]


class Bag:
    """An open bag (MCAP or sqlite3; raw or compressed images) and one of its cameras.

    :param image_topic: required only if the bag has several image topics.
    :param camera_info_topic: by default the one in the namespace of the images, or the only one.
    :param rectified: as the node's parameter of that name.
    :param ground_truth_topic: a vision_msgs/Detection3DArray topic; optional in the bag.
    :param categories: of the ground-truth objects; objects of other categories are skipped.
    :raises FileNotFoundError: the path does not exist.
    :raises BagError: the bag cannot be read, the image or camera_info topic is ambiguous, or it has no messages.
    """

    def __init__(
        self,
        path: Path,
        image_topic: str | None = None,
        camera_info_topic: str | None = None,
        rectified: bool = False,
        ground_truth_topic: str = GROUND_TRUTH_TOPIC,
        categories: Sequence[Category] = CATEGORIES,
    ) -> None:
        self.path = path
        #: Images and ground-truth objects that cannot be used, by name, with the reason. Filled while frames are read.
        self.skipped_frames: dict[str, str] = {}
        self.skipped_ground_truths: dict[str, str] = {}
        #: Inconsistencies of the recording that do not prevent its use.
        self.warnings: list[str] = []
        self.categories = categories
        self._rectified = rectified
        self._reader = BagReader(path)
        try:
            self.image = select_image(self._reader, image_topic)
            self.camera_info = select_camera_info(self._reader, self.image, camera_info_topic)
            if self.image.msgcount == 0:
                raise BagError(f"{path} has no message on {self.image.topic}")
            #: Of every image, in recorded order: the index is that of the frame.
            self.image_times = self._read_image_times()
            self.resets = ClockResets(self.image_times)
            self._report_jumps()
            self._infos = self._read_infos()
            self._ground_truth = self._read_ground_truth(ground_truth_topic)
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
    def transform_topics(self) -> list[Topic]:
        """The topics that transforms are read from: those of the images' robot."""
        return select_transforms(self._reader.connections, self.image.topic)

    @property
    def rate(self) -> float:
        """Mean frame rate in Hz, from the recorded times of the images; 1 for a single image."""
        recorded = [time.recorded for time in self.image_times]
        duration = (recorded[-1] - recorded[0]) * 1e-9 if recorded else 0.0
        return (len(recorded) - 1) / duration if duration > 0 else 1.0

    @property
    def damage(self) -> list[str]:
        """Messages that describe the unreadable parts of the bag; complete after all frames were read."""
        return self._reader.damage

    def __len__(self) -> int:
        return self.image.msgcount

    def frames(self) -> Iterator[BagFrame]:
        """Every usable image in recorded order, with its camera_info (see :meth:`CameraInfos.of_image`).

        Images that the node would refuse are skipped and listed in :attr:`skipped_frames`.
        """
        unmatched = set(self._ground_truth)
        for index, (recorded, message) in enumerate(self._reader.deserialized(self.image)):
            if isinstance(message, ValueError):
                self.skipped_frames[f"frame {index}"] = str(message)
                continue
            stamp = stamp_nanoseconds(message.header.stamp)
            sequence = self.resets.sequence(recorded, stamp)
            unmatched.discard((sequence, stamp))
            try:
                image = decode(message)
                info = self._infos.of_image(recorded, stamp)
                camera = camera_for_image(image, info, self._rectified)
            except InputError as error:
                self.skipped_frames[f"frame {index} (stamp {_format_stamp(stamp)})"] = str(error)
                continue
            for text in camera_warnings(self.image.topic, info, camera, self._rectified):
                self.warn(text)
            frame_id = message.header.frame_id.lstrip("/")  # as the node and tf2 do, for bags from ROS 1
            ground_truth = self._ground_truth_of(sequence, stamp, frame_id)
            yield BagFrame(index, stamp, frame_id, image, camera, ground_truth, sequence)
        if unmatched:
            self.warn(f"{len(unmatched)} of {len(self._ground_truth)} ground truths have the stamp of no image")

    def transforms(self) -> Iterator[tuple[int, bytes, bool]]:
        """Recorded time (ns) and bytes of every TFMessage of :attr:`transform_topics`, and whether it is static."""
        selected = self.transform_topics
        names = {c.topic for c in selected}
        ignored = sorted({c.topic for c in self._reader.connections if c.msgtype == TF_TYPE} - names)
        if ignored:
            self.warn(
                f"transforms are read from {', '.join(sorted(names)) or 'no topic'}, next to {self.image.topic}; "
                f"not from {', '.join(ignored)}"
            )
        for connection, recorded, raw in self._reader.messages(selected):
            yield recorded, bytes(raw), is_static(connection.topic)

    def warn(self, text: str) -> None:
        """Add to :attr:`warnings`, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def _read_image_times(self) -> list[ImageTime]:
        return [
            ImageTime(recorded, 0 if isinstance(message, ValueError) else stamp_nanoseconds(message.header.stamp))
            for recorded, message in self._reader.deserialized(self.image)
        ]

    def _report_jumps(self) -> None:
        jumps = self.resets.jumps
        if not jumps:
            return
        text = f"the image stamps jump back {len(jumps)} times, by up to {1e-9 * max(jumps):.3g} s"
        text += "; memory and tracks are reset at each jump"
        if self.resets.count:
            text += f"; the bag is read as {self.resets.count + 1} sequences with their own ground truth and transforms"
        self.warn(text)

    def _read_infos(self) -> CameraInfos:
        messages = list(self._reader.deserialized(self.camera_info))
        readable = [(time, info) for time, info in messages if not isinstance(info, ValueError)]
        if not readable:
            reason = f"; {messages[0][1]}" if messages else ""
            raise BagError(f"{self.path} has no readable message on {self.camera_info.topic}{reason}")
        damaged = len(messages) - len(readable)
        if damaged:
            self.warn(f"{damaged} of {len(messages)} messages on {self.camera_info.topic} cannot be read")
        infos = CameraInfos(readable, self._rectified, self.resets)
        if infos.refused:
            self.warn(
                f"{len(infos.refused)} of {len(readable)} messages on {self.camera_info.topic} are not used; "
                f"the first: {infos.refused[0]}"
            )
        if infos.ambiguous:
            self.warn(
                f"messages on {self.camera_info.topic} share a stamp and differ; of each stamp the latest one before "
                "the image is used"
            )
        return infos

    def _read_ground_truth(self, topic: str) -> dict[tuple[int, int], _GroundTruth]:
        """Ground truth by sequence and stamp."""
        found = [t for t in self._reader.connections if t.topic == topic]
        selected = [t for t in found if t.msgtype == GROUND_TRUTH_TYPE and t.encoding == "cdr"]
        others = [t.topic for t in self._reader.connections if t.msgtype == GROUND_TRUTH_TYPE]
        if not found and (others or topic != GROUND_TRUTH_TOPIC):
            self.warn(
                f"{self.path} has no topic {topic}; its topics of type {GROUND_TRUTH_TYPE} are: "
                f"{', '.join(others) or 'none'}; name one with --ground-truth-topic"
            )
        if found and not selected:
            raise BagError(
                f"{topic} of {self.path} is {found[0].msgtype} ({found[0].encoding}); ground truth must be "
                f"{GROUND_TRUTH_TYPE} (cdr); name another topic with --ground-truth-topic"
            )
        by_stamp: dict[tuple[int, int], list[Any]] = {}
        for time, message in (item for t in selected for item in self._reader.deserialized(t)):
            if isinstance(message, ValueError):
                self.skipped_ground_truths[f"ground truth recorded at {_format_stamp(time)}"] = str(message)
            else:
                stamp = stamp_nanoseconds(message.header.stamp)
                by_stamp.setdefault((self.resets.sequence(time, stamp), stamp), []).append(message)
        ground_truth = {}
        for (sequence, stamp), messages in by_stamp.items():
            if len({repr(message) for message in messages}) > 1:
                self.skipped_ground_truths[f"ground truth of stamp {_format_stamp(stamp)}"] = (
                    f"{len(messages)} different messages have this stamp, so that none can be assigned to an image"
                )
                continue
            if len(messages) > 1:
                self.warn(f"the ground truth of stamp {_format_stamp(stamp)} is recorded {len(messages)} times")
            objects = self._ground_truth_objects(stamp, messages[0].detections)
            ground_truth[sequence, stamp] = _GroundTruth(messages[0].header.frame_id.lstrip("/"), objects)
        return ground_truth

    def _ground_truth_objects(self, stamp: int, detections: Any) -> list[ObjectPose]:
        objects = []
        for row, detection in enumerate(detections):
            try:
                objects.append(object_from_detection(detection, self.categories))
            except InputError as error:
                self.skipped_ground_truths[f"ground truth {row} of stamp {_format_stamp(stamp)}"] = str(error)
        return objects

    def _ground_truth_of(self, sequence: int, stamp: int, frame_id: str) -> list[ObjectPose] | None:
        ground_truth = self._ground_truth.get((sequence, stamp))
        if ground_truth is None:
            return None
        if ground_truth.frame_id != frame_id:
            self.skipped_ground_truths[f"ground truth of stamp {_format_stamp(stamp)}"] = (
                f"it is in frame {ground_truth.frame_id!r} but the image is in {frame_id!r}"
            )
            return None
        return ground_truth.objects


def _format_stamp(nanoseconds: int) -> str:
    """A stamp in seconds, with all nine decimals."""
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
