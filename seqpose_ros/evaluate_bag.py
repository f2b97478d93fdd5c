# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.evaluate_bag BAG``: the node's estimator over every frame of a bag, without DDS.

Replaying a bag drops frames as the machine's load has it; reading it gives the same numbers every time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformException
from tqdm import tqdm

from seqpose_core import ObjectPose, PoseEstimator
from seqpose_ros.bag import Bag, BagFrame
from seqpose_ros.inputs import transform_from_message
from seqpose_ros.scoring import EXPLANATION, score
from seqpose_ros.video import write_sheet, write_video


def evaluate(
    estimator: PoseEstimator, bag: Bag, fixed_frame: str = ""
) -> tuple[dict[str, Any], dict[int, list[ObjectPose]]]:
    """Run over every frame in order; returns the numbers and the objects by frame index.

    :param fixed_frame: as the node's parameter; the bag's own /tf answers.
    """
    camera_pose = _camera_poses(bag, fixed_frame) if fixed_frame else lambda frame: None
    predictions: dict[int, list[ObjectPose]] = {}
    truth: dict[int, list[ObjectPose]] = {}
    seconds = []
    estimator.reset()
    for frame in tqdm(bag.frames(), total=len(bag), unit="frame", disable=not sys.stderr.isatty()):
        pose = camera_pose(frame)
        begin = time.perf_counter()
        predictions[frame.index] = estimator.step(frame.image, frame.camera, frame.stamp * 1e-9, pose)
        seconds.append(time.perf_counter() - begin)
        truth[frame.index] = frame.truth or []
    numbers = score((truth[i], predictions[i]) for i in sorted(predictions))
    step = {f"p{q}": round(1e3 * float(np.percentile(seconds, q)), 2) for q in (50, 95)}
    return {"frames_processed": len(predictions), **numbers, "step_ms": step}, predictions


def _camera_poses(bag: Bag, fixed_frame: str) -> Callable[[BagFrame], np.ndarray | None]:
    """A frame's (4, 4) transform from camera to ``fixed_frame``, None where tf does not know it."""
    buffer = Buffer(cache_time=Duration(nanoseconds=bag.duration + 10**10))
    for raw, static in bag.transforms():
        store = buffer.set_transform_static if static else buffer.set_transform
        for transform in deserialize_message(raw, TFMessage).transforms:
            store(transform, "bag")

    def pose(frame: BagFrame) -> np.ndarray | None:
        try:
            found = buffer.lookup_transform(fixed_frame, frame.frame_id, Time(nanoseconds=frame.stamp))
        except TransformException:
            return None
        return transform_from_message(found.transform)

    return pose


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m seqpose_ros.evaluate_bag",
        description="run the node's estimator over every frame of a bag and score it against the bag's truth",
    )
    parser.add_argument("bag", type=Path, help="bag folder or file (MCAP or sqlite3)")
    parser.add_argument("--checkpoint", default="seqpose-nano", help="bundled name, folder or file")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.json and pictures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--image-topic", help="if the bag has several")
    parser.add_argument("--camera-info-topic", help="if the bag has several")
    parser.add_argument(
        "--rectified", action="store_true", help="the images are rectified: use P of camera_info"
    )
    parser.add_argument(
        "--fixed-frame", default="", help="the node's fixed_frame, for ego-motion from the bag's tf"
    )
    parser.add_argument("--video", action="store_true", help="also write video.mp4 and frames.png")
    options = parser.parse_args(arguments)
    try:
        estimator = PoseEstimator.from_pretrained(options.checkpoint, device=options.device)
        with Bag(options.bag, options.image_topic, options.camera_info_topic, options.rectified) as bag:
            options.out.mkdir(parents=True, exist_ok=True)
            report, predictions = evaluate(estimator, bag, options.fixed_frame)
            if options.video:
                write_video(options.out / "video.mp4", bag.frames(), predictions, bag.rate)
                write_sheet(options.out / "frames.png", bag.frames(), predictions)
    except (OSError, ValueError) as error:
        print(f"evaluate_bag: {error}", file=sys.stderr)
        return 1
    report.update(
        bag=options.bag.name,
        checkpoint=options.checkpoint,
        measured_on=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, {options.device}",
        explanation=EXPLANATION,
    )
    (options.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    for key, value in report.items():
        print(f"  {key:<22} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
