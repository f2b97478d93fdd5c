# SPDX-License-Identifier: Apache-2.0
"""Write clips in the NOCS layout: colour, mask, coord, depth, meta, label pickles, intrinsics, camera poses.

The NOCS frame is the tight axis-aligned box centred at the origin for every category, mugs with their handle.
"""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from train.render.meshes import Array
from train.render.renderer import Rendered
from train.render.scene import Scene
from train.render.shapes import HANDLE_PART

MINIMUM_PIXELS = 10  # instances with fewer pixels have neither mask nor label in that frame
HANDLE_PIXELS = 6
# Run-length encoding halves the time of writing and of reading, at the same size.
_FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 2, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]


def scene_folder(out: Path, split: str, clip: int) -> Path:
    """Folder of a clip."""
    return out / split / f"{clip:05d}"


def is_complete(out: Path, split: str, clip: int, frames: int) -> bool:
    """Whether a clip is complete: its folder is renamed to its final name after all files are written."""
    folder = scene_folder(out, split, clip)
    return (folder / "camera_poses.txt").is_file() and (folder / f"{frames - 1:04d}_meta.txt").is_file()


def frame_labels(scene: Scene, view: Rendered, world_from_camera: Array, image_path: str) -> dict[str, object]:
    """The labels of one frame with NOCS keys, in scene order, without distractors and invisible instances."""
    camera_from_world = np.linalg.inv(world_from_camera)
    classes, boxes, poses, scales, handles = [], [], [], [], []
    for number, item in enumerate(scene.objects, start=1):
        rows, columns = np.nonzero(view.instances == number)
        if item.class_id == 0 or len(rows) == 0:
            continue
        extents = item.mesh.extents
        diagonal = float(np.linalg.norm(extents))
        pose = camera_from_world @ item.world_from_object
        pose[:3, :3] *= diagonal
        handle = 1
        if item.kind == "mug":
            handle = int(np.count_nonzero(view.parts[rows, columns] == HANDLE_PART) >= HANDLE_PIXELS)
        classes.append(item.class_id)
        boxes.append([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
        poses.append(pose)
        scales.append(extents / diagonal)
        handles.append(handle)
    return {
        "image_id": 0,
        "image_path": image_path,
        "gt_class_ids": np.array(classes, dtype=np.int32),
        "gt_bboxes": np.array(boxes, dtype=np.int32).reshape(-1, 4),
        "gt_RTs": np.array(poses, dtype=np.float64).reshape(-1, 4, 4),
        "gt_scales": np.array(scales, dtype=np.float64).reshape(-1, 3),
        "gt_handle_visibility": np.array(handles, dtype=np.int32),
    }


def remove_small_instances(view: Rendered) -> Rendered:
    """The view without instances of fewer than :data:`MINIMUM_PIXELS` pixels."""
    counts = np.bincount(view.instances.ravel())
    small = np.isin(view.instances, np.nonzero(counts < MINIMUM_PIXELS)[0])
    if not small.any():
        return view
    nocs, instances = view.nocs.copy(), view.instances.copy()
    nocs[small], instances[small] = 0, 0
    return Rendered(view.radiance, nocs, view.depth, instances, view.parts)


class ClipWriter:
    """Writes the frames of one clip to a temporary folder; :meth:`finish` renames it."""

    def __init__(self, out: Path, split: str, clip: int, scene: Scene, intrinsics: Array) -> None:
        self.out, self.split, self.clip, self.scene = out, split, clip, scene
        self.final = scene_folder(out, split, clip)
        self.folder = self.final.with_name(f".{self.final.name}.tmp")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.gts = out / "gts" / split
        self.gts.mkdir(parents=True, exist_ok=True)
        np.savetxt(self.folder / "intrinsics.txt", intrinsics, fmt="%.8f")
        self.poses: list[Array] = []

    def add(self, view: Rendered, colour: NDArray[np.uint8], world_from_camera: Array, stamp: float) -> None:
        """Write the next frame; ``stamp`` in seconds."""
        index = len(self.poses)
        view = remove_small_instances(view)
        stem = f"{index:04d}"
        coord = np.round(view.nocs * 255).astype(np.uint8)
        seen = view.instances > 0
        coord[..., 2] = np.where(seen, 255 - coord[..., 2], 0)
        mask = np.where(seen, view.instances, 255).astype(np.uint8)
        depth = np.clip(np.round(view.depth * 1000), 0, 65535).astype(np.uint16)
        for name, image in (
            ("color", cv2.cvtColor(colour, cv2.COLOR_RGB2BGR)),
            ("mask", mask),
            ("coord", cv2.cvtColor(coord, cv2.COLOR_RGB2BGR)),
            ("depth", depth),
        ):
            path = self.folder / f"{stem}_{name}.png"
            if not cv2.imwrite(str(path), image, _FAST_PNG):
                raise OSError(f"could not write {path}")
        lines = [
            f"{number} {item.class_id} {item.model}\n"
            for number, item in enumerate(self.scene.objects, start=1)
            if (view.instances == number).any()
        ]
        (self.folder / f"{stem}_meta.txt").write_text("".join(lines))
        labels = frame_labels(self.scene, view, world_from_camera, f"{self.split}/{self.final.name}/{stem}")
        labels["image_id"] = index
        name = f"results_{self.split}_{self.final.name}_{stem}.pkl"
        (self.gts / name).write_bytes(pickle.dumps(labels, protocol=4))
        self.poses.append(np.concatenate([[stamp], world_from_camera.ravel()]))

    def finish(self) -> None:
        """Write the camera poses and move the clip to its final name."""
        np.savetxt(self.folder / "camera_poses.txt", np.array(self.poses), fmt="%.9f")
        shutil.rmtree(self.final, ignore_errors=True)
        self.folder.rename(self.final)
