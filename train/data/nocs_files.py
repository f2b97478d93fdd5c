# SPDX-License-Identifier: Apache-2.0
"""Read and check the files of a NOCS layout: images, meta files, labels, intrinsics and camera poses."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORIES, Category
from train.data import safe_pickle
from train.data.frame import SceneObject
from train.data.model_sizes import ModelSizes

BACKGROUND = 255  # in the mask
_FARTHEST = 100.0  # metres: labels in millimetres, or damaged ones, are beyond it
_CAMERA_UNKNOWN = 32001  # CAMERA's depth value of pixels without a rendered surface


class BrokenFrameError(ValueError):
    """A frame that cannot be used: the file that is broken, and the reason."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


def read_bytes(path: str, count: int = -1) -> bytes:
    """The first ``count`` bytes of a file, by default all. :raises BrokenFrameError: it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise BrokenFrameError(path, "is missing" if isinstance(error, FileNotFoundError) else str(error)) from error


def read_image(path: str, flags: int) -> NDArray[Any]:
    """The image file decoded with OpenCV's `flags`."""
    return decode_image(path, read_bytes(path), flags)


def decode_image(path: str, data: bytes, flags: int) -> NDArray[Any]:
    """The content `data` of the image file `path`, decoded with OpenCV's `flags`."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:  # for example a header with more pixels than OpenCV allows
        raise BrokenFrameError(path, f"is not a readable image: {error.err}") from error
    if image is None:
        raise BrokenFrameError(path, f"is not a readable image ({len(data)} bytes)")
    return image


def check_same_size(image: NDArray[Any], others: Mapping[str, NDArray[Any]]) -> None:
    """:raises BrokenFrameError: an array in ``others``, by file, has another height or width than the image."""
    for path, array in others.items():
        if array.shape[:2] != image.shape[:2]:
            raise BrokenFrameError(
                path, f"is {array.shape[1]}x{array.shape[0]} but the image is {image.shape[1]}x{image.shape[0]}"
            )


def count_values(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of pixels (256,) of each value in a mask (H, W). OpenCV counts bytes twice as fast as NumPy."""
    return cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel().astype(np.int64)


def decode_mask(path: str, data: bytes) -> NDArray[np.uint8]:
    """Instance ids (H, W) of a mask file with the content `data`."""
    mask = decode_image(path, data, cv2.IMREAD_UNCHANGED)
    if mask.dtype != np.uint8:
        raise BrokenFrameError(path, f"has {mask.dtype} values; instance ids are uint8")
    return np.ascontiguousarray(mask[..., 2]) if mask.ndim == 3 else mask  # channel R, in OpenCV's BGR order


def decode_depth(path: str, data: bytes) -> NDArray[np.uint16]:
    """Depth (H, W) in millimetres, 0 where unknown, of a depth file with the content `data`."""
    depth = decode_image(path, data, cv2.IMREAD_UNCHANGED)
    if depth.ndim == 3 and depth.dtype == np.uint8:  # CAMERA packs two bytes into G and R
        unpacked = depth[..., 1].astype(np.uint16) * 256 + depth[..., 2]
        unpacked[unpacked == _CAMERA_UNKNOWN] = 0
        return unpacked
    if depth.ndim == 2 and depth.dtype == np.uint16:
        return depth
    raise BrokenFrameError(
        path, f"has {depth.dtype} values of shape {depth.shape}; depth is uint16 mm or 3 channels of uint8"
    )


def _numbers(path: str) -> NDArray[np.float64] | None:
    """All numbers of a small text file, flattened, or None if the file does not exist."""
    if not os.path.exists(path):
        return None
    try:
        return np.array(read_bytes(path).split(), dtype=np.float64)
    except ValueError as error:
        raise BrokenFrameError(path, f"contains a value that is not a number: {error}") from error


