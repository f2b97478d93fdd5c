# SPDX-License-Identifier: Apache-2.0
"""Detect objects in a video and print their poses.

python examples/predict_video.py                      # ten bundled frames
python examples/predict_video.py table.mp4 --fx 615   # a file, with the camera's focal length in pixels
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seqpose_core import Camera, PoseEstimator
from seqpose_core.predict import camera_of, read_frames
from seqpose_core.samples import sample_frames


def video_frames(path: Path, fx: float) -> Iterator[tuple[np.ndarray, Camera, float | None]]:
    """Yield (image, camera, stamp) of every frame."""
    for frame in read_frames(path):
        height, width = frame.image.shape[:2]
        yield frame.image, camera_of(width, height, fx, fov=60.0), frame.stamp


def main() -> None:
    parser = argparse.ArgumentParser(description="Detect objects in a video and print their poses.")
    parser.add_argument("video", nargs="?", type=Path, help="video file (default: ten bundled frames)")
    parser.add_argument("--fx", type=float, default=615.0, help="focal length, pixels")
    options = parser.parse_args()

    estimator = PoseEstimator.from_pretrained("seqpose-lite2")
    frames = video_frames(options.video, options.fx) if options.video else sample_frames()
    for image, camera, stamp in frames:
        print(f"frame at {stamp} s")
        for item in estimator.step(image, camera, stamp):
            x, y, z = item.translation
            print(f"  {item.category:<7} {item.score:.2f}  track {item.track_id}  x {x:+.3f} y {y:+.3f} z {z:.3f} m")


if __name__ == "__main__":
    main()
