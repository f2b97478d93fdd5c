# SPDX-License-Identifier: Apache-2.0
"""``seqpose-predict``: detect objects in a video, an image or a folder of images, and draw them.

    seqpose-predict table.mp4 --fx 615 --out out/table
    seqpose-predict photos/ --fov 60 --single --out out/photos

Writes the frames with boxes and axes drawn on them, and poses.jsonl: one line per frame with the objects in the camera
frame (OpenCV: x right, y down, z forward), in metres. Metric distances are only as good as the intrinsics.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seqpose_core.camera import Camera
from seqpose_core.command_line import command_parser
from seqpose_core.estimator import PoseEstimator
from seqpose_core.objects import ObjectPose
from seqpose_core.visualize import draw_objects

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
_DEFAULT_RATE = 30.0


@dataclass(frozen=True)
class InputFrame:
    """One frame of the input.

    :param name: file stem, file name if the folder has several files of this stem, or the frame's number in a video.
    :param image: (H, W, 3) uint8 RGB. :param stamp: seconds from the start, None for photographs.
    """

    name: str
    image: np.ndarray
    stamp: float | None


def read_frames(path: Path) -> Iterator[InputFrame]:
    """Yield the frames of an image file, of a folder's images in the order of their names, or of a video.

    :raises FileNotFoundError: the path, or an image in the folder, does not exist.
    :raises ValueError: a file cannot be decoded.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise FileNotFoundError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        stems = Counter(file.stem for file in files)
        for file in files:
            yield InputFrame(file.stem if stems[file.stem] == 1 else file.name, _read_image(file), None)
    elif not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give an image, a video or a folder of images")
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        yield InputFrame(path.stem, _read_image(path), None)
    else:
        yield from _read_video(path)


def _read_image(file: Path) -> np.ndarray:
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{file} cannot be decoded as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def video_rate(path: Path) -> float:
    """Frames per second of a video; 30 where the file does not state a plausible rate."""
    rate = cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)
    return rate if 1.0 <= rate <= 1000.0 else _DEFAULT_RATE


def _read_video(path: Path) -> Iterator[InputFrame]:
    video, rate = cv2.VideoCapture(str(path)), video_rate(path)
    index = -1
    while True:
        decoded, image = video.read()
        if not decoded:
            break
        index += 1
        yield InputFrame(f"{index:06d}", cv2.cvtColor(image, cv2.COLOR_BGR2RGB), index / rate)
    if index < 0:
        raise ValueError(f"{path} cannot be decoded as a video")


def camera_of(width: int, height: int, fx: float | None, fov: float) -> Camera:
    """A camera with square pixels and a centred principal point.

    :param fx: focal length, pixels; None: computed from ``fov``, the horizontal field of view in degrees.
    """
    focal = fx if fx is not None else width / (2 * math.tan(math.radians(fov) / 2))
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)


def as_json(item: ObjectPose) -> dict[str, Any]:
    """An object as plain numbers."""
    return {
        "category": item.category,
        "score": round(float(item.score), 4),
        "track_id": item.track_id,
        "translation": np.round(item.translation, 5).tolist(),
        "rotation": np.round(item.rotation, 6).tolist(),
        "size": np.round(item.size, 5).tolist(),
    }


def predict(
    estimator: PoseEstimator, source: Path, out: Path, fx: float | None = None, fov: float = 60.0, single: bool = False
) -> int:
    """Run an estimator over an image, a folder or a video; write pictures and poses.jsonl to ``out``.

    :param fx: focal length, pixels; None: from ``fov``, the horizontal field of view in degrees.
    :param single: whether the memory is reset before each frame.
    :return: the number of frames.
    :raises FileNotFoundError, ValueError: as :func:`read_frames`; ValueError also if an output would replace an input.
    """
    is_video = source.is_file() and source.suffix.lower() not in IMAGE_SUFFIXES
    if source.is_dir() and out.is_dir() and out.samefile(source):
        raise ValueError(f"the pictures would replace the images in {source}; choose another --out")
    count = 0
    with ExitStack() as stack:
        poses = writer = None
        for frame in read_frames(source):
            height, width = frame.image.shape[:2]
            camera = camera_of(width, height, fx, fov)
            if single:
                estimator.reset()
            objects = estimator.step(frame.image, camera, frame.stamp)
            drawn = cv2.cvtColor(draw_objects(frame.image, camera, objects), cv2.COLOR_RGB2BGR)
            if poses is None:
                out.mkdir(parents=True, exist_ok=True)
                poses = stack.enter_context(open(out / "poses.jsonl", "w", encoding="utf-8"))
            if is_video:
                if writer is None:
                    codec, rate = cv2.VideoWriter.fourcc(*"mp4v"), video_rate(source)
                    writer = cv2.VideoWriter(str(_output(out / "video.mp4", source)), codec, rate, (width, height))
                    stack.callback(writer.release)
                writer.write(drawn)
            else:
                cv2.imwrite(str(_output(out / f"{frame.name}.png", source)), drawn)
            record = {"frame": frame.name, "stamp": frame.stamp, "objects": [as_json(item) for item in objects]}
            poses.write(json.dumps(record) + "\n")
            count += 1
    return count


def _output(path: Path, source: Path) -> Path:
    """``path``. :raises ValueError: it is the input."""
    if path.exists() and path.samefile(source):
        raise ValueError(f"{path} is the input and would be replaced; choose another --out")
    return path


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    parser.add_argument("input", type=Path, help="video file, image file or folder of images")
    parser.add_argument("--out", type=Path, default=Path("out/predict"), help="output folder (default: %(default)s)")
    parser.add_argument(
        "--checkpoint", default="seqpose-lite2", help="bundled name, folder or file (default: %(default)s)"
    )
    parser.add_argument("--fx", type=float, help="focal length in pixels; distances are only as good as this value")
    parser.add_argument(
        "--fov",
        type=float,
        default=60.0,
        help="horizontal field of view in degrees, used without --fx (default: %(default)s)",
    )
    parser.add_argument("--single", action="store_true", help="reset the memory before each frame (unrelated images)")
    parser.add_argument(
        "--score-threshold",
        type=float,
        help="lowest score that is reported (default: the checkpoint's threshold of each category)",
    )
    options = parser.parse_args(arguments)
    if options.fx is not None and not options.fx > 0:
        parser.error(f"--fx is {options.fx}; it must be positive")
    if not 1 < options.fov < 179:
        parser.error(f"--fov is {options.fov}; it must lie between 1 and 179 degrees")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # the runtime; its first start takes seconds
    if options.fx is None:
        print(f"--fx is not given: a horizontal field of view of {options.fov:g} degrees is assumed", file=sys.stderr)
    try:
        estimator = PoseEstimator.from_pretrained(options.checkpoint, score_threshold=options.score_threshold)
        frames = predict(estimator, options.input, options.out, options.fx, options.fov, options.single)
    except (OSError, ValueError) as error:
        print(f"seqpose-predict: {error}", file=sys.stderr)
        return 1
    print(f"{frames} frames; written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
