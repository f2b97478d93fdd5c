# SPDX-License-Identifier: Apache-2.0
"""A small data set in the NOCS layout, ray-traced from boxes, spheroids and a table."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from seqpose_core.categories import CATEGORIES, Category, category
from seqpose_core.objects import ObjectPose
from train.data.frame import Frame

FOCAL = 200.0


@dataclass(frozen=True)
class Solid:
    """A box, or a spheroid if its category is symmetric. The pose maps object to world; class id 0 is a distractor."""

    class_id: int
    instance: int
    rotation: np.ndarray
    translation: np.ndarray
    size: np.ndarray
    handle_visible: bool = True
    categories: tuple[Category, ...] = CATEGORIES

    @property
    def is_round(self) -> bool:
        return self.class_id > 0 and category(self.class_id, self.categories).symmetric


def camera_looking_at_origin(azimuth: float, elevation: float, distance: float) -> np.ndarray:
    """world_from_camera (4, 4) of an optical frame (x right, y down, z forward); world z is up."""
    back = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.cross(-back, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(-back, right), -back], axis=1)
    pose[:3, 3] = back * distance
    return pose


def standing(yaw: float) -> np.ndarray:
    """Object → world rotation of an object that stands on the table: y up, rotated by yaw."""
    return Rotation.from_euler("z", yaw).as_matrix() @ Rotation.from_euler("x", 90, degrees=True).as_matrix()


def default_solids(random: np.random.Generator) -> list[Solid]:
    """A bottle, a laptop, a mug and a distractor on the table."""
    kinds = [(1, [0.1, 0.2, 0.1]), (5, [0.16, 0.12, 0.2]), (6, [0.12, 0.1, 0.08]), (0, [0.1, 0.1, 0.1])]
    positions = [(0.15, 0.15), (-0.15, 0.12), (0.13, -0.15), (-0.16, -0.16)]
    solids = []
    for instance, ((class_id, size), position) in enumerate(zip(kinds, positions, strict=True), start=1):
        centre = np.array([*position, size[1] / 2])
        solids.append(Solid(class_id, instance, standing(random.uniform(-3, 3)), centre, np.array(size)))
    return solids


def intersect(solid: Solid, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Ray parameter (H, W) of the first intersection with a solid, in its own frame; inf if there is none."""
    half = solid.size / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        if solid.is_round:
            o, d = origin / half, rays / half
            a, b, c = (d * d).sum(-1), (d * o).sum(-1), (o * o).sum() - 1
            root = np.sqrt(b * b - a * c)
            return np.where(np.isfinite(root), (-b - root) / a, np.inf)
        near, far = (-half - origin) / rays, (half - origin) / rays
        enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
        return np.where((enter < leave) & (enter > 0), enter, np.inf)


def render(solids: list[Solid], pose: np.ndarray, matrix: np.ndarray, height: int, width: int) -> dict[str, np.ndarray]:
    """color, mask, coord and depth images as stored (BGR order), seen from world_from_camera `pose`."""
    v, u = np.mgrid[:height, :width]
    rays = np.stack([(u - matrix[0, 2]) / matrix[0, 0], (v - matrix[1, 2]) / matrix[1, 1], np.ones_like(u)], -1)
    world = rays @ pose[:3, :3].T  # ray parameter = depth, as camera z of each ray is 1
    depth = np.where(world[..., 2] < -1e-6, -pose[2, 3] / world[..., 2], np.inf)
    mask = np.full((height, width), 255, np.uint8)
    coord = np.zeros((height, width, 3))
    colour = np.full((height, width, 3), 90.0)
    for solid in solids:
        origin = solid.rotation.T @ (pose[:3, 3] - solid.translation)
        local = world @ solid.rotation
        hit = intersect(solid, origin, local)
        seen = hit < depth
        depth = np.where(seen, hit, depth)
        mask[seen] = solid.instance
        points = origin + local * hit[..., None]
        nocs = points[seen] / np.linalg.norm(solid.size) + 0.5
        coord[seen] = np.stack([nocs[:, 0], nocs[:, 1], 1 - nocs[:, 2]], 1) if solid.class_id else 0
        colour[seen] = 60 + 40 * solid.instance + 60 * (nocs - 0.5)
    depth = np.where(depth < 5, depth, 0)
    return {
        "color": np.clip(colour[..., ::-1], 0, 255).astype(np.uint8),
        "mask": mask,
        "coord": np.round(coord[..., ::-1] * 255).astype(np.uint8),
        "depth": np.round(depth * 1000).astype(np.uint16),
    }


