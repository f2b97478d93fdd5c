# SPDX-License-Identifier: Apache-2.0
"""A small clip in the NOCS layout, a bag made from it, and modified copies of bags."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from scipy.spatial.transform import Rotation

from seqpose_core import Camera, ObjectPose
from seqpose_core.geometry import make_transform, rotation_about_y
from train.bag_messages import typestore

WIDTH, HEIGHT, FRAMES = 96, 72, 4
CAMERA = Camera(80.0, 80.0, 47.5, 35.5, WIDTH, HEIGHT)
SIZE = np.array([0.12, 0.10, 0.08])


def mug_pose(frame: int) -> np.ndarray:
    rotation = Rotation.from_euler("xyz", [0.2, 0.1 * frame, 0.3]).as_matrix()
    return make_transform(rotation, [0.02 * frame, 0.03, 0.8])


def camera_pose(frame: int) -> np.ndarray:
    return make_transform(np.eye(3), [0.1 * frame, 0.0, 0.5])


def write_clip(root: Path, handle_visible: bool = True) -> Path:
    """A clip in the NOCS layout: a mug (instance 1) and a can with one visible pixel (2)."""
    scene, labels = root / "val" / "00003", root / "gts" / "val"
    scene.mkdir(parents=True)
    labels.mkdir(parents=True)
    diagonal = float(np.linalg.norm(SIZE))
    rows = []
    for frame in range(FRAMES):
        stem = scene / f"{frame:04d}"
        # A smooth image, so that the JPEG error is small.
        across, down = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        colour = np.stack([2 * across, 3 * down, across + down + 10 * frame], axis=-1).astype(np.uint8)
        mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
        mask[20:40, 30:50], mask[60, 60] = 1, 2
        cv2.imwrite(f"{stem}_color.png", colour[..., ::-1])
        cv2.imwrite(f"{stem}_mask.png", mask)
        cv2.imwrite(f"{stem}_coord.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        cv2.imwrite(f"{stem}_depth.png", np.full((HEIGHT, WIDTH), 800, np.uint16))
        Path(f"{stem}_meta.txt").write_text("1 6 mug_a\n2 4 can_a\n")
        scaled = mug_pose(frame)
        scaled[:3, :3] *= diagonal
        label = {
            "gt_class_ids": np.array([6, 4], np.int32),
            "gt_bboxes": np.array([[20, 30, 40, 50], [60, 60, 61, 61]], np.int32),
            "gt_RTs": np.array([scaled, scaled]),
            "gt_scales": np.array([SIZE / diagonal] * 2),
            "gt_handle_visibility": np.array([int(handle_visible), 1], np.int32),
        }
        (labels / f"results_val_00003_{frame:04d}.pkl").write_bytes(pickle.dumps(label))
        rows.append([0.1 * frame, *camera_pose(frame).ravel()])
    np.savetxt(scene / "intrinsics.txt", CAMERA.matrix)
    np.savetxt(scene / "camera_poses.txt", rows, fmt="%.9f")
    return scene


def upright_object(
    category: str,
    position: tuple[float, float, float],
    yaw: float = 0.0,
    scale: float = 1.0,
    score: float = 1.0,
) -> ObjectPose:
    """An upright object with extents SIZE times ``scale``, rotated by ``yaw`` degrees about y."""
    rotation = rotation_about_y(np.radians(yaw))
    return ObjectPose(category, score, rotation, np.array(position), SIZE * scale, np.zeros((6, 6)), 1)


def rewrite(
    source: Path,
    out: Path,
    change: Callable[[str, int, Any], Any] = lambda topic, number, message: message,
    storage: StoragePlugin = StoragePlugin.MCAP,
) -> Path:
    """Copy a bag and change its messages.

    :param change: (topic, index among the messages of the topic, message) -> message to write, bytes to write instead,
        or None to skip it.
    """
    store, connections, counts = typestore(), {}, {}
    with AnyReader([source]) as reader, Writer(out, version=9, storage_plugin=storage) as writer:
        for connection, time, raw in reader.messages():
            topic, kind = connection.topic, connection.msgtype
            counts[topic] = number = counts.get(topic, -1) + 1
            message = change(topic, number, store.deserialize_cdr(raw, kind))
            if message is None:
                continue
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            data = message if isinstance(message, bytes) else store.serialize_cdr(message, kind)
            writer.write(connections[topic], time, data)
    return out


def storage_file(bag: Path) -> Path:
    """The one .mcap or .db3 file of a bag folder."""
    (file,) = (f for f in bag.iterdir() if f.suffix in (".mcap", ".db3"))
    return file


def cut(file: Path, share: float) -> None:
    """Truncate a file to this fraction of its bytes."""
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
