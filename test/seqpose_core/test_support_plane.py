# SPDX-License-Identifier: Apache-2.0
"""Fusion of poses with a plane that objects stand on: geometry by hand, gates, covariance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support_plane_rig import (
    CAMERA_FROM_WORLD,
    EXACT,
    PITCH,
    TILT,
    UPRIGHT,
    WORLD_FROM_CAMERA,
    covariance_along,
    scaled,
    standing,
    world_pose,
)
from tiny import tiny_model

from seqpose_core import Camera, PoseEstimator, SupportPlane
from seqpose_core.categories import category as nocs_category
from seqpose_core.geometry import make_transform
from seqpose_core.metrics.calibration import coverage
from seqpose_core.pose_fusion import PoseBatch
from seqpose_core.support_plane import contact_offsets, fuse_support_plane


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.2])
@pytest.mark.parametrize("category", ["camera", "can"])
def test_an_object_at_a_wrong_distance_is_moved_to_the_plane(category: str, factor: float) -> None:
    yawed = Rotation.from_euler("z", 25, degrees=True).as_matrix() @ UPRIGHT
    true = standing(category, rotation=yawed, size=nocs_category(category).typical_size)
    (fused,) = fuse_support_plane([scaled(true, factor)], EXACT)
    assert fused.on_support
    np.testing.assert_allclose(fused.translation, true.translation, atol=0.003)
    np.testing.assert_allclose(fused.size, true.size, rtol=0.01)
    np.testing.assert_allclose(fused.rotation, true.rotation, atol=0.02)


def test_an_object_on_the_plane_keeps_its_pose_and_becomes_certain_along_the_line_of_sight() -> None:
    item = standing()
    (fused,) = fuse_support_plane([item], EXACT)
    np.testing.assert_allclose(fused.transform, item.transform, atol=1e-9)
    np.testing.assert_allclose(fused.size, item.size, atol=1e-9)
    sight = item.translation / np.linalg.norm(item.translation)
    across = np.cross(sight, [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    before, after = item.covariance[:3, :3], fused.covariance[:3, :3]
    assert sight @ after @ sight < 0.01 * (sight @ before @ sight)
    assert across @ after @ across <= across @ before @ across + 1e-12


def test_the_lowest_corner_of_a_tilted_box_touches_the_plane() -> None:
    # 45 degrees about the world's y axis: the lowest edge is (0.1 + 0.08) / (2 √2) below the centre.
    rotation = Rotation.from_euler("y", 45, degrees=True).as_matrix() @ UPRIGHT
    item = standing(rotation=rotation)
    offset = contact_offsets(PoseBatch.of([item]), EXACT.normal)[0]
    assert offset @ EXACT.normal == pytest.approx(-(0.1 + 0.08) / (2 * np.sqrt(2)), abs=1e-9)
    # The lowest point is a corner of the box.
    assert np.linalg.norm(item.corners - (item.translation + offset), axis=1).min() < 1e-9


@pytest.mark.parametrize("roll", [0.0, 20.0, 45.0, 100.0])
def test_a_lying_cylinder_touches_the_plane_with_its_side(roll: float) -> None:
    # Rotated by 90 degrees about the world's x axis the symmetry axis is horizontal; the roll about it has no effect.
    rotation = Rotation.from_euler("xy", [180.0, roll], degrees=True).as_matrix()
    bottle = standing("bottle", size=(0.07, 0.2, 0.07), rotation=rotation, height=0.05)
    (fused,) = fuse_support_plane([bottle], EXACT)
    assert fused.on_support
    assert world_pose(fused)[2, 3] == pytest.approx(fused.size[0] / 2, abs=0.002)
    assert abs(world_pose(fused)[2, 1]) < 1e-4


def test_an_upright_cylinder_touches_the_plane_with_its_base() -> None:
    can = standing("can", size=(0.07, 0.12, 0.07))
    offset = contact_offsets(PoseBatch.of([can]), EXACT.normal)[0]
    np.testing.assert_allclose(WORLD_FROM_CAMERA[:3, :3] @ offset, [0.0, 0.0, -0.06], atol=1e-6)


def test_the_up_axis_is_weighted_with_its_covariance() -> None:
    # A scalar Kalman filter: of 10 degrees, R / (P + R) remain, with P = (10 degrees)² and the noise R of the plane
    # (3 degrees, of which half the variance is about this axis) and of an object at rest (0.02 rad).
    rotation = Rotation.from_euler("x", 10, degrees=True).as_matrix() @ UPRIGHT
    plane = SupportPlane.from_frame(CAMERA_FROM_WORLD, height_noise=0.0, tilt_noise=np.radians(3))
    (fused,) = fuse_support_plane([standing(rotation=rotation, sd=0.05)], plane)
    noise = np.radians(3) ** 2 / 2 + 0.02**2
    remaining = np.degrees(np.arccos(world_pose(fused)[2, 1]))
    assert remaining == pytest.approx(10 * noise / (TILT**2 + noise), abs=0.15)  # the height has a small influence


def test_alignment_does_not_change_the_heading() -> None:
    rotation = Rotation.from_euler("ZX", [30, 8], degrees=True).as_matrix() @ UPRIGHT  # tilted, then yawed
    (fused,) = fuse_support_plane([standing(rotation=rotation)], EXACT)
    # The tilt is about the object's own x axis, which is horizontal and keeps its direction.
    np.testing.assert_allclose(world_pose(fused)[:3, 0], rotation[:, 0], atol=0.02)


@pytest.mark.parametrize(("degrees", "leans"), [(10, False), (14, True), (30, True)])
def test_a_tilt_is_kept_if_leaning_is_more_probable_than_an_error_of_this_size(degrees: float, leans: bool) -> None:
    # The variance of a tilt is (3 degrees)² + (0.02 rad)² = 0.00314 about each axis. Upright, with probability 0.95:
    # 0.95 · exp(-tilt² / (2 · 0.00314)) / (2π · 0.00314). Leaning in any direction: 0.05 / 2π. Equal for 13.4 degrees.
    tilted = Rotation.from_euler("x", degrees, degrees=True).as_matrix() @ UPRIGHT
    (fused,) = fuse_support_plane([standing(rotation=tilted, tilt_sd=np.radians(3))], EXACT)
    assert fused.on_support
    remaining = np.degrees(np.arccos(world_pose(fused)[2, 1]))
    assert remaining == pytest.approx(degrees, abs=1.0) if leans else remaining < 2


@pytest.mark.parametrize(("degrees", "leans"), [(8, False), (13, True)])
def test_a_lying_object_is_levelled_unless_leaning_is_more_probable(degrees: float, leans: bool) -> None:
    # Lying: 0.95 · exp(-tilt² / (2 · 0.00314)) / √(2π · 0.00314). Leaning: 0.05 · cos(tilt) / 2. Equal for 10.8
    # degrees.
    rotation = Rotation.from_euler("xy", [180.0, 20.0], degrees=True).as_matrix()
    tilted = Rotation.from_euler("x", degrees, degrees=True).as_matrix() @ rotation
    bottle = standing("bottle", size=(0.07, 0.2, 0.07), rotation=tilted, height=0.05, tilt_sd=np.radians(3))
    (fused,) = fuse_support_plane([bottle], EXACT)
    assert fused.on_support
    remaining = np.degrees(np.arcsin(abs(world_pose(fused)[2, 1])))
    assert remaining == pytest.approx(degrees, abs=1.0) if leans else remaining < 2


def test_an_object_upside_down_stays_upside_down() -> None:
    rotation = Rotation.from_euler("x", 175, degrees=True).as_matrix() @ UPRIGHT
    (fused,) = fuse_support_plane([standing("bowl", rotation=rotation)], EXACT)
    assert world_pose(fused)[2, 1] < -0.999


def test_a_stacked_object_keeps_its_pose_and_is_flagged() -> None:
    stacked = standing(height=0.24, sd=0.03)
    (fused,) = fuse_support_plane([stacked], EXACT)
    assert fused.on_support is False
    for name in ("rotation", "translation", "size", "covariance"):
        np.testing.assert_array_equal(getattr(fused, name), getattr(stacked, name))


@pytest.mark.parametrize(("score", "prior", "expected"), [(0.9, 0.8, True), (0.9, 0.3, False), (0.4, 0.8, False)])
def test_score_and_prior_decide_an_ambiguous_height(score: float, prior: float, expected: bool) -> None:
    # The lowest point is 6 cm above the plane. The standard deviation of its height is 4.2 cm: 7 cm along a line of
    # sight that descends by 35 degrees, and 15 % of half the height of 8 cm. The gate takes 0.8 of it, 3.4 cm, so the
    # height is off by 1.79 standard deviations.
    item = replace(standing(height=0.1, sd=0.07), score=score)
    plane = SupportPlane(EXACT.normal, EXACT.offset, 0.0, 0.0, prior)
    (fused,) = fuse_support_plane([item], plane)
    # Standing: p · exp(-1.79² / 2) / (√(2π) · 0.034 m) = 2.4 p for p = prior · score, times 0.93 for a size that is
    # 11 % larger there. Lifted by up to 0.3 m: (1 - p) · 0.96 / 0.3 m = 3.2 (1 - p). Equal for p = 0.59.
    assert fused.on_support is expected


@pytest.mark.parametrize(("relative_size", "expected"), [(1.0, True), (1.6, False)])
def test_an_object_that_would_be_too_large_on_the_plane_does_not_stand_on_it(
    relative_size: float, expected: bool
) -> None:
    # As above with p = 0.65. On the plane the object is farther away, and 11 % larger for the same image. It is a
    # camera of typical size, or 1.6 times as large: exp(-(ln 1.78)² / 2σ²) / exp(-(ln 1.6)² / 2σ²) = 0.42 for
    # σ = 0.25, so that 1.0 p is compared with 3.2 (1 - p), and equal for p = 0.76.
    size = relative_size * np.array(nocs_category("camera").typical_size)
    item = standing(height=0.06 + size[1] / 2, sd=0.07, size=(size[0], size[1], size[2]))
    plane = SupportPlane(EXACT.normal, EXACT.offset, 0.0, 0.0, 0.65 / 0.9)
    (fused,) = fuse_support_plane([item], plane)
    assert fused.on_support is expected


def test_an_object_far_below_the_plane_is_on_another_surface() -> None:
    (fused,) = fuse_support_plane([standing(height=-0.3, sd=0.03)], EXACT)
    assert fused.on_support is False


def test_an_object_above_the_horizon_is_not_on_the_plane_however_uncertain() -> None:
    (fused,) = fuse_support_plane([standing(height=1.0, sd=5.0)], EXACT)
    assert fused.on_support is False


def test_objects_are_fused_independently_of_each_other() -> None:
    objects = [
        scaled(standing("can", (0.0, 0.6)), 1.1),
        standing("mug", (-0.2, 0.9), height=0.3, sd=0.03),
        scaled(standing("laptop", (0.2, 0.8)), 0.9),
    ]
    together = fuse_support_plane(objects, EXACT)
    for item, expected in zip(together, [fuse_support_plane([o], EXACT)[0] for o in objects], strict=True):
        np.testing.assert_allclose(item.transform, expected.transform, atol=1e-12)
        assert (item.category, item.on_support) == (expected.category, expected.on_support)
    assert fuse_support_plane([], EXACT) == []


def test_the_result_does_not_depend_on_the_camera_axes() -> None:
    roll = make_transform(Rotation.from_euler("z", 70, degrees=True).as_matrix(), np.zeros(3))  # about the optical axis
    item = scaled(standing(), 1.15)
    block = np.kron(np.eye(2), roll[:3, :3])
    rotated = replace(
        item,
        rotation=roll[:3, :3] @ item.rotation,
        translation=roll[:3, :3] @ item.translation,
        covariance=block @ item.covariance @ block.T,
    )
    (expected,) = fuse_support_plane([item], EXACT)
    plane = SupportPlane.from_frame(roll @ CAMERA_FROM_WORLD, height_noise=0.0, tilt_noise=0.0)
    (fused,) = fuse_support_plane([rotated], plane)
    np.testing.assert_allclose(fused.transform, roll @ expected.transform, atol=1e-9)
    np.testing.assert_allclose(fused.covariance, block @ expected.covariance @ block.T, atol=1e-9)


def test_the_fused_covariance_covers_the_ground_truth() -> None:
    """2000 upright boxes on the table; errors are drawn from the covariances that the fusion assumes."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(50):  # planes, each with 40 objects
        ground_truths, predictions = [], []
        for _ in range(40):
            yaw = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True).as_matrix()
            true = standing("camera", (rng.uniform(-0.3, 0.3), rng.uniform(0.5, 1.0)), rotation=yaw @ UPRIGHT)
            covariance = covariance_along(true.translation, 0.08, np.radians(5))
            shift, rotation = np.split(rng.normal(size=6) @ np.linalg.cholesky(covariance).T, 2)
            ground_truths.append(true)
            predictions.append(
                replace(
                    true,
                    rotation=Rotation.from_rotvec(rotation).as_matrix() @ true.rotation,
                    translation=true.translation + shift,
                    size=true.size * [1.0, 1 + rng.normal(0, 0.2), 1.0],
                    covariance=covariance,
                )
            )
        normal = EXACT.normal + np.cross(rng.normal(0, 0.0175 / np.sqrt(2), 3), EXACT.normal)
        plane = SupportPlane(normal, -float(normal @ EXACT.pivot) + rng.normal(0, 0.01))
        fused = fuse_support_plane(predictions, plane)
        pairs += [(item, true) for item, true in zip(fused, ground_truths, strict=True) if item.on_support]
    assert len(pairs) > 1850
    result = coverage(pairs, levels=(0.5, 0.9))
    assert result.translation == pytest.approx((0.5, 0.9), abs=0.06)
    assert result.rotation[1] > 0.88  # objects at rest tilt less than the fusion assumes


