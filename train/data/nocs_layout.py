# SPDX-License-Identifier: Apache-2.0
"""Read data sets that lie on disk as NOCS does: CAMERA, REAL and our own renderings.

    <frames>/<scene>/<frame>_{color,mask,coord,depth}.png, <frame>_meta.txt       [intrinsics.txt, camera_poses.txt]
    <labels>/results_<name of labels>_<scene>_<frame>.pkl

One scene folder is one clip. Opening a layout lists folders and opens no file; a frame that turns out to be broken is
refused with its file and the reason, so that a caller can skip and count it.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORIES
from seqpose_core.objects import ObjectPose

from . import safe_pickle

logger = logging.getLogger(__name__)

BACKGROUND = 255  # in the mask
# Intrinsics of the published sets at 640x480, for scenes without an intrinsics.txt.
REAL_INTRINSICS = np.array([[591.0125, 0, 322.525], [0, 590.16775, 244.11084], [0, 0, 1]])
CAMERA_INTRINSICS = np.array([[577.5, 0, 319.5], [0, 577.5, 239.5], [0, 0, 1]])

_PARTS = ("color.png", "mask.png", "coord.png", "depth.png", "meta.txt")
_NAMES = {category.id: category.name for category in CATEGORIES}


class BrokenFrame(ValueError):
    """A frame that cannot be used: `file` is at fault, for `reason`."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


@dataclass(frozen=True)
class Clip:
    """One scene folder: the names of its frames in order."""

    scene: str
    folder: str
    frames: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One labelled object.

    class_id 1..6; instance: its value in the mask; rotation (3, 3) and translation (3,) in metres map the object frame
    to the camera frame; size (3,) full extents in metres; visible_pixels: mask pixels at the stored resolution.
    """

    class_id: int
    instance: int
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    size: NDArray[np.float64]
    handle_visible: bool
    visible_pixels: int
    model: str = ""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as stored.

    image (H, W, 3) uint8 RGB; mask (H, W) uint8 instance ids, 255 = background; coord_bgr (H, W, 3) uint8 and
    depth_mm (H, W) uint16 as stored (0 unknown); stamp in seconds or None; camera_pose (4, 4) world_from_camera or None.
    """

    scene: str
    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    coord_bgr: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    objects: tuple[SceneObject, ...]
    camera: Camera
    stamp: float | None
    camera_pose: NDArray[np.float64] | None

    @cached_property
    def coord(self) -> NDArray[np.float32]:
        """NOCS coordinates (H, W, 3) in 0..1; meaningful on labelled objects only."""
        return decode_coord(self.coord_bgr)

    @cached_property
    def depth(self) -> NDArray[np.float32]:
        """Depth (H, W) in metres along z, 0 where unknown."""
        return self.depth_mm.astype(np.float32) * np.float32(1e-3)

    def truth(self) -> dict[str, NDArray[Any]]:
        """The labels under the keys of NOCS result pickles: gt_class_ids, gt_RTs, gt_scales, gt_handle_visibility."""
        count = len(self.objects)
        transforms = np.tile(np.eye(4), (count, 1, 1))
        scales = np.zeros((count, 3))
        for index, item in enumerate(self.objects):
            diagonal = float(np.linalg.norm(item.size))
            transforms[index, :3, :3] = item.rotation * diagonal
            transforms[index, :3, 3] = item.translation
            scales[index] = item.size / diagonal
        return {
            "gt_class_ids": np.array([item.class_id for item in self.objects], dtype=np.int64),
            "gt_RTs": transforms,
            "gt_scales": scales,
            "gt_handle_visibility": np.array([item.handle_visible for item in self.objects], dtype=np.int64),
        }

    def object_poses(self) -> list[ObjectPose]:
        """The labels as certain objects (score 1, no covariance) whose track id is the instance id."""
        return [
            ObjectPose(
                category=_NAMES[item.class_id],
                score=1.0,
                rotation=item.rotation,
                translation=item.translation,
                size=item.size,
                covariance=np.zeros((6, 6)),
                track_id=item.instance,
                age=0,
            )
            for item in self.objects
        ]


