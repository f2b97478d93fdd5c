# SPDX-License-Identifier: Apache-2.0
"""Run the estimator over every frame of a bag, without DDS: the same predictions every time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.duration import Duration
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformException
from tqdm import tqdm

from seqpose_core import ObjectPose, PoseEstimator
from seqpose_core.estimator import NonFiniteError
from seqpose_ros.bags.bag import Bag, BagFrame
from seqpose_ros.bags.reader import BagError
from seqpose_ros.bags.scoring import FrameGroundTruth
from seqpose_ros.from_messages import transform_from_message
from seqpose_ros.stamps import seconds


@dataclass(frozen=True)
class BagPredictions:
    """Result of a pass over a bag.

    :param frames: the usable ones. :param objects: by frame index. :param step_seconds: duration of each step.
    """

    frames: list[FrameGroundTruth]
    objects: dict[int, list[ObjectPose]]
    step_seconds: list[float]


def predict_bag(estimator: PoseEstimator, bag: Bag, fixed_frame: str = "") -> BagPredictions:
    """Run the estimator over every usable frame in order, as the node would if it dropped none.

    :param fixed_frame: as the node's parameter; camera poses come from the bag's own /tf.
    :raises BagError: no frame can be used; the message names the first one and the reason.
    """
    camera_pose = camera_poses(bag, fixed_frame) if fixed_frame else lambda frame: None
    run = BagPredictions([], {}, [])
    without_pose = 0
    estimator.reset()
    for frame in tqdm(bag.frames(), total=len(bag), unit="frame", disable=not sys.stderr.isatty()):
        pose = camera_pose(frame)
        without_pose += pose is None
        begin = time.perf_counter()
        try:
            objects = estimator.step(frame.image, frame.camera, seconds(frame.stamp), pose)
        except NonFiniteError as error:
            bag.skipped_frames[f"frame {frame.index} (stamp {frame.stamp * 1e-9:.9f})"] = str(error)
            continue
        run.step_seconds.append(time.perf_counter() - begin)
        run.objects[frame.index] = objects
        run.frames.append(FrameGroundTruth(frame.index, frame.stamp, frame.ground_truth))
    if not run.frames:
        reasons = [f"{name}: {reason}" for name, reason in bag.skipped_frames.items()] + bag.damage
        raise BagError(f"no image of {bag.path} can be used; {reasons[0] if reasons else 'it has none'}")
    if fixed_frame and without_pose:
        bag.warnings.append(
            f"{without_pose} of {len(run.frames)} images have no transform to the fixed frame {fixed_frame!r} on tf; "
            "they are processed without camera pose"
        )
    return run


def camera_poses(bag: Bag, fixed_frame: str) -> Callable[[BagFrame], np.ndarray | None]:
    """The (4, 4) transform from camera to ``fixed_frame`` of a frame, None where the bag's tf does not have it."""
    buffer = Buffer(cache_time=Duration(nanoseconds=bag.duration + 10**10))
    refused: list[str] = []
    for raw, static in bag.transforms():
        store = buffer.set_transform_static if static else buffer.set_transform
        try:
            transforms = deserialize_message(raw, TFMessage).transforms
        except (RuntimeError, MemoryError) as error:  # what rclpy raises for damaged bytes
            refused.append(f"{len(raw)} bytes are not a tf2_msgs/TFMessage: {error}")
            continue
        for transform in transforms:
            try:
                store(transform, "bag")
            except TransformException as error:
                refused.append(str(error))
    if refused:
        bag.warnings.append(f"{len(refused)} transforms on tf are not used; the first: {refused[0]}")

    def pose(frame: BagFrame) -> np.ndarray | None:
        try:
            stamped = buffer.lookup_transform(fixed_frame, frame.frame_id, Time(nanoseconds=frame.stamp))
        except TransformException:
            return None
        return transform_from_message(stamped.transform)

    return pose
