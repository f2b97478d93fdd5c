# SPDX-License-Identifier: Apache-2.0
"""HouseCat6D and Wild6D in miniature: ray-traced frames in the folders and files of the originals."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
from nocs_tree import Solid, camera_looking_at_origin, default_solids, label_of, render

MATRIX = np.array([[200.0, 0, 112.25], [0, 205.0, 80.5], [0, 0, 1]])
HEIGHT, WIDTH = 168, 224
FRAMES = 2
#: HouseCat6D's number and name of the categories of the solids; the laptop stands for a box, the mug for a cup.
HOUSECAT6D = {1: (2, "bottle"), 5: (1, "box"), 6: (4, "cup")}


def poses(solids: list[Solid], frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """world_from_camera of a frame; rotations (N, 3, 3) and translations (N, 3) of the solids in the camera frame."""
    camera = camera_looking_at_origin(0.5 + 0.1 * frame, 0.6, 0.8)
    label = label_of(solids, camera)
    scaled = np.asarray(label["gt_RTs"], np.float64)
    scales = np.cbrt(np.linalg.det(scaled[:, :3, :3]))
    return camera, scaled[:, :3, :3] / scales[:, None, None], scaled[:, :3, 3]


def write_housecat6d(root: Path) -> list[Solid]:
    """One test scene with a bottle, a box and a cup; returns them as solids in the world frame."""
    solids = [s for s in default_solids(np.random.default_rng(3)) if s.class_id]
    scene = root / "test_scene1"
    for part in ("rgb", "instance", "depth", "labels", "pol"):
        (scene / part).mkdir(parents=True)
    for frame in range(FRAMES):
        camera, rotations, translations = poses(solids, frame)
        images = render(solids, camera, MATRIX, HEIGHT, WIDTH)
        instance = np.where(images["mask"] == 255, 0, images["mask"])
        cv2.imwrite(str(scene / f"rgb/{frame:06d}.png"), images["color"])
        cv2.imwrite(str(scene / f"instance/{frame:06d}.png"), np.dstack([instance * 0, instance * 0, instance]))
        cv2.imwrite(str(scene / f"depth/{frame:06d}.png"), images["depth"])
        label = {
            "class_ids": [HOUSECAT6D[s.class_id][0] for s in solids],
            "instance_ids": [s.instance for s in solids],
            "bboxes": np.zeros((len(solids), 4), np.int32),
            "rotations": rotations,
            "translations": translations,
            "gt_scales": np.array([s.size for s in solids]),
        }
        (scene / f"labels/{frame:06d}_label.pkl").write_bytes(pickle.dumps(label))
    np.savetxt(scene / "intrinsics.txt", MATRIX)
    lines = [f"{s.instance} {HOUSECAT6D[s.class_id][0]} {HOUSECAT6D[s.class_id][1]}-model_{s.instance}" for s in solids]
    (scene / "meta.txt").write_text("\n".join(lines))
    return solids


def write_wild6d(root: Path, scale: float = 1.0) -> dict[str, Solid]:
    """One video each of a laptop and a mug, without a list of frames for laptops; returns the solids.

    :param scale: of the rotations; the sizes are divided by it.
    """
    test_set = root / "test_set"
    solids = {"laptop": None, "mug": None}
    for solid in default_solids(np.random.default_rng(4)):
        name = {5: "laptop", 6: "mug"}.get(solid.class_id)
        if name is None:
            continue
        solids[name] = solid
        video = test_set / name / "0001" / "2"
        (video / "images").mkdir(parents=True)
        annotations = []
        for frame in range(FRAMES):
            camera, rotations, translations = poses([solid], frame)
            images = render([solid], camera, MATRIX, HEIGHT, WIDTH)
            stem = video / "images" / str(frame)
            cv2.imwrite(f"{stem}.jpg", images["color"])
            cv2.imwrite(f"{stem}-depth.png", images["depth"])
            mask = np.where(images["mask"] == 255, 0, 255).astype(np.uint8)
            cv2.imwrite(f"{stem}-mask.png", np.dstack([mask, mask, mask]))
            annotations.append(
                {
                    "name": f"{name}/0001/2/{frame}",
                    "class_id": solid.class_id,
                    "rotation": rotations[0] * scale,
                    "translation": translations[0],
                    "size": solid.size / scale,
                }
            )
        (video / "metadata").write_text(json.dumps({"K": MATRIX.T.ravel().tolist()}))
        (test_set / "pkl_annotations" / name).mkdir(parents=True)
        content = {"num_frames": FRAMES, "annotations": annotations}
        (test_set / "pkl_annotations" / name / f"{name}-0001-2.pkl").write_bytes(pickle.dumps(content))
    (test_set / "test_list_mug.txt").write_text("data/UCSD_POSE_RGBD/test_set/mug/0001/2/rgbd/1.jpg\n")
    return {name: solid for name, solid in solids.items() if solid is not None}
