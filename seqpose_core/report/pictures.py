# SPDX-License-Identifier: Apache-2.0
"""Frames and crops with predictions in red and ground truth in green, as Figure 4 of the paper."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from seqpose_core.evaluation import ScoredRun, View
from seqpose_core.evaluation.views import short_name
from seqpose_core.metrics.pairing import has_volume, pose_of
from seqpose_core.objects import ObjectPose
from seqpose_core.report.cases import Case
from seqpose_core.report.plots import Picture
from seqpose_core.visualize import GROUND_TRUTH, PREDICTION, Style, crop, draw_objects

FRAMES_SHOWN = 12
_FRAME_WIDTH, _CROP_SIDE = 400, 240
_PREDICTION = Style(colour=PREDICTION.colour, thickness=2.5, labels=False)
_GROUND_TRUTH = Style(colour=GROUND_TRUTH.colour, thickness=2.5, axes=False, labels=False)
# Line widths are relative to an image width of 640 pixels; crops are narrower. Thin axes are those of the ground truth.
_GROUND_TRUTH_IN_CROP = Style(colour=GROUND_TRUTH.colour, thickness=5.0, axes_thickness=2.5, labels=False)
_PREDICTION_IN_CROP = Style(colour=PREDICTION.colour, thickness=5.0, labels=False)


def spread(count: int, wanted: int = FRAMES_SHOWN) -> list[int]:
    """Indices of up to ``wanted`` of ``count`` frames, evenly spaced, each at the centre of its part of the set."""
    wanted = min(wanted, count)
    return [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]


def frame_picture(name: str, run: ScoredRun, frame: int, view: View) -> Picture:
    """A frame as :func:`draw_frame` draws it, with a caption that counts the objects.

    :param name: of the run.
    """
    ground_truths, predictions = _objects(run, frame)
    where = short_name(run.keys[frame])
    caption = f"{where}: {len(ground_truths)} ground-truth objects, {len(predictions)} predictions"
    names = f"ground truth in green: {_names(ground_truths)}; predictions of {name} in red: {_names(predictions)}"
    alt = f"Frame {where}, {names}"
    return Picture(f"frame {name} {where}", encode(draw_frame(run, frame, view)), caption, alt)


def draw_frame(run: ScoredRun, frame: int, view: View) -> np.ndarray:
    """The image of a frame, enlarged if it is small, with all ground truth and the predictions above the threshold."""
    ground_truths, predictions = _objects(run, frame)
    width = max(view.camera.width, _FRAME_WIDTH)
    if width > view.camera.width:
        height = round(view.camera.height * width / view.camera.width)
        image = cv2.resize(view.image, (width, height), interpolation=cv2.INTER_CUBIC)
        camera = view.camera.resized(width, height)
    else:
        image, camera = view.image, view.camera
    drawn = draw_objects(image, camera, ground_truths, _GROUND_TRUTH)
    return draw_objects(drawn, camera, predictions, _PREDICTION, in_place=True)


def case_picture(name: str, number: int, case: Case, where: str, view: View) -> Picture:
    """The crop around one case, with its description as caption.

    :param name: of the run. :param number: of the case. :param where: name of the frame in the report.
    """
    sides = [side for side in (case.ground_truth, case.prediction) if side is not None]
    window, camera = crop(view.image, view.camera, sides, _CROP_SIDE)
    if case.ground_truth is not None:
        window = draw_objects(window, camera, [case.ground_truth], _GROUND_TRUTH_IN_CROP)
    if case.prediction is not None:
        window = draw_objects(window, camera, [case.prediction], _PREDICTION_IN_CROP)
    alt = f"Crop of frame {where}: {case.description}"
    return Picture(f"case {name} {number:02d}", encode(window), f"{case.description} ({where})", alt)


def encode(image: np.ndarray) -> bytes:
    """An image (H, W, 3) uint8 RGB as PNG."""
    ok, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not ok:
        raise ValueError(f"OpenCV cannot write an image of shape {image.shape} as PNG")
    return data.tobytes()


def _objects(run: ScoredRun, frame: int) -> tuple[list[ObjectPose], list[ObjectPose]]:
    """Ground truth and predictions of a frame, without boxes of zero volume."""
    sides = (run.pairing.ground_truths, run.pairing.predictions)
    ground_truths, predictions = (
        [pose_of(side, k) for k in np.flatnonzero((side.frame == frame) & has_volume(side)).tolist()] for side in sides
    )
    return ground_truths, predictions


def _names(objects: Sequence[ObjectPose]) -> str:
    return ", ".join(sorted(item.category for item in objects)) or "none"
