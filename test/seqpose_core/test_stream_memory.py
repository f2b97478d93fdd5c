# SPDX-License-Identifier: Apache-2.0
"""The memory of a stream in NumPy equals QueryMemory of the network, which training uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from seqpose_core.geometry import rotation_vector
from seqpose_core.model.memory import FrameMotion, QueryMemory, TopQueries, relative_motion
from seqpose_core.stream_memory import LONGEST_GAP, StreamMemory

SLOTS, WIDTH, TOP_K = 6, 4, 2


def random_pose(random: np.random.Generator) -> np.ndarray:
    """A camera far from the origin, where float32 would not be exact."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=random).as_matrix()
    pose[:3, 3] = random.normal(0, 1e4, 3)
    return pose


def as_tensor(value: float | np.ndarray | None) -> torch.Tensor | None:
    return None if value is None else torch.from_numpy(np.asarray(value, np.float64)[None])


def test_five_frames_with_unknown_poses_and_stamps_give_the_same_inputs() -> None:
    random = np.random.default_rng(0)
    memory, reference = StreamMemory(SLOTS, WIDTH), QueryMemory.empty(1, SLOTS, WIDTH)
    for index in range(5):
        pose = None if index == 2 else random_pose(random)
        stamp = None if index == 1 else 1.7e9 + 0.1 * index
        frame = FrameMotion.from_optional(as_tensor(pose), as_tensor(stamp), reference)
        relative, inputs = relative_motion(reference, frame), memory.inputs(stamp, pose)
        for name in ("motion", "elapsed", "known"):
            np.testing.assert_allclose(inputs[name], getattr(relative, name)[0].numpy(), atol=1e-6, err_msg=name)
        for name in ("embedding", "reference", "valid"):
            np.testing.assert_array_equal(inputs[name], getattr(reference, name)[0].numpy(), err_msg=name)
        newest = {
            "new_embedding": random.normal(size=(TOP_K, WIDTH)).astype(np.float32),
            "new_reference": random.normal(size=(TOP_K, 3)).astype(np.float32),
            "new_valid": np.array([True, index != 3]),
        }
        memory.push(newest, stamp, pose)
        reference = reference.push(TopQueries(*(torch.from_numpy(array)[None] for array in newest.values())), frame)


def test_an_invalid_slot_has_no_motion_and_a_long_gap_is_clamped() -> None:
    memory = StreamMemory(2, 1)
    newest = {"new_embedding": np.ones((2, 1)), "new_reference": np.ones((2, 3)), "new_valid": np.array([True, False])}
    memory.push(newest, 0.0, np.eye(4))
    moved = np.eye(4)
    moved[:3, 3] = 1.0, 2.0, 3.0
    inputs = memory.inputs(1000.0, moved)
    assert inputs["elapsed"].tolist() == [LONGEST_GAP, 0.0]
    assert inputs["known"].tolist() == [True, False]
    np.testing.assert_array_equal(inputs["motion"][0], np.c_[np.eye(3), [-1.0, -2.0, -3.0]])
    np.testing.assert_array_equal(inputs["motion"][1], np.eye(3, 4))


def test_a_pose_that_is_not_finite_is_unknown() -> None:
    memory = StreamMemory(2, 1)
    newest = {"new_embedding": np.ones((2, 1)), "new_reference": np.ones((2, 3)), "new_valid": np.ones(2, bool)}
    broken = np.eye(4)
    broken[0, 3] = np.nan
    memory.push(newest, 0.0, broken)
    assert not memory.inputs(0.1, np.eye(4))["known"].any()
    memory.push(newest, 0.1, np.eye(4))
    assert not memory.inputs(0.2, broken)["known"].any()


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, 2.0, np.pi - 1e-7, np.pi])
def test_rotation_vectors_equal_those_of_scipy_at_all_angles(angle: float) -> None:
    axes = np.random.default_rng(1).normal(size=(50, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    matrices = Rotation.from_rotvec(angle * axes).as_matrix()
    found = rotation_vector(matrices)
    np.testing.assert_allclose(Rotation.from_rotvec(found).as_matrix(), matrices, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), angle, atol=1e-9)