def test_the_plane_of_a_frame_has_the_heights_of_that_frame() -> None:
    points = np.random.default_rng(1).normal(0, 1, (20, 3))
    plane = SupportPlane.from_frame(CAMERA_FROM_WORLD, height=0.2)
    in_world = points @ WORLD_FROM_CAMERA[:3, :3].T + WORLD_FROM_CAMERA[:3, 3]
    np.testing.assert_allclose(plane.heights(points), in_world[:, 2] - 0.2, atol=1e-12)
    assert SupportPlane(5 * plane.normal, 5 * plane.offset).offset == pytest.approx(0.4)  # the camera is 0.6 m high


def test_tilt_moves_points_beside_the_middle_of_the_view() -> None:
    plane = SupportPlane.from_frame(CAMERA_FROM_WORLD, height_noise=0.01, tilt_noise=0.02)
    # The optical axis meets the table where it has descended by 0.6 m.
    assert plane.pivot == pytest.approx([0.0, 0.0, 0.6 / np.sin(PITCH)])
    beside = plane.pivot + [0.5, 0.0, 0.0]  # the camera's x axis is horizontal
    assert plane.height_variances(plane.pivot) == pytest.approx(0.01**2)
    assert plane.height_variances(beside) == pytest.approx(0.01**2 + (0.02 * 0.5) ** 2 / 2)
    level = SupportPlane([0.0, -1.0, 0.0], 0.8)  # a camera that looks to the horizon
    assert level.pivot == pytest.approx([0.0, 0.8, 0.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normal": np.zeros(3)}, "normal"),
        ({"normal": np.array([0.0, np.nan, 1.0])}, "normal"),
        ({"normal": np.array([0.0, 1.0])}, "normal"),
        ({"offset": np.inf}, "offset"),
        ({"height_noise": -0.1}, "height_noise is -0.1"),
        ({"tilt_noise": np.nan}, "tilt_noise is nan"),
        ({"prior": 1.5}, "prior is 1.5"),
    ],
)
def test_an_impossible_plane_is_refused(changes: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"normal": np.array([0.0, -1.0, 0.0]), "offset": 0.8, **changes}
    with pytest.raises(ValueError, match=message):
        SupportPlane(**values)  # type: ignore[arg-type]


def test_the_estimator_flags_objects_only_where_a_plane_is_given() -> None:
    estimator = PoseEstimator(tiny_model(), score_threshold=0.0, min_hits=1)
    camera = Camera(600.0, 600.0, 320.0, 240.0, 640, 480)
    image = np.full((480, 640, 3), 90, np.uint8)
    plain = estimator.step(image, camera)
    estimator.reset()
    flagged = estimator.step(image, camera, support_plane=EXACT)
    assert plain and {o.on_support for o in plain} == {None}
    assert {o.on_support for o in flagged} <= {True, False}
    estimator.reset()
    for first, second in zip(plain, estimator.step(image, camera), strict=True):
        np.testing.assert_array_equal(first.transform, second.transform)
