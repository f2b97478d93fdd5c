# SPDX-License-Identifier: Apache-2.0
"""Camera motion from labels, against the camera poses that the labels were made with."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from nocs_miniature import write_nocs_miniature
from nocs_tree import Solid, camera_looking_at_origin, default_solids, write_tree

from seqpose_core import config_io
from train.data import NocsClips, open_layout
from train.data.camera_motion import camera_trajectory, relative_motion
from train.data.clips import ClipSample
from train.data.frame import SceneObject
from train.fit.batches import open_clips
from train.fit.config import DataConfig, SetConfig, TrainConfig


def seen(solids: list[Solid], pose: np.ndarray) -> list[SceneObject]:
    """The labelled solids in the camera frame of world_from_camera ``pose``."""
    inverse = np.linalg.inv(pose)
    return [
        SceneObject(
            solid.class_id,
            solid.instance,
            inverse[:3, :3] @ solid.rotation,
            inverse[:3, :3] @ solid.translation + inverse[:3, 3],
            solid.size,
            solid.handle_visible,
            100,
        )
        for solid in solids
        if solid.class_id
    ]


def poses(count: int) -> list[np.ndarray]:
    return [camera_looking_at_origin(0.3 + 0.05 * k, 0.6, 0.8 - 0.01 * k) for k in range(count)]


@pytest.fixture
def solids() -> list[Solid]:
    """A bottle, a laptop and a mug (a distractor has no label)."""
    return default_solids(np.random.default_rng(0))


def test_motion_equals_that_of_the_camera(solids: list[Solid]) -> None:
    first, second = poses(2)
    expected = np.linalg.inv(second) @ first
    np.testing.assert_allclose(relative_motion(seen(solids, first), seen(solids, second)), expected, atol=1e-9)


def test_yaw_of_a_symmetric_object_has_no_influence(solids: list[Solid]) -> None:
    first, second = poses(2)
    quarter = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # about y
    rotated = [replace(o, rotation=o.rotation @ quarter) if o.class_id == 1 else o for o in seen(solids, second)]
    motion = relative_motion(seen(solids, first), rotated)
    np.testing.assert_allclose(motion, np.linalg.inv(second) @ first, atol=1e-9)


def test_a_moved_object_has_no_influence_and_two_of_three_make_it_unknown(solids: list[Solid]) -> None:
    first, second = poses(2)
    for moved in range(3):
        after = seen(solids, second)
        after[moved] = replace(after[moved], translation=after[moved].translation + [0.05, 0.0, 0.0])
        motion = relative_motion(seen(solids, first), after)
        np.testing.assert_allclose(motion, np.linalg.inv(second) @ first, atol=1e-9)
    after[1] = replace(after[1], translation=after[1].translation + [0.0, 0.05, 0.05])
    assert relative_motion(seen(solids, first), after) is None


def test_noise_of_the_labels_is_averaged(solids: list[Solid]) -> None:
    first, second = poses(2)
    random = np.random.default_rng(1)
    after = [replace(o, translation=o.translation + random.normal(0, 0.001, 3)) for o in seen(solids, second)]
    motion = relative_motion(seen(solids, first), after)
    assert motion is not None
    error = np.linalg.inv(np.linalg.inv(second) @ first) @ motion
    assert np.linalg.norm(error[:3, 3]) < 0.015 and np.trace(error[:3, :3]) > 3 - 1e-3


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_common_objects_leave_it_unknown(solids: list[Solid], count: int) -> None:
    first, second = poses(2)
    assert relative_motion(seen(solids, first), seen(solids, second)[:count]) is None


def test_a_trajectory_bridges_single_frames_and_keeps_its_largest_part(solids: list[Solid]) -> None:
    cameras = poses(12)
    frames: list[list[SceneObject] | None] = [seen(solids, pose) for pose in cameras]
    frames[2], frames[4] = None, []  # unreadable; no objects
    elsewhere = [replace(solid, instance=solid.instance + 20) for solid in solids]
    frames[9:] = [seen(elsewhere, pose) for pose in cameras[9:]]  # nothing in common with the frames before
    found = camera_trajectory(frames)
    known = [0, 1, 3, 5, 6, 7, 8]
    assert [index for index, pose in enumerate(found) if pose is not None] == known
    for index in known:
        expected = np.linalg.inv(cameras[0]) @ cameras[index]
        np.testing.assert_allclose(np.linalg.inv(found[0]) @ found[index], expected, atol=1e-8)


def test_real_frames_have_stamps_and_in_training_the_motion_of_their_camera(tmp_path: Path) -> None:
    write_nocs_miniature(tmp_path, frames=4)
    layout = open_layout(tmp_path, "real_train", "relabelled", motion_from_labels=True)
    sample = NocsClips([layout])[ClipSample(0, (0, 1, 2, 3), 0)]
    np.testing.assert_allclose(sample["stamp"].numpy(), np.arange(4) / 30)
    found = sample["camera_pose"].double().numpy()
    number = 2  # of real_train in the miniature
    cameras = [camera_looking_at_origin(0.3 + number + 0.1 * frame, 0.6, 0.8) for frame in range(4)]
    for frame in range(4):
        motion = np.linalg.inv(found[0]) @ found[frame]
        np.testing.assert_allclose(motion, np.linalg.inv(cameras[0]) @ cameras[frame], atol=1e-4)
    assert open_layout(tmp_path, "camera_train", "relabelled").read(0, 0).stamp is None


def test_sets_of_our_own_layout_without_stored_poses_get_the_motion_of_their_camera(tmp_path: Path) -> None:
    write_tree(tmp_path, "train", clips=1, frames=4)
    stored = np.array([frame.camera_pose for frame in open_layout(tmp_path, "train").frames(0)])
    (tmp_path / "train/00000/camera_poses.txt").unlink()
    found = [frame.camera_pose for frame in open_layout(tmp_path, "train", motion_from_labels=True).frames(0)]
    for first, second in pairwise(range(4)):
        expected = np.linalg.inv(stored[first]) @ stored[second]
        assert np.abs(expected - np.eye(4)).max() > 0.01
        np.testing.assert_allclose(np.linalg.inv(found[first]) @ found[second], expected, atol=1e-4)
    assert open_layout(tmp_path, "train").read(0, 0).camera_pose is None


def test_validation_does_not_get_camera_motion_from_labels(tmp_path: Path) -> None:
    write_nocs_miniature(tmp_path, frames=2)
    sets = (SetConfig("real_train", labels="relabelled"),)
    config = TrainConfig(data=DataConfig(root=str(tmp_path), train=sets, val=sets, camera_motion="labels"))
    assert config_io.from_dict(TrainConfig, config_io.to_dict(config)) == config
    train, val = (open_clips(config, sets, training=training).layouts[0].read(0, 0) for training in (True, False))
    assert train.camera_pose is not None and val.camera_pose is None
