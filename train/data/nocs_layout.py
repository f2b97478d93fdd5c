# SPDX-License-Identifier: Apache-2.0
"""Read data sets in the file layout of NOCS: CAMERA, REAL and our own renderings.

    <frames>/<scene>/<frame>_{color,mask,coord,depth}.png, <frame>_meta.txt
    <frames>/<scene>/{intrinsics,camera_poses}.txt          optional: CAMERA and REAL have none
    <labels>/results_<name of labels>_<scene>_<frame>.pkl   or the relabelled <frame>_label.pkl next to the images

A scene folder is a clip.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seqpose_core.categories import CATEGORIES, Category
from train.data.aligned import Alignment
from train.data.camera_motion import camera_trajectory
from train.data.frame import Frame, SceneObject
from train.data.layout import Clip, Layout
from train.data.model_sizes import ModelSizes
from train.data.nocs_files import (
    BrokenFrameError,
    check_same_size,
    count_values,
    decode_depth,
    decode_mask,
    read_bytes,
    read_camera,
    read_camera_pose,
    read_image,
    read_objects,
)
from train.data.relabelled import LABEL, Relabelling

# Intrinsics of REAL and CAMERA at 640x480, for scenes without an intrinsics.txt.
REAL_INTRINSICS = np.array([[591.0125, 0, 322.525], [0, 590.16775, 244.11084], [0, 0, 1]])
CAMERA_INTRINSICS = np.array([[577.5, 0, 319.5], [0, 577.5, 239.5], [0, 0, 1]])

_PARTS = ("color.png", "mask.png", "coord.png", "depth.png", "meta.txt")


class NocsLayout(Layout):
    """The clips of one split.

    :param frames: folder of scene folders.
    :param labels: folder of label pickles (its name is part of their names), or the reader of relabelled or computed
        labels.
    :param intrinsics: (3, 3) matrix in pixels for scenes without an intrinsics.txt.
    :param frame_rate: frames per second, which gives the stamps of scenes without a camera_poses.txt; None = unknown.
    :param motion_from_labels: estimate the camera poses of scenes without a camera_poses.txt from the labels (see
        train.data.camera_motion). For training only: in evaluation it would pass ground truth to the network.
    :param categories: that the class ids of meta files and labels refer to.
    :param only_with_image: frames without a color.png are not part of the set, as in NOCS's reader of CAMERA; otherwise
        they are broken.
    :raises FileNotFoundError: a folder is missing or holds no frames, or no frame has a relabelled label.
    """

    def __init__(
        self,
        frames: str | os.PathLike[str],
        labels: str | os.PathLike[str] | Relabelling | Alignment,
        intrinsics: NDArray[np.float64] | None = None,
        frame_rate: float | None = None,
        motion_from_labels: bool = False,
        categories: Sequence[Category] = CATEGORIES,
        sizes: ModelSizes | None = None,
        only_with_image: bool = False,
    ) -> None:
        super().__init__()
        self.frames_folder = Path(frames)
        self.labels = labels if isinstance(labels, (Relabelling, Alignment)) else Path(labels)
        self.intrinsics, self.categories, self.sizes = intrinsics, tuple(categories), sizes
        self.frame_rate, self.motion_from_labels = frame_rate, motion_from_labels
        self._sizes: dict[str, tuple[str, tuple[int, int] | None]] = {}
        self._trajectories: dict[str, dict[str, NDArray[np.float64] | None]] = {}
        for folder in (self.frames_folder, self.labels):
            if isinstance(folder, Path) and not folder.is_dir():
                raise FileNotFoundError(f"{folder} is not a folder; a NOCS layout has scene folders and gts/<split>")
        relabelled = isinstance(self.labels, Relabelling)
        #: Missing relabelled labels: they leave out frames without a valid object, which are not part of the set then.
        self.missing_labels: list[str] = []
        self.clips = self._list_clips(only_with_image, relabelled)
        if not self.clips and self.missing_labels:
            raise FileNotFoundError(
                f"{self.frames_folder} holds no <scene>/<frame>_{LABEL}; preprocess/pose_data.py of Shape Prior "
                "Deformation writes them"
            )
        if not self.clips:
            raise FileNotFoundError(f"{self.frames_folder} holds no <scene>/<frame>_color.png")

    @classmethod
    def open(
        cls,
        root: str | os.PathLike[str],
        split: str,
        categories: Sequence[Category] = CATEGORIES,
        motion_from_labels: bool = False,
    ) -> NocsLayout:
        """Our own layout: frames under `root/split`, labels under `root/gts/split`."""
        labels = Path(root) / "gts" / split
        return cls(Path(root) / split, labels, motion_from_labels=motion_from_labels, categories=categories)

    @property
    def left_out(self) -> dict[str, str]:
        return self.labels.unaligned if isinstance(self.labels, Alignment) else {}

    @property
    def notes(self) -> list[str]:
        if not self.missing_labels:
            return []
        total = len(self.missing_labels) + sum(len(clip.frames) for clip in self.clips)
        count = f"{len(self.missing_labels)} of {total} frames"
        return [f"{count} have no relabelled label and are left out; the first is {self.missing_labels[0]}: is missing"]

    def _list_clips(self, only_with_image: bool, relabelled: bool) -> tuple[Clip, ...]:
        with os.scandir(self.frames_folder) as entries:
            # A leading dot marks a clip that the renderer is still writing.
            scenes = sorted((entry.name, entry.path) for entry in entries if entry.name[0] != "." and entry.is_dir())
        clips = []
        for scene, folder in scenes:
            parts: dict[str, set[str]] = {}
            for file in os.listdir(folder):
                name, _, part = file.partition("_")
                if part in (*_PARTS, LABEL) and name.isdecimal():
                    parts.setdefault(name, set()).add(part)
            names = []
            for name in sorted(parts, key=int):
                # Any file counts: a frame with a missing file is broken, not absent.
                if "color.png" not in parts[name] and (only_with_image or parts[name] == {LABEL}):
                    continue
                if relabelled and LABEL not in parts[name]:
                    self.missing_labels.append(os.path.join(folder, f"{name}_{LABEL}"))
                else:
                    names.append(name)
            if names:
                clips.append(Clip(scene, folder, tuple(names)))
        return tuple(clips)

    def _read(self, clip: Clip, name: str) -> Frame:
        stem = os.path.join(clip.folder, name)
        image = read_image(f"{stem}_color.png", cv2.IMREAD_COLOR)
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        mask = decode_mask(f"{stem}_mask.png", read_bytes(f"{stem}_mask.png"))
        coord = read_image(f"{stem}_coord.png", cv2.IMREAD_COLOR)
        depth = decode_depth(f"{stem}_depth.png", read_bytes(f"{stem}_depth.png"))
        first, size = self._first_size(clip)
        if size is not None and image.shape[:2] != size:
            raise BrokenFrameError(
                f"{stem}_color.png",
                f"is {image.shape[1]}x{image.shape[0]} but {first} is {size[1]}x{size[0]}, and a scene has one camera",
            )
        check_same_size(
            image, {f"{stem}_{part}.png": array for part, array in (("mask", mask), ("coord", coord), ("depth", depth))}
        )
        pixels = count_values(mask)
        objects = self._objects(clip.scene, name, stem, mask, coord, pixels)
        height, width = image.shape[:2]
        camera = read_camera(os.path.join(clip.folder, "intrinsics.txt"), width, height, self.intrinsics)
        poses = os.path.join(clip.folder, "camera_poses.txt")
        stamp, pose = read_camera_pose(poses, int(name))
        if not os.path.exists(poses):
            stamp = int(name) / self.frame_rate if self.frame_rate else None
            pose = self._trajectory(clip)[name] if self.motion_from_labels else None
        return Frame(
            scene=clip.scene,
            name=name,
            image=image,
            mask=mask,
            coord_bgr=coord,
            depth_mm=depth,
            objects=objects,
            camera=camera,
            stamp=stamp,
            camera_pose=pose,
        )

    def _first_size(self, clip: Clip) -> tuple[str, tuple[int, int] | None]:
        """Name, and height and width, of the first PNG of a clip with an intact header."""
        if clip.scene not in self._sizes:
            self._sizes[clip.scene] = "", None
            for name in clip.frames:
                try:
                    header = read_bytes(os.path.join(clip.folder, f"{name}_color.png"), 33)
                except BrokenFrameError:
                    continue
                # https://www.w3.org/TR/png-3/#11IHDR: width and height from byte 16, the checksum at byte 29.
                if len(header) == 33 and zlib.crc32(header[12:29]) == int.from_bytes(header[29:], "big"):
                    width, height = struct.unpack(">II", header[16:24])
                    self._sizes[clip.scene] = f"{name}_color.png", (height, width)
                    break
        return self._sizes[clip.scene]

    def _objects(
        self,
        scene: str,
        name: str,
        stem: str,
        mask: NDArray[np.uint8],
        coord: NDArray[np.uint8],
        pixels: NDArray[np.int64],
    ) -> tuple[SceneObject, ...]:
        if isinstance(self.labels, Alignment):
            return self.labels.objects(stem, f"{scene}/{name}")
        if isinstance(self.labels, Relabelling):
            return self.labels.objects(stem, mask, coord, pixels)
        label = os.path.join(self.labels, f"results_{self.labels.name}_{scene}_{name}.pkl")
        return read_objects(f"{stem}_meta.txt", label, pixels, self.categories, self.sizes)

    def _trajectory(self, clip: Clip) -> dict[str, NDArray[np.float64] | None]:
        """Camera poses of all frames of a clip by name, from the labels; computed once."""
        if clip.scene not in self._trajectories:
            labels = [self._poses_only(clip, name) for name in clip.frames]
            self._trajectories[clip.scene] = dict(zip(clip.frames, camera_trajectory(labels), strict=True))
        return self._trajectories[clip.scene]

    def _poses_only(self, clip: Clip, name: str) -> tuple[SceneObject, ...] | None:
        """The labelled objects of a frame without reading its images; None if the labels are broken."""
        stem = os.path.join(clip.folder, name)
        any_pixels = np.ones(256, np.int64)
        no_mask, no_coord = np.zeros((0, 0), np.uint8), np.zeros((0, 0, 3), np.uint8)
        try:
            return self._objects(clip.scene, name, stem, no_mask, no_coord, any_pixels)
        except BrokenFrameError:
            return None
