# SPDX-License-Identifier: Apache-2.0
"""Run the estimator over every frame of a bag, without DDS: the same predictions every time."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformException
from tqdm import tqdm

from seqpose_core import ObjectPose, PoseEstimator, SupportPlane
from seqpose_core.estimator import NonFiniteError
from seqpose_core.geometry import invert
from seqpose_ros.bags.bag import Bag, BagFrame
from seqpose_ros.bags.reader import BagError
from seqpose_ros.bags.scoring import FrameGroundTruth
from seqpose_ros.from_messages import matrix_from_transform
from seqpose_ros.stamps import seconds, stamp_nanoseconds

#: Transforms are kept by their stamps, which can span more time than the recording: a simulation faster than real time.
_ALL = Duration(seconds=2**31 - 1)


@dataclass(frozen=True)
class SupportFrame:
    """The support plane z = ``height``, metres, of the frame ``name``, whose z axis points up: as the node's parameters
    ``support_frame`` and ``support_height``, with the default noise and prior."""

    name: str
    height: float = 0.0


@dataclass(frozen=True)
class BagPredictions:
    """Result of a pass over a bag.

    :param frames: the usable ones. :param objects: by frame index. :param step_seconds: duration of each step.
    """

    frames: list[FrameGroundTruth]
    objects: dict[int, list[ObjectPose]]
    step_seconds: list[float]


def predict_bag(
    estimator: PoseEstimator, bag: Bag, fixed_frame: str = "", support: SupportFrame | None = None
) -> BagPredictions:
    """Run the estimator over every usable frame in order, as the node would if it dropped none.

    :param fixed_frame: as the node's parameter; camera poses come from the bag's own /tf.
    :param support: the plane that poses are fused with, from the bag's own /tf; None = RGB only.
    :raises BagError: no frame can be used; the message names the first one and the reason.
    """
    camera_pose = camera_poses(bag, fixed_frame) if fixed_frame else lambda frame: None
    plane_of = support_planes(bag, support) if support else lambda frame: None
    run = BagPredictions([], {}, [])
    missing: Counter[str] = Counter()
    sequence = None
    for frame in tqdm(bag.frames(), total=len(bag), unit="frame", disable=not sys.stderr.isatty()):
        if frame.sequence != sequence:
            estimator.reset()
            sequence = frame.sequence
        pose, plane = camera_pose(frame), plane_of(frame)
        missing.update(pose=pose is None, plane=plane is None)
        options: dict[str, Any] = {"support_plane": plane} if support else {}
        begin = time.perf_counter()
        try:
            objects = estimator.step(frame.image, frame.camera, seconds(frame.stamp), pose, **options)
        except NonFiniteError as error:
            bag.skipped_frames[f"frame {frame.index} (stamp {frame.stamp * 1e-9:.9f})"] = str(error)
            continue
        run.step_seconds.append(time.perf_counter() - begin)
        run.objects[frame.index] = objects
        run.frames.append(FrameGroundTruth(frame.index, frame.stamp, frame.ground_truth, plane, frame.sequence))
    if not run.frames:
        reasons = [f"{name}: {reason}" for name, reason in bag.skipped_frames.items()] + bag.damage
        raise BagError(f"no image of {bag.path} can be used; {reasons[0] if reasons else 'it has none'}")
    if fixed_frame and missing["pose"]:
        bag.warn(
            f"{missing['pose']} of {len(run.frames)} images have no transform to the fixed frame {fixed_frame!r} on "
            "tf; they are processed without camera pose"
        )
    if support and missing["plane"]:
        bag.warn(
            f"{missing['plane']} of {len(run.frames)} images have no transform to the support frame {support.name!r} "
            "on tf; they are processed without support plane"
        )
    return run


def support_planes(bag: Bag, support: SupportFrame) -> Callable[[BagFrame], SupportPlane | None]:
    """The support plane in the camera frame at the time of a frame, None where the bag's tf does not have it."""
    pose = camera_poses(bag, support.name)

    def plane(frame: BagFrame) -> SupportPlane | None:
        support_from_camera = pose(frame)
        if support_from_camera is None:
            return None
        return SupportPlane.from_frame(invert(support_from_camera), support.height)

    return plane


def camera_poses(bag: Bag, fixed_frame: str) -> Callable[[BagFrame], np.ndarray | None]:
    """The (4, 4) transform from camera to ``fixed_frame`` of a frame, None where the bag's tf does not have it."""
    buffers = [Buffer(cache_time=_ALL) for _ in range(bag.resets.count + 1)]  # of each sequence
    refused: list[str] = []
    for recorded, raw, static in bag.transforms():
        try:
            transforms = deserialize_message(raw, TFMessage).transforms
        except (RuntimeError, MemoryError) as error:  # what rclpy raises for damaged bytes
            refused.append(f"{len(raw)} bytes are not a tf2_msgs/TFMessage: {error}")
            continue
        for transform in transforms:
            sequence = bag.resets.sequence(recorded, stamp_nanoseconds(transform.header.stamp))
            try:
                if static:  # it remains until it is replaced
                    for buffer in buffers[sequence:]:
                        buffer.set_transform_static(transform, "bag")
                else:
                    buffers[sequence].set_transform(transform, "bag")
            except TransformException as error:
                refused.append(str(error))
    if refused:
        bag.warn(f"{len(refused)} transforms on tf are not used; the first: {refused[0]}")

    def pose(frame: BagFrame) -> np.ndarray | None:
        try:
            stamped = buffers[frame.sequence].lookup_transform(
                fixed_frame, frame.frame_id, Time(nanoseconds=frame.stamp)
            )
        except TransformException:
            return None
        return matrix_from_transform(stamped.transform)

    return pose