def write_tree(
    root: Path,
    split: str = "train",
    clips: int = 3,
    frames: int = 4,
    height: int = 168,
    width: int = 224,
    seed: int = 0,
    change: Callable[[Solid], Solid] = lambda solid: solid,
) -> list[list[Solid]]:
    """Write a data set under `root` in our layout; returns the solids of each clip in the world frame.

    :param change: applied to each of :func:`default_solids`.
    """
    random = np.random.default_rng(seed)
    matrix = np.array([[FOCAL, 0, width / 2 + 3.25], [0, FOCAL, height / 2 - 5.5], [0, 0, 1.0]])
    matrix[:2, :2] *= width / 224
    (root / "gts" / split).mkdir(parents=True)
    scenes = []
    for clip in range(clips):
        folder = root / split / f"{clip:05d}"
        folder.mkdir(parents=True)
        solids = [change(solid) for solid in default_solids(random)]
        scenes.append(solids)
        azimuth = random.uniform(-3, 3)
        rows = []
        for frame in range(frames):
            pose = camera_looking_at_origin(azimuth + 0.1 * frame, 0.6, 0.8)
            rows.append([10.0 + 0.1 * frame**1.2, *pose.ravel()])
            for part, image in render(solids, pose, matrix, height, width).items():
                cv2.imwrite(str(folder / f"{frame:04d}_{part}.png"), image)
            lines = [f"{s.instance} {s.class_id} model_{s.instance}" for s in solids]
            (folder / f"{frame:04d}_meta.txt").write_text("\n".join(lines) + "\n")
            label = label_of(solids, pose)
            (root / "gts" / split / f"results_{split}_{clip:05d}_{frame:04d}.pkl").write_bytes(pickle.dumps(label))
        np.savetxt(folder / "intrinsics.txt", matrix)
        np.savetxt(folder / "camera_poses.txt", rows)
    return scenes


def label_of(solids: list[Solid], pose: np.ndarray) -> dict[str, object]:
    """The label pickle's content for solids seen from world_from_camera `pose`."""
    named = [s for s in solids if s.class_id]
    transforms = np.tile(np.eye(4), (len(named), 1, 1))
    scales = np.zeros((len(named), 3))
    for index, solid in enumerate(named):
        diagonal = np.linalg.norm(solid.size)
        transforms[index, :3, :3] = diagonal * pose[:3, :3].T @ solid.rotation
        transforms[index, :3, 3] = pose[:3, :3].T @ (solid.translation - pose[:3, 3])
        scales[index] = solid.size / diagonal
    return {
        "image_id": 0,
        "image_path": "x",
        "gt_class_ids": np.array([s.class_id for s in named], dtype=np.int32),
        "gt_bboxes": np.zeros((len(named), 4), np.int32),
        "gt_RTs": transforms.astype(np.float32),
        "gt_scales": scales.astype(np.float32),
        "gt_handle_visibility": np.array([int(s.handle_visible) for s in named], dtype=np.int32),
    }


def object_poses(frame: Frame) -> list[ObjectPose]:
    """The labels of a frame as objects with score 1 and zero covariance; the track id is the instance id."""
    return [
        ObjectPose(
            category=item.category_info.name,
            score=1.0,
            rotation=item.rotation,
            translation=item.translation,
            size=item.size,
            covariance=np.zeros((6, 6)),
            track_id=item.instance,
            age=0,
            category_info=item.category_info,
        )
        for item in frame.objects
    ]