def read_camera(path: str, width: int, height: int, default: NDArray[np.float64] | None) -> Camera:
    """The camera of a scene's intrinsics.txt; without such a file that of `default` (3, 3), for 640x480 pixels.

    :raises BrokenFrameError: the file is damaged, or missing where images are resized or no default is given.
    """
    numbers = _numbers(path)
    if numbers is None:
        if default is None:
            raise BrokenFrameError(path, "is missing and no intrinsics were given for the data set")
        if (width, height) != (640, 480):
            reason = f"is missing, the images are {width}x{height}, and the data set's intrinsics are those of 640x480"
            raise BrokenFrameError(path, f"{reason}: use the images as published")
        return Camera.from_matrix(default, width, height)
    if numbers.size != 9 or not np.isfinite(numbers).all() or numbers[0] <= 0 or numbers[4] <= 0:
        raise BrokenFrameError(
            path,
            f"holds {numbers.size} numbers {numbers[:9]}; expected a 3x3 matrix with positive focal lengths",
        )
    longest = max(width, height)  # the limits are those of camera_info in seqpose_ros
    if not (0.02 * longest <= min(numbers[0], numbers[4]) and np.abs(numbers[[0, 2, 4, 5]]).max() <= 200 * longest):
        raise BrokenFrameError(path, f"holds {numbers.tolist()}, which are not pixels of a {width}x{height} image")
    try:
        return Camera.from_matrix(numbers.reshape(3, 3), width, height)
    except ValueError as error:
        raise BrokenFrameError(path, str(error)) from error


def read_camera_pose(path: str, row: int) -> tuple[float | None, NDArray[np.float64] | None]:
    """Stamp (s) and world_from_camera (4, 4) of one row of a scene's camera_poses.txt, None if unknown."""
    numbers = _numbers(path)
    if numbers is None:
        return None, None
    if numbers.size % 17 or row >= numbers.size // 17:
        raise BrokenFrameError(
            path, f"holds {numbers.size} numbers; expected rows 0 to {row} of 17 numbers (stamp, 4x4 matrix)"
        )
    stamp, pose = float(numbers[17 * row]), numbers[17 * row + 1 : 17 * row + 17].reshape(4, 4)
    known = bool(np.isfinite(pose).all())
    if known and not (np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)) < 1e-3).all():
        raise BrokenFrameError(path, f"row {row} is not a rigid transform")
    return (stamp if np.isfinite(stamp) else None), (pose if known else None)


def read_meta(path: str, categories: Sequence[Category] = CATEGORIES) -> list[tuple[int, int, str]]:
    """(instance, class, model) of each line, sorted by instance; a synset column between class and model is ignored.

    :raises BrokenFrameError: a line has another format, or an instance is listed more than once.
    """
    rows = []
    for line in read_bytes(path).decode(errors="replace").splitlines():
        columns = line.split()
        if not columns:
            continue
        try:
            instance, class_id = int(columns[0]), int(columns[1])
        except (ValueError, IndexError):
            raise BrokenFrameError(path, f"line {line!r} does not begin with instance and class") from None
        if not 0 <= instance < BACKGROUND or not 0 <= class_id <= len(categories):
            raise BrokenFrameError(path, f"line {line!r} has an instance or class out of range")
        rows.append((instance, class_id, columns[-1] if len(columns) > 2 else ""))
    repeated = [instance for instance, count in Counter(row[0] for row in rows).items() if count > 1]
    if repeated:
        raise BrokenFrameError(path, f"instance {repeated[0]} is listed more than once")
    return sorted(rows)


