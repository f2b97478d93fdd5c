# SPDX-License-Identifier: Apache-2.0
"""Transforms, boxes and errors against scipy and hand calculation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from seqpose_core import ObjectPose, geometry

angles = st.floats(-np.pi, np.pi)
rotations = st.integers(0, 2**32 - 1).map(lambda s: Rotation.random(random_state=s).as_matrix())


@given(rotations, rotations)
def test_rotation_error_agrees_with_scipy(first: np.ndarray, second: np.ndarray) -> None:
    expected = Rotation.from_matrix(first.T @ second).magnitude()
    assert geometry.rotation_error(first, second) == pytest.approx(expected, abs=1e-7)


@given(rotations, angles)
def test_rotation_about_y_is_no_error_for_a_symmetric_object(rotation: np.ndarray, angle: float) -> None:
    rotated = rotation @ geometry.rotation_about_y(angle)
    assert geometry.rotation_error(rotation, rotated, symmetric=True) == pytest.approx(0, abs=1e-7)
    assert geometry.rotation_error(rotation, rotated) == pytest.approx(abs(angle), abs=1e-6)


def test_small_and_large_angles_are_exact() -> None:
    for angle in (1e-9, 1e-5, np.pi - 1e-7, np.pi):
        rotated = Rotation.from_rotvec([angle, 0, 0]).as_matrix()
        for symmetric in (False, True):
            assert geometry.rotation_error(np.eye(3), rotated, symmetric) == pytest.approx(angle, rel=1e-6)


@given(rotations, st.integers(0, 2**32 - 1))
def test_canonicalising_preserves_y_and_aligns_x_with_the_direction(rotation: np.ndarray, seed: int) -> None:
    direction = np.random.default_rng(seed).normal(size=3)
    result = geometry.canonicalize_symmetric(rotation, direction)
    np.testing.assert_allclose(result[:, 1], rotation[:, 1], atol=1e-12)
    # x is along the component of the direction orthogonal to y: the z component is 0 and the x component positive.
    assert result[:, 2] @ direction == pytest.approx(0, abs=1e-9)
    assert result[:, 0] @ direction >= 0
    np.testing.assert_allclose(result @ result.T, np.eye(3), atol=1e-12)


def test_a_direction_along_y_leaves_the_rotation_unchanged() -> None:
    np.testing.assert_array_equal(geometry.canonicalize_symmetric(np.eye(3), [0, 2.0, 0]), np.eye(3))


@given(rotations)
def test_invert_agrees_with_numpy(rotation: np.ndarray) -> None:
    matrix = geometry.make_transform(rotation, [0.3, -1.0, 2.0])
    np.testing.assert_allclose(geometry.invert(matrix), np.linalg.inv(matrix), atol=1e-12)


def test_box_corners_and_edges() -> None:
    corners = geometry.box_corners([2.0, 4.0, 6.0])
    assert {tuple(c) for c in corners} == {(x, y, z) for x in (-1, 1) for y in (-2, 2) for z in (-3, 3)}
    lengths = sorted(np.linalg.norm(corners[a] - corners[b]) for a, b in geometry.BOX_EDGES)
    assert lengths == [2.0] * 4 + [4.0] * 4 + [6.0] * 4


def test_corners_of_an_object_are_in_the_camera_frame() -> None:
    rotation = Rotation.from_euler("z", 90, degrees=True).as_matrix()  # object x becomes camera y
    item = ObjectPose("mug", 0.9, rotation, np.array([0, 0, 1.0]), np.array([0.4, 0.2, 0.1]), np.eye(6))
    assert np.ptp(item.corners, axis=0) == pytest.approx([0.2, 0.4, 0.1])
    assert item.corners.mean(0) == pytest.approx([0, 0, 1.0])
    assert item.transform @ [0.2, 0, 0, 1] == pytest.approx([0, 0.2, 1, 1])
