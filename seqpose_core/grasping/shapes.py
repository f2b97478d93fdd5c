# SPDX-License-Identifier: Apache-2.0
"""The shape of a category inside its box, as a few boxes in the object frame.

Object frame: NOCS axes, origin at the centre of the box, y up; mug handle at +x; camera lens at +x; laptop base at +x,
lid at -x, hinge along z. Proportions are those of everyday objects; only the box is measured.

A shape is a function of the full extents (3,) of the box, metres, that returns Boxes (N).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from seqpose_core.categories import Category
from seqpose_core.geometry import rotation_about_y
from seqpose_core.grasping.boxes import Boxes, concatenate

#: Thickness of the walls of bowls and mugs and of a laptop's lid, metres.
WALL = 0.006
LID = 0.008
#: Depth of a camera's body without the lens, at most, metres.
_CAMERA_BODY = 0.055


def axis_aligned(centre: ArrayLike, size: ArrayLike) -> Boxes:
    """Boxes (N) along the axes of the frame, of centres (N, 3) and full extents (N, 3)."""
    c, s = np.atleast_2d(np.asarray(centre, float)), np.atleast_2d(np.asarray(size, float))
    return Boxes(c, np.broadcast_to(np.eye(3), (len(c), 3, 3)), s / 2)


def cylinder(size: np.ndarray, slabs: int = 8) -> Boxes:
    """The elliptic cylinder about y in a box of full extents ``size`` (3,), as slabs along x."""
    angle = np.linspace(0, np.pi, slabs + 1)
    edges = -np.cos(angle) * size[0] / 2
    middle = np.sin((angle[1:] + angle[:-1]) / 2)
    centre = np.stack([(edges[1:] + edges[:-1]) / 2, np.zeros(slabs), np.zeros(slabs)], axis=1)
    extents = np.stack([np.diff(edges), np.full(slabs, size[1]), middle * size[2]], axis=1)
    return axis_aligned(centre, extents)


def bottle_neck(size: np.ndarray) -> np.ndarray:
    """Full extents (3,) of the neck with the cap, at the upper end of a bottle's box."""
    return size * [0.65, 0.15, 0.65]


def bottle(size: np.ndarray) -> Boxes:
    """The body and the neck."""
    neck = bottle_neck(size)
    body = cylinder(size - [0, neck[1], 0])
    top = cylinder(neck)
    return concatenate(
        [
            Boxes(body.centre - [0, neck[1] / 2, 0], body.rotation, body.half),
            Boxes(top.centre + [0, (size[1] - neck[1]) / 2, 0], top.rotation, top.half),
        ]
    )


def ring(radius: float, bottom: float, top: float, sides: int = 16) -> Boxes:
    """A wall about y of outer radius ``radius`` between two heights, metres, as boxes of thickness WALL."""
    angle = np.arange(sides) * 2 * np.pi / sides
    rotation = rotation_about_y(-angle)  # the x axis of box i points outwards at (cos, 0, sin)
    centre = rotation @ np.array([radius - WALL / 2, (bottom + top) / 2, 0.0])
    side = 2 * radius * np.tan(np.pi / sides)
    half = np.tile(np.array([WALL, top - bottom, side]) / 2, (sides, 1))
    return Boxes(centre, rotation, half)


def bowl(size: np.ndarray) -> Boxes:
    """A solid foot, and three rings of a wall that follows an ellipse from half the radius to the rim."""
    radius, height = (size[0] + size[2]) / 4, size[1]
    foot = np.array([0.6 * size[0], 0.25 * height, 0.6 * size[2]])
    base = cylinder(foot)
    base = Boxes(base.centre + [0, -0.375 * height, 0], base.rotation, base.half)
    levels = np.array([0.1, 0.35, 0.65, 1.0])
    at = (levels[1:] + levels[:-1]) / 2
    radii = radius * (0.5 + 0.5 * np.sqrt(1 - (1 - at) ** 2))
    walls = [
        ring(r, (low - 0.5) * height, (high - 0.5) * height)
        for r, low, high in zip(radii, levels[:-1], levels[1:], strict=True)
    ]
    return concatenate([base, *walls])


def mug_body(size: np.ndarray) -> tuple[float, float]:
    """x of the axis of a mug's body in the object frame, and the radius of the body, metres."""
    radius = min(size[2], size[0]) / 2
    return -size[0] / 2 + radius, radius


