# SPDX-License-Identifier: Apache-2.0
"""IoU of oriented boxes against geometry, sampling and scipy's half-space intersection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError
from scipy.spatial.transform import Rotation

from seqpose_core.metrics import iou


def box(size, centre=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0)):
    """(1, 4, 4) of a box rotated by a rotation vector in degrees."""
    transform = np.eye(4)[None]
    transform[0, :3, :3] = Rotation.from_rotvec(rotation, degrees=True).as_matrix()
    transform[0, :3, 3] = centre
    return iou.box_transforms(transform, np.asarray(size, dtype=float)[None])


def shared(a, b):
    return float(iou.oriented_intersection(a, b)[0])


def random_boxes(count, seed, spread=0.05):
    rng = np.random.default_rng(seed)
    out = np.tile(np.eye(4), (count, 1, 1))
    out[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    out[:, :3, 3] = rng.normal(size=(count, 3)) * spread + [0.1, -0.2, 1.0]
    return iou.box_transforms(out, rng.uniform(0.03, 0.3, (count, 3)))


def half_spaces(transform):
    """Rows [n, d] with n·x + d <= 0 inside the image of the unit cube."""
    inverse = np.linalg.inv(transform)
    rows = np.vstack([inverse[:3], -inverse[:3]])
    rows[:, 3] -= 0.5
    return rows / np.linalg.norm(rows[:, :3], axis=1, keepdims=True)


def volume_by_scipy(a, b):
    planes = np.vstack([half_spaces(a), half_spaces(b)])
    inside = linprog(
        [0, 0, 0, -1],
        A_ub=np.c_[planes[:, :3], np.ones(12)],
        b_ub=-planes[:, 3],
        bounds=[(None, None)] * 3 + [(0, None)],
    )
    if inside.status != 0 or inside.x[3] < 1e-7:
        return 0.0
    return ConvexHull(HalfspaceIntersection(planes, inside.x[:3]).intersections).volume


def test_the_iou_of_a_box_with_itself_is_1():
    some = random_boxes(200, 1)
    np.testing.assert_allclose(iou.oriented_iou(some, some), 1.0, rtol=0, atol=1e-12)


def test_shifted_cube_shares_a_slab():
    cube = box((1, 1, 1))
    assert shared(cube, box((1, 1, 1), (0.25, 0, 0))) == pytest.approx(0.75, abs=1e-8)
    assert shared(cube, box((1, 1, 1), (0.5, 0.5, 0.5))) == pytest.approx(0.125, abs=1e-8)
    assert float(iou.oriented_iou(cube, box((1, 1, 1), (0.5, 0, 0)))[0]) == pytest.approx(1 / 3, abs=1e-8)


def test_separate_or_touching_boxes_do_not_intersect():
    cube = box((1, 1, 1))
    assert shared(cube, box((1, 1, 1), (1.01, 0, 0))) == 0
    assert shared(cube, box((1, 1, 1), (1.0, 0, 0))) == pytest.approx(0, abs=1e-8)
    # Their axis-aligned boxes in the camera frame overlap, the boxes do not.
    assert shared(box((1, 0.1, 0.1), rotation=(0, 0, 45)), box((1, 0.1, 0.1), (0.3, -0.3, 0), (0, 0, 45))) == 0


def test_the_intersection_with_an_inner_box_is_that_box():
    assert shared(box((1, 1, 1)), box((0.2, 0.1, 0.3), (0.1, 0.1, 0), (10, 40, 70))) == pytest.approx(0.006)


def test_a_square_rotated_by_45_degrees_intersects_in_a_regular_octagon():
    for axis in np.eye(3):
        expected = 2 * (np.sqrt(2) - 1)  # area of the octagon with inscribed radius 1/2
        assert shared(box((1, 1, 1)), box((1, 1, 1), rotation=45 * axis)) == pytest.approx(expected, abs=1e-8)


def test_a_cube_rotated_by_60_degrees_about_its_diagonal_intersects_in_two_pyramids():
    # Both cubes have their corners ±(1,1,1)/2 on the axis; the intersection is the hexagonal bipyramid of
    # volume 3/4.
    rotation = 60 * np.ones(3) / np.sqrt(3)
    assert shared(box((1, 1, 1)), box((1, 1, 1), rotation=rotation)) == pytest.approx(0.75, abs=1e-8)


@pytest.mark.parametrize("quarter", [0, 90, 180])
@pytest.mark.parametrize("tilt", [0, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-5, 1e-3])
def test_nearly_coincident_faces_are_counted_once(quarter, tilt):
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = Rotation.random(random_state=7).as_matrix(), [0.1, 0.2, 1.0]
    a = world @ box((0.3, 0.2, 0.3))
    b = world @ box((0.3, 0.2, 0.3), rotation=(0.3 * tilt, quarter + tilt, -0.2 * tilt))
    # A corner of the box moves by less than its half diagonal times the angle.
    assert float(iou.oriented_iou(a, b)[0]) == pytest.approx(1.0, abs=1e-8 + 5 * np.deg2rad(tilt))


def test_agrees_with_scipy_on_random_boxes():
    a, b = random_boxes(150, 2), random_boxes(150, 3)
    expected = [volume_by_scipy(*pair) for pair in zip(a, b, strict=True)]
    assert np.count_nonzero(expected) > 100
    np.testing.assert_allclose(iou.oriented_intersection(a, b), expected, rtol=1e-6, atol=1e-10)


def test_agrees_with_monte_carlo():
    a, b = random_boxes(20, 4, 0.02), random_boxes(20, 5, 0.02)
    points = np.random.default_rng(6).uniform(-0.5, 0.5, (100_000, 3))
    for one, other in zip(a, b, strict=True):
        local = (np.linalg.inv(other) @ one @ np.c_[points, np.ones(len(points))].T)[:3]
        share = (np.abs(local) <= 0.5).all(axis=0).mean()
        sigma = np.sqrt(share * (1 - share) / len(points)) + 1e-5
        exact = shared(one[None], other[None]) / abs(np.linalg.det(one[:3, :3]))
        assert abs(exact - share) < 5 * sigma


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.05, 0.1, 0.2]), min_size=6, max_size=6),
    st.lists(st.sampled_from([-0.1, -0.05, 0.0, 0.025, 0.05]), min_size=3, max_size=3),
    st.sampled_from([(0, 0, 0), (0, 90, 0), (45, 0, 0), (0, 0, 180), (90, 90, 0), (0, 30, 0)]),
    st.integers(0, 5),
)
def test_lattice_boxes_with_many_coincident_faces_agree_with_scipy(sizes, shift, rotation, frame):
    world = np.eye(4)
    world[:3, :3] = Rotation.random(random_state=frame).as_matrix()
    a, b = world @ box(sizes[:3]), world @ box(sizes[3:], shift, rotation)
    try:
        expected = volume_by_scipy(a[0], b[0])
    except QhullError:
        return
    smaller = min(np.prod(sizes[:3]), np.prod(sizes[3:]))
    assert shared(a, b) == pytest.approx(expected, abs=1e-7 * smaller + 1e-9)
    assert shared(a, b) == pytest.approx(shared(b, a), abs=1e-7 * smaller)


def test_boxes_without_volume_or_with_undefined_values_do_not_intersect():
    flat, nan = box((1, 0, 1)), box((1, 1, 1), (np.nan, 0, 0))
    cube = box((1, 1, 1))
    for bad in (flat, nan):
        assert iou.oriented_iou(bad, cube)[0] == 0
        assert iou.oriented_iou(cube, bad)[0] == 0


def test_scale_inside_the_transform_is_part_of_the_box():
    transform = np.diag([2.0, 2.0, 2.0, 1.0])[None]
    scaled = iou.box_transforms(transform, np.array([[0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(iou.oriented_iou(scaled, box((1, 1, 1))), 1.0, atol=1e-12)


def test_symmetric_overlap_is_the_best_of_20_rotations():
    oblong = np.array([[0.3, 0.2, 0.1]])
    for degrees, best in ((18, 1.0), (90, 1.0), (9, None)):
        rotation = np.eye(4)[None]
        rotation[0, :3, :3] = Rotation.from_rotvec([0, degrees, 0], degrees=True).as_matrix()
        found = iou.symmetric_oriented_iou(rotation, oblong, iou.box_transforms(np.eye(4)[None], oblong))[0]
        if best is None:  # halfway between two rotations: an error of 9 degrees
            best = iou.oriented_iou(iou.box_transforms(rotation, oblong), iou.box_transforms(np.eye(4)[None], oblong))[
                0
            ]
            assert best < 0.95
        assert found == pytest.approx(best, abs=1e-7)


def test_fixed_intervals_are_the_camera_frame_box():
    transform = np.eye(4)[None]
    transform[0, :3, :3] = Rotation.from_rotvec([0, 0, 45], degrees=True).as_matrix()
    transform[0, :3, 3] = [0.1, 0.2, 1.0]
    low, high = iou.intervals(transform, np.array([[0.2, 0.2, 0.4]]), "fixed")
    reach = 0.1 * np.sqrt(2)
    np.testing.assert_allclose(low[0], [0.1 - reach, 0.2 - reach, 0.8])
    np.testing.assert_allclose(high[0], [0.1 + reach, 0.2 + reach, 1.2])
