# SPDX-License-Identifier: Apache-2.0
"""Procedural shapes: real sizes, NOCS axes, surfaces that face outwards."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from train.render.distractors import DISTRACTORS
from train.render.meshes import MAXIMUM_PARTS, SURFACES, Mesh, lathe, panel, rotation_about, rounded_box
from train.render.scene import instance_mesh
from train.render.shapes import HANDLE_PART, SHAPES

SAMPLES = 16


@cache
def shapes(kind: str) -> list[Mesh]:
    return [instance_mesh("train", kind, index) for index in range(SAMPLES)]


def face_normals(mesh: Mesh) -> np.ndarray:
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    return np.cross(b - a, c - a)


def volume(mesh: Mesh) -> float:
    """Enclosed volume by the divergence theorem: correct only for closed meshes with outward faces."""
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def part_centre(mesh: Mesh, part: int) -> np.ndarray:
    return mesh.vertices[mesh.parts == part].mean(axis=0)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("bottle", (0.02, 0.10, 0.035), (0.16, 0.35, 0.13)),
        ("bowl", (0.09, 0.03, 0.09), (0.24, 0.13, 0.24)),
        ("camera", (0.02, 0.03, 0.05), (0.26, 0.22, 0.17)),
        ("can", (0.05, 0.03, 0.05), (0.12, 0.24, 0.12)),
        ("laptop", (0.15, 0.10, 0.235), (0.60, 0.34, 0.40)),
        ("mug", (0.07, 0.05, 0.05), (0.18, 0.145, 0.125)),
    ],
)
def test_sizes_are_those_of_real_objects(kind: str, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    extents = np.array([mesh.extents for mesh in shapes(kind)])
    assert (extents >= np.array(low) - 1e-9).all()
    assert (extents <= np.array(high) + 1e-9).all()
    assert (extents.std(axis=0) > 0.0005).all(), "instances of a category differ in size"


@pytest.mark.parametrize("kind", [*SHAPES, *DISTRACTORS])
def test_the_origin_is_the_box_centre(kind: str) -> None:
    for mesh in shapes(kind):
        np.testing.assert_allclose(mesh.vertices.max(axis=0), -mesh.vertices.min(axis=0), atol=1e-9)


@pytest.mark.parametrize("kind", [*SHAPES, *DISTRACTORS])
def test_normals_are_unit_and_agree_with_the_faces(kind: str) -> None:
    for mesh in shapes(kind):
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-6)
        facing = (face_normals(mesh) * mesh.normals[mesh.faces].mean(axis=1)).sum(axis=1)
        assert (facing > -1e-12).all()


def test_bowls_and_round_bottles_are_symmetric_about_y() -> None:
    # Oval and square bottles and those with a handle, a pump or a trigger are not; they are the minority.
    round_bottles = [mesh for mesh in shapes("bottle") if mesh.extents[0] == pytest.approx(mesh.extents[2], abs=1e-9)]
    assert len(round_bottles) > SAMPLES / 2
    for mesh in [*shapes("bowl"), *round_bottles]:
        quarter = mesh.vertices @ rotation_about("y", np.pi / 2).T
        np.testing.assert_allclose(quarter.max(axis=0), mesh.vertices.max(axis=0), atol=1e-9)
        assert mesh.extents[0] == pytest.approx(mesh.extents[2], abs=1e-9)


def test_the_mug_handle_points_along_plus_x() -> None:
    for mesh in shapes("mug"):
        handle = mesh.vertices[mesh.parts == HANDLE_PART]
        body = mesh.vertices[mesh.parts != HANDLE_PART]
        assert handle[:, 0].max() > body[:, 0].max() + 0.012
        assert abs(handle[:, 2].max() + handle[:, 2].min()) < 1e-6
        # A mug is open at the top: no face of the body is there.
        top = body[body[:, 1] > body[:, 1].max() - 1e-4]
        middle = (body[:, 0].max() + body[:, 0].min()) / 2
        assert np.hypot(top[:, 0] - middle, top[:, 2]).min() > 0.02


def test_the_camera_lens_looks_along_plus_x_and_its_width_lies_along_z() -> None:
    for mesh in shapes("camera"):
        glass = mesh.vertices[(mesh.parts == 3) & (mesh.normals[:, 0] > 0.99)]
        screen = mesh.normals[mesh.parts == 4]
        # The barrel (part 2) rings the front glass, well before the screen on the back.
        assert mesh.vertices[mesh.parts == 2, 0].max() >= glass[:, 0].max() - 0.002
        assert glass[:, 0].max() > part_centre(mesh, 4)[0] + 0.015
        np.testing.assert_allclose(screen, np.tile([-1.0, 0, 0], (len(screen), 1)), atol=1e-9)
        # The body's leather and trim are wider than deep.
        body = mesh.vertices[mesh.parts == 1]
        assert np.ptp(body[:, 2]) > np.ptp(body[:, 0])


def test_the_laptop_base_is_at_plus_x_its_lid_at_minus_x_and_the_hinge_along_z() -> None:
    for mesh in shapes("laptop"):
        keyboard, screen = part_centre(mesh, 1), part_centre(mesh, 3)
        assert keyboard[0] > screen[0]
        assert screen[1] > keyboard[1]
        np.testing.assert_allclose(mesh.normals[mesh.parts == 1], np.tile([0.0, 1, 0], (4, 1)), atol=1e-9)
        # Opening angle between base and lid: 60 to 150 degrees, the screen facing the user at +x.
        normal = mesh.normals[mesh.parts == 3][0]
        opening = np.degrees(np.pi - np.arccos(np.clip(normal[1], -1, 1)))
        assert 59.9 <= opening <= 150.1
        assert normal[0] > 0.49
        hinge = mesh.vertices[mesh.parts == 6]
        assert np.argmax(np.ptp(hinge, axis=0)) == 2


def test_the_laptop_keyboard_is_upright_for_its_user() -> None:
    mesh = instance_mesh("train", "laptop", 0)
    keys = mesh.parts == 1
    # The user at +x looking towards -x has -z on the right and the far row (v = 0) at -x.
    right_end = mesh.vertices[keys & (mesh.uvs[:, 0] == 1)]
    far_row = mesh.vertices[keys & (mesh.uvs[:, 1] == 0)]
    assert (right_end[:, 2] < 0).all()
    assert far_row[:, 0].max() < part_centre(mesh, 1)[0]


def test_a_lathed_cylinder_encloses_its_polygon_prism() -> None:
    radius, height, segments = 0.03, 0.1, 24
    mesh = lathe([[0, 0], [radius, 0], [radius, height], [0, height]], segments=segments)
    polygon = segments / 2 * np.sin(2 * np.pi / segments) * radius**2
    assert volume(mesh) == pytest.approx(polygon * height, rel=1e-9)


def test_sharp_bends_of_a_profile_keep_their_edge() -> None:
    mesh = lathe([[0, 0], [1, 0], [1, 2], [0, 2]])
    axial = np.abs(mesh.normals[:, 1])
    assert ((axial < 1e-9) | (axial > 1 - 1e-9)).all()


def test_a_rounded_box_has_its_size_and_nearly_its_volume() -> None:
    size, r = np.array([0.2, 0.1, 0.3]), 0.02
    mesh = rounded_box(size, r, steps=16)
    np.testing.assert_allclose(mesh.extents, size, atol=1e-12)
    a, b, c = size - 2 * r
    # Steiner: the inner box grown by r.
    steiner = a * b * c + 2 * r * (a * b + b * c + c * a) + np.pi * r**2 * (a + b + c) + 4 / 3 * np.pi * r**3
    assert volume(mesh) == pytest.approx(steiner, rel=2e-3)


def test_a_panel_faces_right_cross_up() -> None:
    mesh = panel([0, 0, 0], [2, 0, 0], [0, 1, 0])
    np.testing.assert_allclose(mesh.normals, np.tile([0.0, 0, 1], (4, 1)))
    assert (face_normals(mesh)[:, 2] > 0).all()
    top_left = mesh.vertices[(mesh.uvs == 0).all(axis=1)][0]
    np.testing.assert_allclose(top_left, [-1, 0.5, 0])


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_rotation_about_agrees_with_scipy(axis: str) -> None:
    np.testing.assert_allclose(rotation_about(axis, 0.7), Rotation.from_euler(axis, 0.7).as_matrix(), atol=1e-12)


def test_an_unknown_axis_is_named() -> None:
    with pytest.raises(ValueError, match="'w'"):
        rotation_about("w", 1.0)


@pytest.mark.parametrize("kind", [*SHAPES, *DISTRACTORS])
def test_every_part_has_a_named_surface(kind: str) -> None:
    for mesh in shapes(kind):
        assert mesh.parts.max() < len(mesh.surfaces) <= MAXIMUM_PARTS
        assert set(mesh.surfaces) <= SURFACES


@pytest.mark.parametrize("kind", [*SHAPES, *DISTRACTORS])
def test_splits_share_no_instance(kind: str) -> None:
    seen = [
        {tuple(np.round(instance_mesh(split, kind, index).extents, 9)) for index in range(12)}
        for split in ("train", "val", "test")
    ]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
