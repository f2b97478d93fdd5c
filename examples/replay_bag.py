# SPDX-License-Identifier: Apache-2.0
"""Read a rosbag without DDS, frame by frame, and compare detections with its ground truth.

    python examples/replay_bag.py                # the bundled bag, every tenth frame
    python examples/replay_bag.py BAG --every 1

Needs the packages of `make setup` (messages and rosbags); no ROS node runs.
"""

import argparse
from pathlib import Path

import numpy as np

from seqpose_core import PoseEstimator
from seqpose_ros.bags.bag import Bag
from seqpose_ros.demo import BUNDLED_BAG


def main() -> None:
    parser = argparse.ArgumentParser(description="Read a rosbag frame by frame.")
    parser.add_argument("bag", nargs="?", type=Path, default=BUNDLED_BAG, help="default: the bundled bag")
    parser.add_argument("--every", type=int, default=10, help="use every n-th frame")
    options = parser.parse_args()

    estimator = PoseEstimator.from_pretrained("seqpose-lite2")
    with Bag(options.bag) as bag:
        for index, frame in enumerate(bag.frames()):
            if index % options.every:
                continue
            objects = estimator.step(frame.image, frame.camera, frame.stamp * 1e-9)
            print(f"frame {frame.index}: {', '.join(item.category for item in objects) or 'nothing detected'}")
            for ground_truth in frame.ground_truth or []:
                distances = [
                    np.linalg.norm(item.translation - ground_truth.translation)
                    for item in objects
                    if item.category == ground_truth.category
                ]
                error = f"{100 * min(distances):.1f} cm" if distances else "missed"
                print(f"  {ground_truth.category:<7} {error}")


if __name__ == "__main__":
    main()