def decode_coord(coord_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
    """NOCS coordinates (..., 3) in 0..1 of a stored coordinate image (..., 3) in OpenCV's BGR order; z is stored as 1 - z."""
    coord = coord_bgr[..., ::-1].astype(np.float32) * np.float32(1 / 255)
    coord[..., 2] = 1 - coord[..., 2]
    return coord


class NocsLayout:
    """The clips of one split.

    :param frames: folder of scene folders.
    :param labels: folder of label pickles; its name is part of theirs.
    :param intrinsics: (3, 3) matrix in pixels for scenes without an intrinsics.txt.
    :raise FileNotFoundError: a folder is missing or holds no frames.
    """

    def __init__(
        self,
        frames: str | os.PathLike[str],
        labels: str | os.PathLike[str],
        intrinsics: NDArray[np.float64] | None = None,
    ) -> None:
        self.frames_folder = Path(frames)
        self.labels_folder = Path(labels)
        self.intrinsics = intrinsics
        self.broken: dict[str, str] = {}  # "<scene>/<frame>" → "<file>: <reason>", of this process
        for folder in (self.frames_folder, self.labels_folder):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{folder} is not a folder; a NOCS layout has scene folders and gts/<split>"
                )
        self.clips = tuple(_list_clips(self.frames_folder))
        if not self.clips:
            raise FileNotFoundError(f"{self.frames_folder} holds no <scene>/<frame>_color.png")

    @classmethod
    def open(cls, root: str | os.PathLike[str], split: str) -> NocsLayout:
        """Our own layout: frames under `root/split`, labels under `root/gts/split`."""
        return cls(Path(root) / split, Path(root) / "gts" / split)

    def read(self, clip: int, frame: int) -> Frame:
        """Read one frame.

        :raise BrokenFrame: a file is missing, unreadable or disagrees with another; it is also noted in `broken`.
        """
        folder, name = self.clips[clip], self.clips[clip].frames[frame]
        key = f"{folder.scene}/{name}"
        if key in self.broken:
            file, _, reason = self.broken[key].partition(": ")
            raise BrokenFrame(file, reason)
        try:
            return _read_frame(folder, name, self._label(folder.scene, name), self.intrinsics)
        except BrokenFrame as error:
            self.broken[key] = str(error)
            logger.warning("frame skipped: %s", error)
            raise

    def frames(self, clip: int) -> Iterator[Frame]:
        """The readable frames of a clip in order; broken ones are noted in `broken`."""
        for index in range(len(self.clips[clip].frames)):
            try:
                yield self.read(clip, index)
            except BrokenFrame:
                continue

    def report(self) -> str:
        """The broken frames met so far, counted and listed with file and reason."""
        lines = [f"{len(self.broken)} of {sum(len(clip.frames) for clip in self.clips)} frames skipped"]
        return "\n".join(lines + [f"  {text}" for text in self.broken.values()])

    def _label(self, scene: str, name: str) -> str:
        return os.path.join(self.labels_folder, f"results_{self.labels_folder.name}_{scene}_{name}.pkl")


def _list_clips(frames: Path) -> Iterator[Clip]:
    with os.scandir(frames) as entries:
        scenes = sorted((entry.name, entry.path) for entry in entries if entry.is_dir())
    for scene, folder in scenes:
        names = set()
        for file in os.listdir(folder):
            name, _, part = file.partition("_")
            if (
                part in _PARTS and name.isdigit()
            ):  # any part will do: a frame that lacks one is broken, not absent
                names.add(name)
        if names:
            yield Clip(scene, folder, tuple(sorted(names, key=int)))


