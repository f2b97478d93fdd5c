# SPDX-License-Identifier: Apache-2.0
"""CAMERA and REAL in miniature: ray-traced scenes in the folders, files and label kinds of the originals."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
from nocs_tree import Solid, camera_looking_at_origin, default_solids, label_of, render

REAL = np.array([[591.0125, 0, 322.525], [0, 590.16775, 244.11084], [0, 0, 1]])
CAMERA = np.array([[577.5, 0, 319.5], [0, 577.5, 239.5], [0, 0, 1]])
SYNSETS = {0: "00000000", 1: "02876657", 5: "03642806", 6: "03797390"}
#: split → folder of the frames, scene, folder of the gts that NOCS publishes
SPLITS = {
    "camera_train": ("camera/train", "00000", None),
    "camera_val": ("camera/val", "00000", "val"),
    "real_train": ("real/train", "scene_1", None),
    "real_test": ("real/test", "scene_1", "real_test"),
}
#: This instance, a laptop, is left out of the relabelled pickle of frame 1, as if too few of its pixels had depth.
DROPPED = 2


def write_nocs_miniature(root: Path, frames: int = 2, relabelled: bool = True) -> dict[str, list[Solid]]:
    """Write all four splits; returns the solids of each in the world frame.

    :param relabelled: add the relabelled pickles; without them the tree holds nothing but what NOCS publishes.
    """
    solids = {}
    for number, (split, (folder, scene, gts)) in enumerate(SPLITS.items()):
        solids[split] = default_solids(np.random.default_rng(number))
        for frame in range(frames):
            pose = _camera(split, frame)
            stem = root / folder / scene / f"{frame:04d}"
            stem.parent.mkdir(parents=True, exist_ok=True)
            _write_images(str(stem), split, render(solids[split], pose, REAL if "real" in split else CAMERA, 480, 640))
            lines = [" ".join(_columns(split, solid)) for solid in solids[split]]
            Path(f"{stem}_meta.txt").write_text("\n".join(lines) + "\n")
            label = label_of(solids[split], pose)
            if gts is not None:
                (root / "gts" / gts).mkdir(parents=True, exist_ok=True)
                path = root / "gts" / gts / f"results_{gts}_{scene}_{frame:04d}.pkl"
                path.write_bytes(pickle.dumps(_published(label, solids[split], frame), protocol=2))
            if relabelled:
                shown = [s for s in solids[split] if s.class_id and not (frame == 1 and s.instance == DROPPED)]
                content = _relabelled(split, shown, label_of(shown, pose))
                Path(f"{stem}_label.pkl").write_bytes(pickle.dumps(content, protocol=3))
        _write_sizes(root / "obj_models", split, solids[split])
        if relabelled:
            _write_points(root / "obj_models", split, solids[split])
    return solids


def write_own_layout(published: Path, root: Path, split: str, solids: list[Solid]) -> None:
    """The frames of a split of the miniature in our own layout, with all labels from the rendered solids.

    :param published: root of the miniature; it holds the gts of the split, or the poses are those of the rendering.
    """
    folder, scene, gts = SPLITS[split]
    shutil.copytree(published / folder / scene, root / split / scene)
    np.savetxt(root / split / scene / "intrinsics.txt", REAL if "real" in split else CAMERA)
    named = [solid for solid in solids if solid.class_id]
    (root / "gts" / split).mkdir(parents=True)
    frames = sorted((root / split / scene).glob("*_color.png"))
    if "real" in split:  # 30 frames per second, camera poses unknown
        stamps = [[index / 30, *[np.nan] * 16] for index in range(len(frames))]
        np.savetxt(root / split / scene / "camera_poses.txt", stamps, fmt="%.18g")
    for index in range(len(frames)):
        if gts is None:
            label = label_of(solids, _camera(split, index))
        else:
            path = published / "gts" / gts / f"results_{gts}_{scene}_{index:04d}.pkl"
            sizes = np.array([solid.size for solid in named])
            label = {
                **pickle.loads(path.read_bytes()),
                "gt_class_ids": np.array([solid.class_id for solid in named]),
                "gt_scales": sizes / np.linalg.norm(sizes, axis=1, keepdims=True),
            }
        out = root / "gts" / split / f"results_{split}_{scene}_{index:04d}.pkl"
        out.write_bytes(pickle.dumps(label))


def _camera(split: str, frame: int) -> np.ndarray:
    return camera_looking_at_origin(0.3 + list(SPLITS).index(split) + 0.1 * frame, 0.6, 0.8)


def body_axis(solid: Solid) -> tuple[np.ndarray, float]:
    """Shift and scale that convert a mug's coordinates from its box centre to the axis of its body.

    The body is as wide as it is deep and starts at the lowest x; all in units of the box diagonal.
    """
    size = solid.size / np.linalg.norm(solid.size)
    shift = np.array([size[0] / 2 - size[2] / 2, 0, 0])
    return shift, float(1 / np.linalg.norm(2 * (size / 2 + np.abs(shift))))


def _columns(split: str, solid: Solid) -> list[str]:
    model = _model(split, solid)
    return [str(solid.instance), str(solid.class_id), *([] if "real" in split else [SYNSETS[solid.class_id]]), model]


def _model(split: str, solid: Solid) -> str:
    return f"{split}_{solid.class_id}"


def _write_images(stem: str, split: str, images: dict[str, np.ndarray]) -> None:
    mask, depth = images["mask"], images["depth"]
    if "real" in split:  # instances in R, other things in G and B
        images["mask"] = np.dstack([np.zeros_like(mask), mask // 2, mask])
    else:  # two bytes of depth in G and R; only objects are rendered, other pixels have a special value
        depth = np.where(mask == 255, 32001, depth)
        images["mask"] = np.dstack([mask, mask, mask])
        images["depth"] = np.dstack([np.zeros_like(mask), depth >> 8, depth & 255]).astype(np.uint8)
    for part, image in images.items():
        cv2.imwrite(f"{stem}_{part}.png", image)


def _published(label: dict[str, np.ndarray], solids: list[Solid], frame: int) -> dict[str, object]:
    """The content of a pickle in gts/: poses, and in some files the path of the image and the visibility of handles.

    The visibility is 0 for most objects that are not mugs, where it means nothing.
    """
    published: dict[str, object] = {"gt_RTs": label["gt_RTs"]}
    if frame % 2 == 0:
        named = [solid for solid in solids if solid.class_id]
        published["image_path"] = "data/real/test/scene_1/0000"
        published["handle_visibility"] = np.array([int(s.class_id == 6 and s.handle_visible) for s in named])
    return published


def _relabelled(split: str, solids: list[Solid], gts: dict[str, np.ndarray]) -> dict[str, object]:
    scales = np.cbrt(np.linalg.det(gts["gt_RTs"][:, :3, :3].astype(float)))
    rotations = gts["gt_RTs"][:, :3, :3] / scales[:, None, None]
    translations = gts["gt_RTs"][:, :3, 3].astype(float)
    for index, solid in enumerate(solids):
        if solid.class_id == 6:
            shift, scale = body_axis(solid)
            translations[index] -= scales[index] * rotations[index] @ shift
            scales[index] /= scale
    label: dict[str, object] = {
        "class_ids": [solid.class_id for solid in solids],
        "bboxes": np.zeros((len(solids), 4), np.int32),
        "scales": scales.astype(np.float32),
        "rotations": rotations.astype(np.float32),
        "translations": translations.astype(np.float32),
        "instance_ids": [solid.instance for solid in solids],
        "model_list": [_model(split, solid) for solid in solids],
    }
    if split in ("camera_val", "real_test"):
        label["handle_visibility"] = gts["gt_handle_visibility"]
    return label


def _write_sizes(folder: Path, split: str, solids: list[Solid]) -> None:
    for solid in (solid for solid in solids if solid.class_id):
        if "real" in split:  # the extents in metres, in no unit of the diagonal
            path = folder / split / f"{_model(split, solid)}.txt"
            rows = solid.size
        else:
            path = folder / split.removeprefix("camera_") / SYNSETS[solid.class_id] / _model(split, solid) / "bbox.txt"
            half = solid.size / np.linalg.norm(solid.size) / 2
            rows = np.stack([half, -half])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, rows)


def _write_points(folder: Path, split: str, solids: list[Solid]) -> None:
    """The points of the models and the origins of mugs, which are part of the relabelled pickles."""
    meta = folder / "mug_meta.pkl"
    mugs = pickle.loads(meta.read_bytes()) if meta.is_file() else {}
    models = {}
    for solid in (solid for solid in solids if solid.class_id):
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
        points = signs * solid.size / 2 / np.linalg.norm(solid.size)
        if solid.class_id == 6:
            shift, scale = mugs[_model(split, solid)] = body_axis(solid)
            points = (points + shift) * scale
        models[_model(split, solid)] = points
    (folder / f"{split}.pkl").write_bytes(pickle.dumps(models, protocol=3))
    meta.write_bytes(pickle.dumps({name: list(value) for name, value in mugs.items()}, protocol=3))
