# SPDX-License-Identifier: Apache-2.0
"""Grasps: expected values from geometry by hand. The world is y up, the table is the plane y = 0."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqpose_core.categories import CATEGORIES, Category, category
from seqpose_core.grasping import Grasp, Gripper, plan_grasps
from seqpose_core.grasping.boxes import Boxes, gaps
from seqpose_core.grasping.shapes import laptop_lid
from seqpose_core.objects import ObjectPose
from seqpose_core.support_plane import SupportPlane

TABLE = SupportPlane(np.array([0.0, 1.0, 0.0]), 0.0)
EXACT = np.eye(6) * 1e-8


def standing(
    name: str, size: tuple[float, float, float], at: tuple[float, float] = (0.0, 0.0), covariance: np.ndarray = EXACT
) -> ObjectPose:
    """An object upright on the table, its axes along the world's."""
    centre = np.array([at[0], size[1] / 2, at[1]])
    return ObjectPose(name, 1.0, np.eye(3), centre, np.array(size), covariance, track_id=7)


def unit_cube(rotation: Rotation, *centre: float) -> Boxes:
    return Boxes(np.array([centre]), rotation.as_matrix()[None], np.full((1, 3), 0.5))


def gripper_points(grasp: Grasp, gripper: Gripper, travel: float) -> np.ndarray:
    """Points (N, 3) on a grid in the fingers and the palm, at the grasp and ``travel`` metres before it."""
    g, inner = gripper, grasp.opening / 2
    parts = [
        ([-g.finger_width / 2, s * inner, -g.finger_depth], [g.finger_width / 2, s * (inner + g.finger_thickness), 0])
        for s in (-1.0, 1.0)
    ]
    palm = ([-0.03, -0.06, -g.finger_depth - g.palm_depth], [0.03, 0.06, -g.finger_depth])
    local = np.concatenate(
        [
            np.stack(np.meshgrid(*np.linspace(low, high, 7).T, indexing="ij"), axis=-1).reshape(-1, 3)
            for low, high in [*parts, palm]
        ]
    )
    local = np.concatenate([local - [0, 0, back] for back in np.linspace(0, travel, 9)])
    return local @ grasp.pose[:3, :3].T + grasp.pose[:3, 3]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (unit_cube(Rotation.identity(), 0, 0, 0), unit_cube(Rotation.identity(), 1.5, 0.2, 0), 0.5),
        (unit_cube(Rotation.identity(), 0, 0, 0), unit_cube(Rotation.identity(), 0.9, 0, 0), -0.1),
        # An edge of the second cube, half a diagonal from its centre, faces a side of the first.
        (
            unit_cube(Rotation.identity(), 0, 0, 0),
            unit_cube(Rotation.from_euler("z", 45, degrees=True), 2, 0, 0),
            1.5 - np.sqrt(0.5),
        ),
        # Two edges cross: one along x, one along y.
        (
            unit_cube(Rotation.from_euler("x", 45, degrees=True), 0, 0, 0),
            unit_cube(Rotation.from_euler("y", 45, degrees=True), 0, 0, 2),
            2 - np.sqrt(2),
        ),
    ],
)
def test_gap_between_cubes(first: Boxes, second: Boxes, expected: float) -> None:
    assert gaps(first, second)[0, 0] == pytest.approx(expected)
    assert gaps(second, first)[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("entry", CATEGORIES, ids=lambda c: c.name)
def test_typical_object_has_grasps_above_the_table(entry: Category) -> None:
    gripper = Gripper()
    found = plan_grasps(standing(entry.name, entry.typical_size), plane=TABLE, max_grasps=1000)
    assert found
    for grasp in found:
        assert grasp.pose[:3, :3] @ grasp.pose[:3, :3].T == pytest.approx(np.eye(3))
        assert np.linalg.det(grasp.pose[:3, :3]) == pytest.approx(1)
        assert grasp.width < grasp.opening <= gripper.opening
        assert gripper_points(grasp, gripper, gripper.standoff)[:, 1].min() >= -1e-9
        assert grasp.pose[:3, 3] - grasp.pregrasp[:3, 3] == pytest.approx(gripper.standoff * grasp.pose[:3, 2])
        assert grasp.object_id == 7
    assert [g.score for g in found] == sorted((g.score for g in found), reverse=True)


@pytest.mark.parametrize("entry", CATEGORIES, ids=lambda c: c.name)
def test_gripper_is_outside_the_box_at_the_pregrasp(entry: Category) -> None:
    half = np.array(entry.typical_size) / 2
    target = standing(entry.name, entry.typical_size)
    gripper = Gripper()
    for grasp in plan_grasps(target, plane=TABLE, max_grasps=1000):
        points = gripper_points(grasp, gripper, 0.0) - gripper.standoff * grasp.pose[:3, 2] - target.translation
        assert not (np.abs(points) < half - 1e-9).all(axis=1).any()


def test_side_and_top_grasps_of_a_can_close_on_its_diameter() -> None:
    found = plan_grasps(standing("can", (0.06, 0.12, 0.06)), plane=TABLE, max_grasps=1000)
    assert {g.kind for g in found} == {"side", "top"}
    for grasp in found:
        assert grasp.width == pytest.approx(0.06)
        # The diameter between the fingers passes through the axis: their midline meets it.
        offset = np.array([grasp.pose[0, 3], 0, grasp.pose[2, 3]])
        assert grasp.pose[:3, 1] @ offset == pytest.approx(0, abs=1e-12)
        assert grasp.pose[1, 1] == pytest.approx(0, abs=1e-12)  # they close horizontally
    azimuths = {round(float(np.degrees(np.arctan2(-g.pose[2, 2], -g.pose[0, 2])))) % 360 for g in found}
    assert len(azimuths) == 16  # every 22.5 degrees


def test_object_wider_than_the_opening_has_no_grasp() -> None:
    wide = standing("can", (0.09, 0.12, 0.09))
    assert plan_grasps(wide, plane=TABLE) == []
    assert plan_grasps(wide, plane=TABLE, gripper=Gripper(opening=0.11, finger_depth=0.06))


def test_approach_is_free_of_the_other_boxes() -> None:
    target = standing("can", (0.06, 0.12, 0.06))
    others = [standing("laptop", (0.05, 0.3, 0.3), (0.10, 0.0)), standing("can", (0.06, 0.12, 0.06), (-0.02, 0.09))]
    gripper = Gripper()
    found = plan_grasps(target, others, plane=TABLE, max_grasps=1000)
    assert found
    for grasp in found:
        points = gripper_points(grasp, gripper, gripper.standoff)
        for other in others:
            inside = np.abs(points - other.translation) < other.size / 2
            assert not inside.all(axis=1).any()
    blocked = -1.0  # from +x, where the laptop stands 45 mm away
    assert all(g.pose[0, 2] > blocked + 0.01 for g in found)


def test_depth_error_prefers_closing_across_the_line_of_sight() -> None:
    """With 3 cm along z, the margin of 12.5 mm holds for closing along x, and mostly not for closing along z."""
    uncertain = np.diag([0.002, 0.002, 0.03, 1e-4, 1e-4, 1e-4]) ** 2
    best = plan_grasps(standing("can", (0.06, 0.12, 0.06), covariance=uncertain), plane=TABLE)[0]
    assert abs(best.pose[0, 1]) > 0.9
    assert abs(best.pose[2, 1]) < 0.4


def test_score_is_the_probability_that_the_part_is_between_the_fingers() -> None:
    """A margin of one sigma on either side holds 68.3 % of errors; 12.5 mm for a can of 6 cm in 8.5 cm.

    Along the width of the fingers a grasp onto the end tolerates 12 mm, which is 0.96 sigma: 66.3 %.
    """
    sigma = np.diag([0.0125, 1e-6, 0.0125, 1e-6, 1e-6, 1e-6]) ** 2
    found = plan_grasps(standing("can", (0.06, 0.3, 0.06), covariance=sigma), max_grasps=1000)
    top = [g for g in found if g.kind == "top" and g.opening == 0.085]
    assert top
    assert [g.score for g in top] == pytest.approx([0.85 * 0.6827 * 0.6629] * len(top), abs=1e-4)


def test_yaw_of_a_symmetric_object_does_not_matter() -> None:
    yaw = np.diag([1e-3, 1e-3, 1e-3, 1e-3, 2.0, 1e-3]) ** 2
    bowl = plan_grasps(standing("bowl", (0.15, 0.06, 0.15), covariance=yaw), plane=TABLE)[0]
    assert bowl.score > 0.8
    mug = plan_grasps(standing("mug", (0.12, 0.1, 0.09), covariance=yaw), plane=TABLE, max_grasps=1000)
    assert max(g.score for g in mug if g.kind == "handle") < 0.1


def test_rim_grasps_hold_the_wall_of_a_bowl() -> None:
    for grasp in plan_grasps(standing("bowl", (0.16, 0.08, 0.16)), plane=TABLE, max_grasps=1000):
        assert grasp.kind == "rim"
        # Back along the approach, the point between the fingers passes through the rim: radius 8 cm less half a wall.
        approach = grasp.pose[:3, 2]
        rim = grasp.pose[:3, 3] - approach * (grasp.pose[1, 3] - 0.08) / approach[1]
        assert np.hypot(rim[0], rim[2]) == pytest.approx(0.077, abs=1e-6)


def test_rim_grasps_of_a_mug_keep_away_from_the_handle() -> None:
    found = plan_grasps(standing("mug", (0.12, 0.1, 0.09)), plane=TABLE, max_grasps=1000)
    rim = [g for g in found if g.kind == "rim"]
    handle = [g for g in found if g.kind == "handle"]
    assert rim and handle
    axis = -0.06 + 0.045  # a body of radius 4.5 cm at the -x side
    for grasp in rim:
        azimuth = np.degrees(np.arctan2(grasp.pose[2, 3], grasp.pose[0, 3] - axis))
        assert abs(azimuth) >= 50 - 8  # a tilted grasp ends below the rim, nearer to the axis
    for grasp in handle:
        assert grasp.pose[0, 3] > axis + 0.045 and grasp.pose[2, 3] == pytest.approx(0)


@pytest.mark.parametrize("degrees", [62.0, 90.0, 106.0, 130.0])
def test_lid_angle_of_a_laptop_from_its_box(degrees: float) -> None:
    depth, base, angle = 0.22, 0.018, np.radians(degrees)
    size = np.array([depth * (1 - min(np.cos(angle), 0)), base + depth * np.sin(angle), depth / 0.68])
    lid = laptop_lid(size, base)
    assert np.degrees(np.arctan2(lid.up[1], lid.up[0])) == pytest.approx(degrees, abs=0.01)
    assert lid.length == pytest.approx(depth, abs=1e-5)
    assert lid.hinge == pytest.approx([size[0] / 2 - depth, base - size[1] / 2, 0], abs=1e-5)


def test_edge_grasps_of_a_laptop_close_across_the_lid() -> None:
    angle = np.radians(106)
    size = (0.22 * (1 - np.cos(angle)), 0.018 + 0.22 * np.sin(angle), 0.32)
    found = plan_grasps(standing("laptop", size), plane=TABLE, max_grasps=1000)
    normal = np.array([-np.sin(angle), np.cos(angle), 0])
    assert {g.kind for g in found} == {"edge"}
    for grasp in found:
        assert abs(grasp.pose[:3, 1] @ normal) == pytest.approx(1, abs=1e-4)


def test_body_grasps_of_a_camera_hold_its_ends_beside_the_lens() -> None:
    found = plan_grasps(standing("camera", (0.11, 0.085, 0.125)), plane=TABLE, max_grasps=1000)
    assert found
    for grasp in found:
        assert grasp.kind == "body"
        assert abs(grasp.pose[2, 3]) > 0.02
        assert abs(grasp.pose[0, 1]) == pytest.approx(1)  # across the body, along the optical axis


def test_lying_can_is_grasped_from_above() -> None:
    lying = ObjectPose(
        "can",
        1.0,
        Rotation.from_euler("x", 90, degrees=True).as_matrix(),
        np.array([0, 0.03, 0]),
        np.array([0.06, 0.12, 0.06]),
        EXACT,
    )
    found = plan_grasps(lying, plane=TABLE, max_grasps=1000)
    assert found[0].kind == "side"
    assert all(g.pose[1, 2] < 0.3 for g in found)  # none points up
    assert min(g.pose[1, 2] for g in found) == pytest.approx(-1)


def test_grasps_out_of_reach_are_dropped_and_near_ones_preferred() -> None:
    can = standing("can", (0.06, 0.12, 0.06))
    assert plan_grasps(can, plane=TABLE, base=np.array([1.0, 0, 0])) == []
    near = plan_grasps(can, plane=TABLE, base=np.array([0.5, 0, 0]), max_grasps=1000)
    assert len(near) == len(plan_grasps(can, plane=TABLE, max_grasps=1000))
    assert near[0].pose[0, 3] > 0  # at the side of the base


def test_a_category_without_a_model_is_grasped_as_a_box() -> None:
    brick = Category(7, "brick", False, (0.2, 0.06, 0.1), (0, 0, 0))
    target = ObjectPose(
        "brick", 1.0, np.eye(3), np.array([0, 0.03, 0]), np.array([0.2, 0.06, 0.07]), EXACT, None, 0, brick
    )
    found = plan_grasps(target, plane=TABLE, max_grasps=1000)
    assert {g.kind for g in found} == {"box"}
    from_above = [g for g in found if g.pose[1, 2] < -0.9]
    assert from_above
    assert all(g.width == pytest.approx(0.07) and abs(g.pose[2, 1]) > 0.99 for g in from_above)


def test_gripper_rejects_a_negative_length() -> None:
    with pytest.raises(ValueError, match=r"opening is -0\.01 m; it must be positive"):
        Gripper(opening=-0.01)


def test_categories_have_the_families_of_the_documentation() -> None:
    families = {"bottle": {"side", "top"}, "bowl": {"rim"}, "camera": {"body"}, "can": {"side", "top"}}
    families |= {"laptop": {"edge"}, "mug": {"rim", "handle"}}
    for name, expected in families.items():
        found = plan_grasps(standing(name, category(name).typical_size), plane=TABLE, max_grasps=1000)
        assert {g.kind for g in found} == expected