def rigid_part(path: str, linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotations (N, 3, 3) nearest to ``linear`` (N, 3, 3): labels are float32.

    :raises BrokenFrameError: a matrix is not close to a rotation.
    """
    if not (np.abs(linear @ linear.transpose(0, 2, 1) - np.eye(3)) < 1e-2).all() or (np.linalg.det(linear) < 0).any():
        raise BrokenFrameError(path, "holds a matrix that is not a rotation up to scale")
    u, _, v = np.linalg.svd(linear)
    return u @ v


def read_objects(
    meta: str,
    label: str,
    pixels: NDArray[np.int64],
    categories: Sequence[Category] = CATEGORIES,
    sizes: ModelSizes | None = None,
) -> tuple[SceneObject, ...]:
    """The labelled objects of a frame: instances from the file `meta`, poses in the same order from `label`.

    The labels that NOCS publishes hold poses only: classes then come from `meta` and sizes from `sizes`.

    :param pixels: (256,) number of pixels of each value in the mask.
    """
    rows = [row for row in read_meta(meta, categories) if row[1] > 0]
    content = _label(label)
    transforms = content["gt_RTs"]
    if len(rows) != len(transforms):  # NOCS's labels leave out objects without a pixel in the mask
        rows = [row for row in rows if pixels[row[0]] > 0]
    classes = [row[1] for row in rows]
    if "gt_class_ids" in content and classes != content["gt_class_ids"].tolist():
        raise BrokenFrameError(label, f"has classes {content['gt_class_ids'].tolist()} but {meta} has {classes}")
    if len(rows) != len(transforms):
        raise BrokenFrameError(label, f"has {len(transforms)} poses but {meta} has {len(rows)} objects")
    if not rows:
        return ()
    linear = transforms[:, :3, :3]
    with np.errstate(invalid="ignore"):
        scale = np.cbrt(np.linalg.det(linear))
    if not (scale > 1e-6).all():
        raise BrokenFrameError(label, f"gt_RTs have scales {scale}; the cube root of each determinant must be positive")
    extent = max(float(np.abs(transforms[:, :3, 3]).max()), float(scale.max()))
    if extent > _FARTHEST:
        raise BrokenFrameError(label, f"gt_RTs hold a distance or scale of {extent:g} m; are they in metres?")
    rotations = rigid_part(label, linear / scale[:, None, None])
    extents = content.get("gt_scales")
    if extents is None:
        extents = _model_extents(label, [row[2] for row in rows], sizes)
    # Handle visibility is defined for mugs only; the published values of other classes mean nothing.
    handles = content.get("handles", np.ones(len(rows)))
    return tuple(
        SceneObject(
            class_id=class_id,
            instance=instance,
            rotation=rotations[index],
            translation=transforms[index, :3, 3],
            size=extents[index] * scale[index],
            handle_visible=bool(handles[index]) or categories[class_id - 1].name != "mug",
            visible_pixels=int(pixels[instance]),
            model=model,
            category_info=categories[class_id - 1],
        )
        for index, (instance, class_id, model) in enumerate(rows)
    )


def _model_extents(label: str, models: Sequence[str], sizes: ModelSizes | None) -> NDArray[np.float64]:
    if sizes is None:
        raise BrokenFrameError(label, "holds no gt_scales, and the data set has no obj_models")
    try:
        return np.array([sizes.extents(model) for model in models])
    except ValueError as error:
        raise BrokenFrameError(label, f"holds no gt_scales, and {error}") from error


def _label(path: str) -> dict[str, NDArray[Any]]:
    """The arrays of a label: gt_RTs (N, 4, 4), and where present gt_class_ids, gt_scales (N, 3) and handles (N,).

    The visibility of handles is named gt_handle_visibility, or handle_visibility in the files that NOCS publishes.
    """
    data = read_bytes(path)
    try:
        stored = safe_pickle.loads(data)
        transforms = np.asarray(stored["gt_RTs"], dtype=np.float64)
        count = len(transforms)
        label: dict[str, NDArray[Any]] = {"gt_RTs": transforms.reshape(count, 4, 4)}
        if "gt_class_ids" in stored:
            label["gt_class_ids"] = np.asarray(stored["gt_class_ids"], dtype=np.int64).reshape(-1)
        if "gt_scales" in stored:
            label["gt_scales"] = np.asarray(stored["gt_scales"], dtype=np.float64).reshape(count, 3)
        for key in ("handle_visibility", "gt_handle_visibility"):
            if key in stored:
                label["handles"] = np.asarray(stored[key], dtype=np.int64).reshape(count)
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise BrokenFrameError(path, f"{type(error).__name__}: {error}") from error
    scales = label.get("gt_scales", np.ones((count, 3)))
    if not (np.isfinite(transforms).all() and np.isfinite(scales).all()):
        raise BrokenFrameError(path, "gt_RTs or gt_scales hold values that are not finite")
    if not (scales > 0).all():
        raise BrokenFrameError(path, f"gt_scales {scales.tolist()} must be positive")
    return label
