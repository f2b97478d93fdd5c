# SPDX-License-Identifier: Apache-2.0
"""Poses of tracks: canonical yaw of symmetric objects, and smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tracking_rig import camera_at, detection, in_camera

from seqpose_core.geometry import invert, make_transform, rotation_about_y, rotation_error
from seqpose_core.tracking import Tracker


def test_without_smoothing_the_pose_of_the_detection_is_returned() -> None:
    tracker = Tracker()
    for step in range(4):
        item = detection(
            "camera", (0.01 * step, 0.02, 1), Rotation.from_euler("xyz", [0.1, 0.2 * step, 0.3]).as_matrix()
        )
        (out,) = tracker.update([item], float(step), camera_at(0.1 * step, 0.1))
        assert np.allclose(out.rotation, item.rotation) and np.allclose(out.translation, item.translation)
        assert np.array_equal(out.size, item.size) and np.array_equal(out.covariance, item.covariance)


def test_the_x_axis_of_a_new_symmetric_object_points_to_the_camera() -> None:
    tilted = Rotation.from_euler("xyz", [2.0, 0.4, 0.3]).as_matrix()
    (out,) = Tracker().update([detection("bottle", (0.2, 0.1, 0.9), tilted)])
    towards_camera = out.rotation.T @ -out.translation
    assert towards_camera[2] == pytest.approx(0, abs=1e-12) and towards_camera[0] > 0
    assert np.allclose(out.rotation[:, 1], tilted[:, 1])


@given(yaws=st.lists(st.floats(-3.1, 3.1), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_the_frame_of_a_symmetric_object_does_not_spin(yaws: list[float]) -> None:
    """Its x axis is constant in the world for any predicted yaw, also while the camera moves around it."""
    tracker = Tracker(min_hits=1)
    upright = Rotation.from_euler("x", 180, degrees=True).as_matrix()
    in_world = []
    for index, yaw in enumerate(yaws):
        pose = camera_at(0.1 * index, -0.1 * index)
        can = detection("can", (0.0, 0.1, 1.0), upright @ rotation_about_y(yaw))
        (out,) = tracker.update([in_camera(can, pose)], float(index), pose)
        in_world.append(pose[:3, :3] @ out.rotation)
    assert np.allclose(in_world, in_world[0], atol=1e-9)


def test_the_yaw_of_a_laptop_is_unchanged() -> None:
    tracker = Tracker()
    tracker.update([detection("laptop")])
    (out,) = tracker.update([detection("laptop", rotation=rotation_about_y(1.0))])
    assert np.allclose(out.rotation, rotation_about_y(1.0))


def test_smoothing_averages_in_the_world_frame() -> None:
    """The mean of n independent poses has 1/sqrt(n) of their standard deviation, also while the camera moves."""
    random = np.random.default_rng(0)
    tracker = Tracker(min_hits=1, smoothing=0.99)
    ground_truth = detection("laptop", (0.1, 0.0, 1.0), rotation_about_y(0.5), size=(0.2, 0.2, 0.3))
    for frame in range(64):
        pose = camera_at(0.01 * frame, 0.005 * frame)
        noisy = make_transform(Rotation.from_rotvec(random.normal(0, 0.1, 3)).as_matrix(), random.normal(0, 0.02, 3))
        matrix = invert(pose) @ ground_truth.transform @ noisy
        size = tuple(ground_truth.size + random.normal(0, 0.02, 3))
        (out,) = tracker.update([detection("laptop", tuple(matrix[:3, 3]), matrix[:3, :3], size=size)], None, pose)
    world = pose @ out.transform
    assert np.linalg.norm(world[:3, 3] - ground_truth.translation) < 0.02 * np.sqrt(3) / 8 * 2
    assert rotation_error(world[:3, :3], ground_truth.rotation) < 0.1 * np.sqrt(3) / 8 * 2
    assert np.linalg.norm(out.size - ground_truth.size) < 0.02 * np.sqrt(3) / 8 * 2


def test_smoothing_does_not_average_positions_without_camera_poses() -> None:
    tracker = Tracker(min_hits=1, smoothing=0.9)
    for step in range(5):
        (out,) = tracker.update([detection(at=(0.05 * step, 0, 1), size=(0.1 + 0.01 * step, 0.1, 0.1))])
        assert out.translation[0] == pytest.approx(0.05 * step)
    assert out.size[0] == pytest.approx(np.mean([0.10, 0.11, 0.12, 0.13, 0.14]))


def test_smoothing_does_not_average_opposite_rotations() -> None:
    tracker = Tracker(min_hits=1, smoothing=0.9)
    for angle in (0.0, np.pi - 0.1):
        (out,) = tracker.update([detection(rotation=rotation_about_y(angle))], None, np.eye(4))
    assert np.allclose(out.rotation, rotation_about_y(np.pi - 0.1))


def test_smoothing_follows_a_moving_object() -> None:
    """At 6 cm per frame the average lags behind and the id is kept; a jump restarts the average."""
    tracker = Tracker(min_hits=1, smoothing=0.95)
    for step in range(20):
        (out,) = tracker.update([detection(at=(0.06 * step, 0, 1))], None, np.eye(4))
        assert out.track_id == 1
        assert abs(out.translation[0] - 0.06 * step) < 0.5 * np.linalg.norm([0.1] * 3)
    (out,) = tracker.update([detection(at=(0.06 * 19 + 0.15, 0, 1))], None, np.eye(4))
    assert out.track_id == 1 and out.translation[0] == pytest.approx(0.06 * 19 + 0.15)
    (out,) = tracker.update([detection(at=(0.06 * 19 + 0.17, 0, 1))], None, np.eye(4))
    assert out.translation[0] == pytest.approx(0.06 * 19 + 0.16)


@pytest.mark.parametrize(("smoothing", "lag"), [(0.0, 0), (0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_the_lag_of_smoothing_is_s_over_1_minus_s_frames(smoothing: float, lag: float) -> None:
    """At 1 mm and 1 mrad per frame, the smoothed pose equals the measured pose ``lag`` frames ago."""
    tracker = Tracker(min_hits=1, smoothing=smoothing)
    for step in range(400):
        size = (0.1 + 1e-4 * step, 0.1, 0.1)
        item = detection("laptop", (1e-3 * step, 0, 1), rotation_about_y(1e-3 * step), size=size)
        (out,) = tracker.update([item], None, np.eye(4))
    assert out.translation[0] == pytest.approx(1e-3 * (399 - lag), abs=1e-8)
    assert rotation_error(out.rotation, rotation_about_y(1e-3 * (399 - lag))) < 1e-6
    assert out.size[0] == pytest.approx(0.1 + 1e-4 * (399 - lag), abs=1e-8)


def test_the_lag_of_smoothing_grows_by_half_a_frame_per_frame_at_first() -> None:
    """The mean of n poses of a steady motion is the pose (n - 1) / 2 frames ago."""
    tracker = Tracker(min_hits=1, smoothing=0.95)
    for step in range(10):
        (out,) = tracker.update([detection(at=(1e-3 * step, 0, 1))], None, np.eye(4))
        assert out.translation[0] == pytest.approx(1e-3 * (step - step / 2))
