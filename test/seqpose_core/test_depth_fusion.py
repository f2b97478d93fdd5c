# SPDX-License-Identifier: Apache-2.0
"""Fusion of poses with a depth image: boxes and walls whose depths are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from seqpose_core import Camera, ObjectPose
from seqpose_core.depth_fusion import fuse_depth

CAMERA = Camera(600.0, 600.0, 320.0, 240.0, 640, 480)
THICKNESS = 0.1
#: A box 1 m in front of the camera whose front face is perpendicular to the optical axis.
SIZE = np.array([0.2, 0.15, THICKNESS])


def box(category: str = "camera", at: tuple[float, float, float] = (0.0, 0.0, 1.0), sd: float = 0.3) -> ObjectPose:
    sight = np.array(at) / np.linalg.norm(at)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = sd**2 * np.outer(sight, sight) + 0.001**2 * np.eye(3)
    covariance[3:, 3:] = 0.01 * np.eye(3)
    return ObjectPose(category, 0.9, np.eye(3), np.array(at), SIZE, covariance)


def wall(depth: float) -> np.ndarray:
    return np.full((480, 640), depth, np.float32)


def expected_depth(category: str, centre: float) -> float:
    """Depth at which the surface of a box at ``centre`` is expected: a share of the thickness behind its front."""
    share = {"camera": 0.15, "can": 0.06}[category]
    return centre - THICKNESS / 2 + share * THICKNESS


@pytest.mark.parametrize("category", ["camera", "can"])
@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_an_object_is_moved_along_its_line_of_sight_to_the_measured_depth(category: str, factor: float) -> None:
    item = box(category, at=(0.1, -0.05, 1.0))
    (fused,) = fuse_depth([item], wall(factor * expected_depth(category, 1.0)), CAMERA)
    np.testing.assert_allclose(fused.translation, factor * item.translation, atol=0.004)
    assert np.trace(fused.covariance[:3, :3]) < 0.05 * np.trace(item.covariance[:3, :3])


def test_depth_that_fits_changes_only_the_covariance() -> None:
    item = box()
    (fused,) = fuse_depth([item], wall(expected_depth("camera", 1.0)), CAMERA)
    np.testing.assert_allclose(fused.translation, item.translation, atol=1e-6)
    np.testing.assert_allclose(fused.size, item.size, rtol=1e-6)


def test_an_occluder_in_front_of_a_third_of_the_object_does_not_matter() -> None:
    depth = wall(0.8 * expected_depth("camera", 1.0))
    (clear,) = fuse_depth([box()], depth, CAMERA)
    depth[:, :300] = 0.3  # left of the pixels 260 to 380 of the box
    (occluded,) = fuse_depth([box()], depth, CAMERA)
    np.testing.assert_allclose(occluded.translation, clear.translation, atol=1e-9)


@pytest.mark.parametrize("unknown", [0.0, np.nan, np.inf, -1.0])
def test_an_object_without_depth_keeps_its_pose(unknown: float) -> None:
    objects = [box(), box(at=(0.0, 0.0, -1.0)), box(at=(30.0, 0.0, 1.0))]  # in view, behind the camera, outside
    for item, fused in zip(objects, fuse_depth(objects, wall(unknown), CAMERA), strict=True):
        np.testing.assert_allclose(fused.transform, item.transform, atol=1e-12)
        np.testing.assert_allclose(fused.covariance, item.covariance, atol=1e-12)


def test_a_few_unknown_pixels_do_not_matter() -> None:
    depth = wall(0.8 * expected_depth("camera", 1.0))
    (clear,) = fuse_depth([box()], depth, CAMERA)
    depth[::3] = 0.0
    (partly,) = fuse_depth([box()], depth, CAMERA)
    np.testing.assert_allclose(partly.translation, clear.translation, atol=1e-3)


def test_a_depth_outside_the_gate_is_not_used() -> None:
    item = box(sd=0.02)
    (fused,) = fuse_depth([item], wall(2.0), CAMERA)
    np.testing.assert_allclose(fused.transform, item.transform, atol=1e-12)


def test_objects_are_fused_independently_of_each_other() -> None:
    depth = wall(0.9)
    depth[:, 320:] = 1.2
    objects = [box(at=(-0.2, 0.0, 1.0)), box("can", at=(0.2, 0.0, 1.0))]
    for item, fused in zip(objects, fuse_depth(objects, depth, CAMERA), strict=True):
        np.testing.assert_allclose(fused.transform, fuse_depth([item], depth, CAMERA)[0].transform, atol=1e-12)
    assert fuse_depth([], depth, CAMERA) == []


@pytest.mark.parametrize("depth", [wall(1.0)[:240], wall(1.0).astype(np.uint16), wall(1.0)[..., None]])
def test_a_depth_image_that_does_not_fit_the_camera_is_refused(depth: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"depth has shape|camera is 640x480"):
        fuse_depth([box()], depth, CAMERA)
