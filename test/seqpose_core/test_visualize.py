# SPDX-License-Identifier: Apache-2.0
"""Drawing objects: lines are where the camera projects them, and objects outside the view are not drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqpose_core.camera import Camera
from seqpose_core.categories import category
from seqpose_core.geometry import BOX_EDGES, rotation_about_y
from seqpose_core.objects import ObjectPose
from seqpose_core.visualize import Style, draw_objects, hstack_images

CAMERA = Camera(500.0, 500.0, 319.5, 239.5, 640, 480)
BOX = ObjectPose(
    "laptop", 0.9, rotation_about_y(0.6), np.array([0.05, 0.02, 1.0]), np.array([0.3, 0.2, 0.2]), np.eye(6), 7
)
LINES = Style(axes=False, labels=False)


def black_image() -> np.ndarray:
    return np.zeros((480, 640, 3), np.uint8)


def drawn_pixels(image: np.ndarray) -> np.ndarray:
    return np.argwhere(image.any(axis=2))[:, ::-1]  # x, y


def distance_to_edges(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance (n,) of points (n, 2) to the nearest projected edge of a box."""
    nearest = np.full(len(points), np.inf)
    for first, second in BOX_EDGES:
        a, b = corners[first], corners[second]
        t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - (a + t[:, None] * (b - a)), axis=1))
    return nearest


def test_only_edges_between_projected_corners_are_drawn() -> None:
    image = draw_objects(black_image(), CAMERA, [BOX], LINES)
    corners = CAMERA.project(BOX.corners)
    assert distance_to_edges(drawn_pixels(image), corners).max() < 3  # half the line width and antialiasing
    for first, second in BOX_EDGES:
        for fraction in np.linspace(0, 1, 20):
            x, y = np.round(corners[first] * (1 - fraction) + corners[second] * fraction).astype(int)
            assert image[y, x].any()


def test_boxes_have_the_colour_of_their_category_or_of_the_style() -> None:
    corner = np.round(CAMERA.project(BOX.corners[0])).astype(int)
    assert tuple(draw_objects(black_image(), CAMERA, [BOX], LINES)[corner[1], corner[0]]) == category("laptop").colour
    blue = replace(LINES, colour=(0, 0, 255))
    assert tuple(draw_objects(black_image(), CAMERA, [BOX], blue)[corner[1], corner[0]]) == (0, 0, 255)


def test_axes_are_red_green_and_blue_and_start_at_the_centre() -> None:
    upright = replace(BOX, rotation=np.diag([1.0, -1.0, -1.0]))  # x right, y up in the image, z to the camera
    image = draw_objects(black_image(), CAMERA, [upright], Style(labels=False)).astype(int)
    x, y = np.round(CAMERA.project(upright.translation)).astype(int)
    assert image[y, x + 40].argmax() == 0
    assert image[y - 30, x].argmax() == 1


def test_labels_stay_inside_the_image() -> None:
    at_the_edge = replace(BOX, translation=np.array([0.6, -0.5, 1.0]))
    plain = draw_objects(black_image(), CAMERA, [at_the_edge], LINES)
    labelled = draw_objects(black_image(), CAMERA, [at_the_edge], Style(axes=False))
    added = np.argwhere((labelled != plain).any(axis=2))
    assert np.ptp(added[:, 1]) > 80 and np.ptp(added[:, 0]) > 10


@pytest.mark.parametrize("position", [(0.0, 0.0, -1.0), (5.0, 0.0, 1.0), (0.0, -4.0, 0.5)])
def test_objects_outside_the_view_are_not_drawn(position: tuple[float, float, float]) -> None:
    assert not draw_objects(black_image(), CAMERA, [replace(BOX, translation=np.array(position))]).any()


def test_only_edges_in_front_of_the_camera_are_drawn() -> None:
    """The camera is at the centre of the box: its far face and the four edges towards it are visible."""
    box = replace(BOX, rotation=np.eye(3), translation=np.zeros(3), size=np.array([2.0, 1.4, 4.0]))
    image = draw_objects(black_image(), CAMERA, [box], LINES)
    for x, y in (
        (-1.0, 0.0),
        (1.0, 0.0),
        (0.0, -0.7),
        (0.0, 0.7),
    ):  # midpoints of the far face's edges, 2 m ahead
        u, v = np.round(CAMERA.project([x, y, 2.0])).astype(int)
        assert image[v, u].any()
    u, v = np.round(CAMERA.project([1.0, 0.7, 1.6])).astype(int)  # on an edge that extends behind the camera
    assert image[v, u].any()
    assert not image[235:245, 310:330].any()


@pytest.mark.parametrize("seed", range(20))
def test_objects_around_the_camera_are_drawn_without_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    item = replace(BOX, translation=random.uniform(-1, 1, 3) * 0.3, size=random.uniform(0.01, 2, 3))
    for camera in (CAMERA, replace(CAMERA, distortion=(-0.3, 0.1, 0.001, 0.0))):
        assert draw_objects(black_image(), camera, [item]).shape == (480, 640, 3)


def test_edges_follow_the_distortion() -> None:
    camera = replace(CAMERA, distortion=(-0.25, 0.05, 0.0, 0.0))
    wide = replace(BOX, rotation=np.eye(3), translation=np.array([0.0, 0.0, 1.0]), size=np.array([1.0, 0.7, 0.01]))
    image = draw_objects(black_image(), camera, [wide], LINES)
    for x in np.linspace(-0.5, 0.5, 9):
        u, v = np.round(camera.project([x, 0.35, 0.995])).astype(int)
        assert image[v - 1 : v + 2, u].any()
    assert not image[round(CAMERA.project([0.0, 0.35, 0.995])[1]) + 3 :].any()


def test_the_image_is_unchanged_unless_in_place() -> None:
    image = black_image()
    copy = draw_objects(image, CAMERA, [BOX])
    assert not image.any() and copy.any()
    assert draw_objects(image, CAMERA, [BOX], in_place=True) is image
    assert np.array_equal(image, copy)
    view = np.zeros((480, 1280, 3), np.uint8)[:, 640:]  # OpenCV cannot draw on this directly
    assert draw_objects(view, CAMERA, [BOX], in_place=True) is view
    assert np.array_equal(view, copy)


def test_images_are_stacked_in_a_row() -> None:
    row = hstack_images([black_image(), black_image() + 9], ["one", "two"], gap=4)
    assert row.shape == (480, 1284, 3)
    assert (row[:, 640:644] == 255).all() and (row[100:, 644:] == 9).all()
    with pytest.raises(ValueError, match="all of equal height"):
        hstack_images([black_image(), black_image()[:100]])
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        hstack_images([black_image(), black_image()], ["one"])


def test_an_image_of_another_size_or_shape_raises_an_error() -> None:
    with pytest.raises(ValueError, match=r"camera is 640x480 but the image is 320x240"):
        draw_objects(np.zeros((240, 320, 3), np.uint8), CAMERA, [])
    with pytest.raises(ValueError, match="must be"):
        draw_objects(np.zeros((480, 640), np.uint8), CAMERA, [])
