# SPDX-License-Identifier: Apache-2.0
"""Poses from the real node: the pictures of a scene are played to ``seqpose_node`` over DDS.

It is the only module of train that imports seqpose_ros, and needs the extra ``ros`` or a ROS 2 distribution.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from seqpose_core import checkpoint
from seqpose_core.objects import ObjectPose
from train.bag_messages import WORLD_FRAME, FrameWriter
from train.data import Frame
from train.grasp.scenes import table_plane
from train.grasp.views import HEIGHT, WIDTH, StampedImage, grasp_camera
from train.to_bag import EPOCH

#: The clip is played slower than it was taken, so that the node receives all frames on a slow machine.
_RATE = 0.25
_JPEG_QUALITY = 95


def write_bag(images: Sequence[StampedImage], out: Path) -> None:
    """Write a bag: compressed images, camera_info and the transform from the world to the camera."""
    blank = np.zeros((HEIGHT, WIDTH), np.uint8)
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        writer = FrameWriter(bag, _JPEG_QUALITY)
        for number, item in enumerate(images):
            frame = Frame(
                "grasp",
                f"{number:04d}",
                item.image,
                blank,
                np.zeros((HEIGHT, WIDTH, 3), np.uint8),
                blank.astype(np.uint16),
                (),
                grasp_camera(),
                item.stamp,
                item.camera_pose,
            )
            writer.write(frame, EPOCH * 10**9 + round(item.stamp * 1e9))


def estimate_over_dds(
    name: str, frames: Sequence[StampedImage], with_plane: bool, score_threshold: float | None, smoothing: float
) -> list[ObjectPose]:
    """The confirmed objects that a new node publishes on ~/objects for the last frame.

    :param name: checkpoint. :param with_plane: the node fuses its poses with the table's plane, from tf.
    :param score_threshold, smoothing: parameters of the node; None = the thresholds of the checkpoint.
    :raises RuntimeError: the node failed, or published nothing for the last frame.
    """
    from seqpose_ros.bags import realtime, replay
    from seqpose_ros.bags.bag import Bag
    from seqpose_ros.bags.scoring import FrameGroundTruth

    os.environ.update(replay.private_ros_environment())
    with tempfile.TemporaryDirectory() as folder:
        write_bag(frames, Path(folder) / "bag")
        with Bag(Path(folder) / "bag", categories=checkpoint.read_config(name).categories) as bag:
            stamps = [FrameGroundTruth(f.index, f.stamp, f.ground_truth) for f in bag.frames()]
            parameters: dict[str, Any] = {"checkpoint": name, "fixed_frame": WORLD_FRAME, "smoothing": smoothing}
            if score_threshold is not None:
                parameters["score_threshold"] = score_threshold
            if with_plane:
                plane = table_plane(frames[-1].camera_pose)
                parameters |= {"support_frame": WORLD_FRAME, "support_height": 0.0}
                parameters |= {"support_height_noise": plane.height_noise, "support_tilt_noise": plane.tilt_noise}
                parameters["support_prior"] = plane.prior
            run = realtime.run(bag, stamps, parameters, _RATE, Path(folder))
    last = len(frames) - 1
    if last not in run.predictions:
        raise RuntimeError(f"seqpose_node processed frames {sorted(run.predictions)} but not the last one, {last}")
    return [o for o in run.predictions[last] if o.track_id is not None]