def _read_frame(clip: Clip, name: str, label: str, intrinsics: NDArray[np.float64] | None) -> Frame:
    stem = os.path.join(clip.folder, name)
    image = cv2.cvtColor(_decode(f"{stem}_color.png", cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    mask = _decode(f"{stem}_mask.png", cv2.IMREAD_UNCHANGED)
    mask = np.ascontiguousarray(mask[..., 2]) if mask.ndim == 3 else mask  # channel R, in OpenCV's BGR order
    coord = _decode(f"{stem}_coord.png", cv2.IMREAD_COLOR)
    depth = _decode_depth(f"{stem}_depth.png")
    for part, array in (("mask", mask), ("coord", coord), ("depth", depth)):
        if array.shape[:2] != image.shape[:2]:
            raise BrokenFrame(
                f"{stem}_{part}.png",
                f"is {array.shape[1]}x{array.shape[0]} but the image is {image.shape[1]}x{image.shape[0]}",
            )
    if mask.dtype != np.uint8:
        raise BrokenFrame(f"{stem}_mask.png", f"has {mask.dtype} values; instance ids are uint8")
    pixels = np.bincount(mask.ravel(), minlength=256)
    stamp, pose = _camera_pose(clip, name)
    return Frame(
        scene=clip.scene,
        name=name,
        image=image,  # type: ignore[arg-type]
        mask=mask,  # type: ignore[arg-type]
        coord_bgr=coord,
        depth_mm=depth,
        objects=_objects(f"{stem}_meta.txt", label, pixels),
        camera=_camera(clip, image.shape[1], image.shape[0], intrinsics),
        stamp=stamp,
        camera_pose=pose,
    )


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BrokenFrame(
            path, "is missing" if isinstance(error, FileNotFoundError) else str(error)
        ) from error


def _decode(path: str, flags: int) -> NDArray[Any]:
    data = _bytes(path)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise BrokenFrame(path, f"is not a readable image ({len(data)} bytes)")
    return image


def _decode_depth(path: str) -> NDArray[np.uint16]:
    depth = _decode(path, cv2.IMREAD_UNCHANGED)
    if depth.ndim == 3 and depth.dtype == np.uint8:  # CAMERA packs two bytes into G and R
        return depth[..., 1].astype(np.uint16) * 256 + depth[..., 2]
    if depth.ndim == 2 and depth.dtype == np.uint16:
        return depth
    raise BrokenFrame(
        path, f"has {depth.dtype} values of shape {depth.shape}; depth is uint16 mm or 3 channels of uint8"
    )


def _numbers(path: str) -> NDArray[np.float64] | None:
    """All numbers of a small text file in a row, or None when there is no such file."""
    if not os.path.exists(path):
        return None
    try:
        return np.array(_bytes(path).split(), dtype=np.float64)
    except ValueError as error:
        raise BrokenFrame(path, f"holds something that is not a number: {error}") from error


def _camera(clip: Clip, width: int, height: int, default: NDArray[np.float64] | None) -> Camera:
    path = os.path.join(clip.folder, "intrinsics.txt")
    numbers = _numbers(path)
    if numbers is None:
        if default is None:
            raise BrokenFrame(path, "is missing and no intrinsics were given for the data set")
        return Camera.from_matrix(default, width, height)
    if numbers.size != 9 or not np.isfinite(numbers).all() or numbers[0] <= 0 or numbers[4] <= 0:
        raise BrokenFrame(
            path,
            f"holds {numbers.size} numbers {numbers[:9]}; a 3x3 matrix with positive focal lengths is right",
        )
    return Camera.from_matrix(numbers.reshape(3, 3), width, height)


def _camera_pose(clip: Clip, name: str) -> tuple[float | None, NDArray[np.float64] | None]:
    path = os.path.join(clip.folder, "camera_poses.txt")
    numbers = _numbers(path)
    if numbers is None:
        return None, None
    row = int(name)
    if numbers.size % 17 or row >= numbers.size // 17:
        raise BrokenFrame(
            path, f"holds {numbers.size} numbers; frame {name} needs row {row} of 17 (stamp, 4x4 matrix)"
        )
    stamp, pose = float(numbers[17 * row]), numbers[17 * row + 1 : 17 * row + 17].reshape(4, 4)
    known = bool(np.isfinite(pose).all())
    if known and not (np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)) < 1e-3).all():
        raise BrokenFrame(path, f"row {row} holds no rigid transform")
    return (stamp if np.isfinite(stamp) else None), (pose if known else None)


