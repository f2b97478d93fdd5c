# SPDX-License-Identifier: Apache-2.0
"""Drawing objects: lines lie where the camera projects them, and odd inputs neither crash nor smear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqpose_core.camera import Camera
from seqpose_core.categories import category
from seqpose_core.geometry import BOX_EDGES, turn_about_y
from seqpose_core.objects import ObjectPose
from seqpose_core.visualize import PREDICTION, TRUTH, Style, beside, draw_comparison, draw_objects, enlarge

CAMERA = Camera(500.0, 500.0, 319.5, 239.5, 640, 480)
BOX = ObjectPose("laptop", 0.9, turn_about_y(0.6), np.array([0.05, 0.02, 1.0]), np.array([0.3, 0.2, 0.2]), np.eye(6), 7)
LINES = Style(axes=False, labels=False)


def black() -> np.ndarray:
    return np.zeros((480, 640, 3), np.uint8)


def drawn(image: np.ndarray) -> np.ndarray:
    return np.argwhere(image.any(axis=2))[:, ::-1]  # x, y


def distance_to_edges(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """From each point (n, 2) to the nearest of a box's projected edges."""
    best = np.full(len(points), np.inf)
    for first, second in BOX_EDGES:
        a, b = corners[first], corners[second]
        t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - (a + t[:, None] * (b - a)), axis=1))
    return best


def test_edges_lie_where_the_corners_project_and_nowhere_else() -> None:
    image = draw_objects(black(), CAMERA, [BOX], LINES)
    corners = CAMERA.project(BOX.corners)
    assert distance_to_edges(drawn(image), corners).max() < 3  # half the line and its soft rim
    for first, second in BOX_EDGES:
        for share in np.linspace(0, 1, 20):
            x, y = np.round(corners[first] * (1 - share) + corners[second] * share).astype(int)
            assert image[y, x].any()


def test_boxes_have_their_categorys_colour_or_the_styles() -> None:
    corner = np.round(CAMERA.project(BOX.corners[0])).astype(int)
    assert tuple(draw_objects(black(), CAMERA, [BOX], LINES)[corner[1], corner[0]]) == category("laptop").colour
    blue = replace(LINES, colour=(0, 0, 255))
    assert tuple(draw_objects(black(), CAMERA, [BOX], blue)[corner[1], corner[0]]) == (0, 0, 255)


def test_axes_are_red_green_blue_from_the_centre() -> None:
    upright = replace(BOX, rotation=np.diag([1.0, -1.0, -1.0]))  # x right, y up in the image, z to the camera
    image = draw_objects(black(), CAMERA, [upright], Style(labels=False)).astype(int)
    x, y = np.round(CAMERA.project(upright.translation)).astype(int)
    assert image[y, x + 40].argmax() == 0
    assert image[y - 30, x].argmax() == 1


def test_labels_stay_inside_the_image() -> None:
    at_the_edge = replace(BOX, translation=np.array([0.6, -0.5, 1.0]))
    plain = draw_objects(black(), CAMERA, [at_the_edge], LINES)
    labelled = draw_objects(black(), CAMERA, [at_the_edge], Style(axes=False))
    added = np.argwhere((labelled != plain).any(axis=2))
    assert np.ptp(added[:, 1]) > 80 and np.ptp(added[:, 0]) > 10


@pytest.mark.parametrize("place", [(0.0, 0.0, -1.0), (5.0, 0.0, 1.0), (0.0, -4.0, 0.5)])
def test_what_the_camera_does_not_see_is_not_drawn(place: tuple[float, float, float]) -> None:
    assert not draw_objects(black(), CAMERA, [replace(BOX, translation=np.array(place))]).any()