def mug(size: np.ndarray) -> Boxes:
    """A floor, a ring and a handle of three bars."""
    axis, radius = mug_body(size)
    height = size[1]
    wall = ring(radius, -height / 2, height / 2)
    floor = axis_aligned([0, -0.45 * height, 0], [1.4 * radius, 0.1 * height, 1.4 * radius])
    body = concatenate([wall, floor])
    body = Boxes(body.centre + [axis, 0, 0], body.rotation, body.half)
    reach = size[0] / 2 - axis - radius  # of the handle, from the wall
    if reach < 0.01:
        return body
    start, end = axis + radius, size[0] / 2
    thick, across = min(0.012, reach), 0.018
    bars = axis_aligned(
        [[(start + end) / 2, 0.3 * height, 0], [(start + end) / 2, -0.25 * height, 0], [end - thick / 2, 0, 0]],
        [[reach, thick, across], [reach, thick, across], [thick, 0.6 * height, across]],
    )
    return concatenate([body, bars])


@dataclass(frozen=True)
class LaptopLid:
    """Lid of an open laptop: its hinge (3,) and unit directions from the hinge to the edge and out of the back (3,)."""

    hinge: np.ndarray
    up: np.ndarray
    back: np.ndarray
    length: float


def laptop_lid(size: np.ndarray, base: float = 0.018) -> LaptopLid:
    """The lid of a laptop whose box has full extents ``size`` (3,), for a base of thickness ``base``, metres.

    Lid and base are equally deep, d. A lid open by an angle a > 90° gives x = d (1 - cos a) and y = base + d sin a;
    one of a < 90° gives x = d and the same y. If both fit, the more probable one is taken: most lids are open by
    106° ± 20°, others by any angle, and laptops are 0.68 ± 0.035 times as deep as wide.
    """
    x, rise = float(size[0]), max(float(size[1]) - base, 0.01)
    wide = 2 * np.arctan2(x, rise)
    choices = [(wide, rise / np.sin(wide))] if wide >= np.pi / 2 else []
    if rise <= x:
        choices.append((float(np.arcsin(rise / x)), x))
    if not choices:  # taller than deep: upright
        choices = [(np.pi / 2, rise)]
    typical, spread = np.radians([106.0, 20.0])

    def squared_deviation(angle: float, depth: float) -> float:
        return min(((angle - typical) / spread) ** 2, 3.0) + ((depth / size[2] - 0.68) / 0.035) ** 2

    angle, depth = min(choices, key=lambda choice: squared_deviation(*choice))
    up = np.array([np.cos(angle), np.sin(angle), 0.0])
    hinge = np.array([size[0] / 2 - depth, -size[1] / 2 + base, 0.0])
    return LaptopLid(hinge, up, np.array([-up[1], up[0], 0.0]), depth)


def laptop(size: np.ndarray) -> Boxes:
    """The base and the lid."""
    lid = laptop_lid(size)
    base = lid.hinge[1] + size[1] / 2
    plate = axis_aligned([size[0] / 2 - lid.length / 2, -size[1] / 2 + base / 2, 0], [lid.length, base, size[2]])
    rotation = np.stack([lid.up, lid.back, [0, 0, 1]], axis=1)
    centre = lid.hinge + lid.up * lid.length / 2 + lid.back * LID / 2
    cover = Boxes(centre[None], rotation[None], np.array([[lid.length, LID, size[2]]]) / 2)
    return concatenate([plate, cover])


@dataclass(frozen=True)
class CameraBody:
    """Sizes of a camera's parts, metres: x extent of the body and of its end with the grip (+z), height of the body."""

    depth: float
    grip: float
    height: float


def camera_body(size: np.ndarray) -> CameraBody:
    """The body of a camera whose box has full extents ``size`` (3,); it stands at the box's -x, -y side."""
    flat = size[0] <= _CAMERA_BODY
    return CameraBody(
        min(size[0], _CAMERA_BODY), size[0] if flat else max(_CAMERA_BODY, 0.68 * size[0]), min(size[1], 0.62 * size[2])
    )


def camera(size: np.ndarray) -> Boxes:
    """The body, its grip, the lens and the prism."""
    body = camera_body(size)
    back, low = -size[0] / 2, -size[1] / 2
    middle = low + body.height / 2
    return axis_aligned(
        [
            [back + body.depth / 2, middle, 0],
            [back + body.grip / 2, middle, 0.38 * size[2]],
            [0, middle, 0],
            [back + body.depth / 2, 0, 0],
        ],
        [
            [body.depth, body.height, size[2]],
            [body.grip, body.height, 0.24 * size[2]],
            [size[0], body.height, 0.55 * size[2]],
            [body.depth, size[1], 0.4 * size[2]],
        ],
    )


def shape_of(category: Category, size: np.ndarray) -> Boxes:
    """The shape (N boxes) of an object of full extents ``size`` (3,), metres, in the object frame.

    Categories that have no model here are a cylinder if they are symmetric, else their box.
    """
    models = {"bottle": bottle, "bowl": bowl, "mug": mug, "laptop": laptop, "camera": camera}
    if category.name in models:
        return models[category.name](size)
    return cylinder(size) if category.symmetric else axis_aligned(np.zeros(3), size)
