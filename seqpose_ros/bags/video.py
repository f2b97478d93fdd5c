# SPDX-License-Identifier: Apache-2.0
"""Draw ground truth next to predictions, as a video and as a picture of a few frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from seqpose_core import CATEGORIES, Category, ObjectPose
from seqpose_core.metrics.errors import match_detections
from seqpose_core.visualize import GROUND_TRUTH, Style, draw_objects, hstack_images
from seqpose_ros.bags.bag import BagFrame
from seqpose_ros.bags.scoring import frame_result

_GROUND_TRUTH = Style(colour=GROUND_TRUTH.colour)
_SHEET_ROWS = 3


def draw_frame(frame: BagFrame, predicted: Sequence[ObjectPose] | None) -> np.ndarray:
    """One frame (H, 2W + gap, 3): ground truth on the left, prediction on the right.

    :param predicted: None for a dropped frame, which is drawn dimmed.
    """
    left = draw_objects(frame.image, frame.camera, frame.ground_truth or [], _GROUND_TRUTH)
    if predicted is None:
        right, title = frame.image // 2, "dropped"
    else:
        right, title = draw_objects(frame.image, frame.camera, predicted), "prediction"
    return hstack_images([left, right], [f"ground truth, frame {frame.index}", title])


def write_video(
    path: Path, frames: Iterable[BagFrame], predictions: Mapping[int, Sequence[ObjectPose]], rate: float
) -> Path:
    """Write :func:`draw_frame` of every frame as MP4, or as GIF if ffmpeg is not available.

    The size is that of the first frame; frames of another size are fitted into it.

    :param predictions: by frame index; frames without an entry were dropped.
    :return: the file written: ``path``, or the same path with suffix .gif.
    """
    import imageio.v2 as imageio  # only needed for videos; some distributions have an older version without v2

    pictures = _of_one_size(draw_frame(frame, predictions.get(frame.index)) for frame in frames)
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):  # not installed, or no binary for this platform
        path = path.with_suffix(".gif")
        small = (cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in pictures)
        imageio.mimwrite(path, list(small), duration=1000.0 / rate, loop=0)
        return path
    with imageio.get_writer(path, fps=rate, codec="libx264", quality=7, macro_block_size=1) as writer:
        for picture in pictures:
            writer.append_data(_crop_to_even(picture))  # type: ignore[attr-defined]
    return path


def write_sheet(
    path: Path,
    frames: Iterable[BagFrame],
    predictions: Mapping[int, Sequence[ObjectPose]],
    categories: Sequence[Category] = CATEGORIES,
) -> list[int]:
    """Write the best frames as one PNG, ground truth next to the prediction; return their indices.

    One frame is selected from each third of the processed ones: that with the largest sum over detected objects of
    1 - distance / 10 cm from the ground truth.

    :param predictions: by frame index; frames without an entry were dropped.
    :param categories: of ground truth and predictions.
    """
    third_of = {index: rank * _SHEET_ROWS // len(predictions) for rank, index in enumerate(sorted(predictions))}
    best: dict[int, tuple[float, BagFrame]] = {}
    for frame in frames:
        third = third_of.get(frame.index)
        if third is None:
            continue
        result = frame_result(frame.ground_truth or [], predictions[frame.index], categories)
        errors = match_detections([result], min_score=0.0, categories=categories)
        score = float(np.clip(1.0 - errors.centimetres[errors.detected] / 10.0, 0.0, None).sum())
        if third not in best or score > best[third][0]:
            best[third] = (score, frame)
    chosen = [best[third][1] for third in sorted(best)]
    rows = _of_one_size(draw_frame(frame, predictions[frame.index]) for frame in chosen)
    sheet = np.concatenate(list(rows), axis=0)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(f"could not write {path}")
    return [frame.index for frame in chosen]


def _of_one_size(pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Fit pictures (H, W, 3) into the size of the first one, with black borders."""
    size: tuple[int, int] | None = None
    for picture in pictures:
        size = size or (picture.shape[0], picture.shape[1])
        if picture.shape[:2] != size:
            scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
            height, width = (max(int(scale * side), 1) for side in picture.shape[:2])
            fitted = np.zeros((*size, 3), np.uint8)
            fitted[:height, :width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            picture = fitted
        yield picture


def _crop_to_even(picture: np.ndarray) -> np.ndarray:
    """Crop to an even width and height, which H.264 with 4:2:0 colour requires."""
    height, width = picture.shape[:2]
    return picture[: height // 2 * 2, : width // 2 * 2]