def test_a_box_around_the_camera_shows_the_edges_in_front_only() -> None:
    """The camera is in the middle of a room: of its edges, the four of the far wall and four towards it are
    seen.
    """
    room = replace(BOX, rotation=np.eye(3), translation=np.zeros(3), size=np.array([2.0, 1.4, 4.0]))
    image = draw_objects(black(), CAMERA, [room], LINES)
    for x, y in (
        (-1.0, 0.0),
        (1.0, 0.0),
        (0.0, -0.7),
        (0.0, 0.7),
    ):  # middles of the far wall's edges, 2 m ahead
        u, v = np.round(CAMERA.project([x, y, 2.0])).astype(int)
        assert image[v, u].any()
    u, v = np.round(CAMERA.project([1.0, 0.7, 1.6])).astype(int)  # on the edge that runs past the camera
    assert image[v, u].any()
    assert not image[235:245, 310:330].any()


@pytest.mark.parametrize("seed", range(20))
def test_no_pose_is_too_odd_to_draw(seed: int) -> None:
    random = np.random.default_rng(seed)
    item = replace(BOX, translation=random.uniform(-1, 1, 3) * 0.3, size=random.uniform(0.01, 2, 3))
    for camera in (CAMERA, replace(CAMERA, distortion=(-0.3, 0.1, 0.001, 0.0))):
        assert draw_objects(black(), camera, [item]).shape == (480, 640, 3)


def test_a_distorted_camera_bends_the_edges() -> None:
    camera = replace(CAMERA, distortion=(-0.25, 0.05, 0.0, 0.0))
    wide = replace(BOX, rotation=np.eye(3), translation=np.array([0.0, 0.0, 1.0]), size=np.array([1.0, 0.7, 0.01]))
    image = draw_objects(black(), camera, [wide], LINES)
    for x in np.linspace(-0.5, 0.5, 9):
        u, v = np.round(camera.project([x, 0.35, 0.995])).astype(int)
        assert image[v - 1 : v + 2, u].any()
    assert not image[round(CAMERA.project([0.0, 0.35, 0.995])[1]) + 3 :].any()


def test_the_image_is_left_alone_unless_asked() -> None:
    image = black()
    copy = draw_objects(image, CAMERA, [BOX])
    assert not image.any() and copy.any()
    assert draw_objects(image, CAMERA, [BOX], in_place=True) is image
    assert np.array_equal(image, copy)
    view = np.zeros((480, 1280, 3), np.uint8)[:, 640:]  # OpenCV cannot draw on this directly
    assert draw_objects(view, CAMERA, [BOX], in_place=True) is view
    assert np.array_equal(view, copy)


def test_truth_is_green_beside_a_red_prediction() -> None:
    shifted = replace(BOX, translation=BOX.translation + [0.08, 0, 0])
    image = draw_comparison(black(), CAMERA, [shifted], [BOX])
    for item, style in ((shifted, PREDICTION), (BOX, TRUTH)):
        corner = np.round(CAMERA.project(item.corners[0])).astype(int)
        assert image[corner[1], corner[0]].argmax() == np.argmax(style.colour)


def test_images_stand_beside_each_other() -> None:
    row = beside([black(), black() + 9], ["one", "two"], gap=4)
    assert row.shape == (480, 1284, 3)
    assert (row[:, 640:644] == 255).all() and (row[100:, 644:] == 9).all()
    with pytest.raises(ValueError, match="all of one height"):
        beside([black(), black()[:100]])
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        beside([black(), black()], ["one"])


def test_an_enlarged_image_keeps_its_geometry() -> None:
    image, camera = enlarge(np.zeros((168, 224, 3), np.uint8), Camera(200, 200, 111.5, 83.5, 224, 168), 2)
    assert image.shape == (336, 448, 3)
    assert np.allclose(camera.project([0, 0, 1]), [223.5, 167.5])  # the centre stays the centre


def test_a_wrong_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"camera is 640x480 but the image is 320x240"):
        draw_objects(np.zeros((240, 320, 3), np.uint8), CAMERA, [])
    with pytest.raises(ValueError, match="must be"):
        draw_objects(np.zeros((480, 640), np.uint8), CAMERA, [])