def _meta(path: str) -> list[tuple[int, int, str]]:
    """(instance, class, model) of each line; the columns between class and model, where there are any, are ignored."""
    rows = []
    for line in _bytes(path).decode(errors="replace").splitlines():
        columns = line.split()
        if not columns:
            continue
        try:
            instance, class_id = int(columns[0]), int(columns[1])
        except (ValueError, IndexError):
            raise BrokenFrame(path, f"line {line!r} does not begin with instance and class") from None
        if not 0 <= instance < BACKGROUND or (class_id and class_id not in _NAMES):
            raise BrokenFrame(path, f"line {line!r} has an instance or class out of range")
        rows.append((instance, class_id, columns[-1] if len(columns) > 2 else ""))
    return rows


def _objects(meta: str, label: str, pixels: NDArray[np.int64]) -> tuple[SceneObject, ...]:
    rows = [row for row in _meta(meta) if row[1] > 0]
    repeated = [instance for instance, count in Counter(row[0] for row in rows).items() if count > 1]
    if repeated:
        raise BrokenFrame(meta, f"instance {repeated[0]} is listed more than once")
    classes, transforms, scales, handles = _label(label)
    if len(rows) != len(classes):  # the published labels leave out objects without a pixel in the mask
        rows = [row for row in rows if pixels[row[0]] > 0]
    if [row[1] for row in rows] != classes.tolist():
        raise BrokenFrame(label, f"has classes {classes.tolist()} but {meta} has {[row[1] for row in rows]}")
    if not rows:
        return ()
    linear = transforms[:, :3, :3]
    with np.errstate(invalid="ignore"):
        scale = np.cbrt(np.linalg.det(linear))
    if not (scale > 1e-6).all():
        raise BrokenFrame(
            label, f"gt_RTs have scales {scale}; the cube root of each determinant must be positive"
        )
    rotations = linear / scale[:, None, None]
    if not (np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)) < 1e-2).all():
        raise BrokenFrame(label, "gt_RTs are not a scaled rotation")
    u, _, v = np.linalg.svd(rotations)  # the nearest rotation: labels are float32
    rotations = u @ v
    sizes = scales * scale[:, None]
    return tuple(
        SceneObject(
            class_id=class_id,
            instance=instance,
            rotation=rotations[index],
            translation=transforms[index, :3, 3],
            size=sizes[index],
            handle_visible=bool(handles[index]),
            visible_pixels=int(pixels[instance]),
            model=model,
        )
        for index, (instance, class_id, model) in enumerate(rows)
    )


def _label(
    path: str,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    try:
        label = safe_pickle.loads(_bytes(path))
        classes = np.asarray(label["gt_class_ids"], dtype=np.int64).reshape(-1)
        count = len(classes)
        transforms = np.asarray(label["gt_RTs"], dtype=np.float64).reshape(count, 4, 4)
        scales = np.asarray(label["gt_scales"], dtype=np.float64).reshape(count, 3)
        handles = np.asarray(label.get("gt_handle_visibility", np.ones(count)), dtype=np.int64).reshape(count)
    except (pickle.UnpicklingError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenFrame(path, f"{type(error).__name__}: {error}") from error
    if not (np.isfinite(transforms).all() and np.isfinite(scales).all()):
        raise BrokenFrame(path, "gt_RTs or gt_scales hold values that are not finite")
    if not (scales > 0).all():
        raise BrokenFrame(path, f"gt_scales {scales.tolist()} must be positive")
    return classes, transforms, scales, handles
