# SPDX-License-Identifier: Apache-2.0
"""The room around the objects: table, floor, walls with pictures and windows, shelves, furniture.

World frame: z up, the table's top is the plane z = 0, metres. The room is one mesh; the part number of a vertex selects
its material. Pictures and boxes show different cut-outs of one texture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from train.render.meshes import Array, Mesh, join, panel
from train.render.patterns import vivid_colour
from train.render.surfaces import Material, sample_surface
from train.render.textures import TextureBank

TABLE, FLOOR, WALL, PICTURE, WOOD, PAINTED, WINDOW, PRINTED, DARK = range(9)  # part numbers
TABLE_HEIGHT = 0.74
_X, _Y, _Z = np.eye(3)


@dataclass(frozen=True)
class Room:
    """The surroundings of a scene.

    ``mesh`` is in world coordinates; ``materials`` by part. Objects may stand on the rectangle with ``centre`` (2,) and
    half sides ``half``, metres, rotated by ``yaw`` rad. ``front`` is the range of the camera's azimuth (centre, half
    width) and ``highest`` its largest elevation, rad.
    """

    mesh: Mesh
    materials: list[Material]
    centre: Array
    half: tuple[float, float]
    yaw: float
    front: tuple[float, float]
    highest: float

    def inside(self) -> Array:
        """Half planes a x + b y <= c of positions at least 3 cm from the edge of the surface: (3, 4), rows a, b, c."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        normals = np.array([[c, s], [-c, -s], [-s, c], [s, -c]])
        reach = np.repeat(np.array(self.half) - 0.03, 2)
        if self.front[1] < np.pi:
            reach[3] -= 0.07  # the wall side
        return np.vstack([normals.T, reach + normals @ self.centre])


def _cut_out(mesh: Mesh, rng: Generator, low: float = 0.2, high: float = 1.0) -> Mesh:
    """The mesh with a random window of its texture."""
    size = rng.uniform(low, high, 2)
    return replace(mesh, uvs=mesh.uvs * size + rng.uniform(0, 1, 2))


def _sheet(centre: Array, right: Array, up: Array, part: int, scale: float) -> Mesh:
    """A rectangle whose texture coordinates are metres times ``scale``."""
    mesh = panel(centre, right, up, part)
    lengths = np.array([np.linalg.norm(right), np.linalg.norm(up)])
    return replace(mesh, uvs=mesh.uvs * lengths * scale)


# Unit box: corners of the top and four sides (5, 4, 3), their normals (5, 3), and faces of all.
_BOX_NORMALS = np.array([[0, 0, 1.0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
_BOX_RIGHT = np.array([[1.0, 0, 0], [0, 1, 0], [0, -1, 0], [-1, 0, 0], [1, 0, 0]])
_BOX_UP = np.cross(_BOX_NORMALS, _BOX_RIGHT)
_CORNERS = np.array([[-1, 1], [-1, -1], [1, 1], [1, -1]]) / 2
_BOX_VERTICES = (
    _BOX_NORMALS[:, None] / 2 + _CORNERS[:, :1] * _BOX_RIGHT[:, None] + _CORNERS[:, 1:] * _BOX_UP[:, None]
).reshape(-1, 3)
_BOX_FACES = (np.array([[0, 1, 2], [2, 1, 3]]) + 4 * np.arange(5)[:, None, None]).reshape(-1, 3).astype(np.int32)


def _block(centre: Array, size: Array, part: int, rng: Generator, yaw: float = 0.0) -> Mesh:
    """A box of full sides ``size`` (3,) about z without its bottom; each face shows its own cut-out."""
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    uvs = rng.uniform(0, 1, (5, 1, 2)) + corners * rng.uniform(0.2, 1.0, (5, 1, 2))
    return Mesh(
        (_BOX_VERTICES * size) @ rotation.T + centre,
        np.repeat(_BOX_NORMALS @ rotation.T, 4, axis=0),
        uvs.reshape(-1, 2),
        np.full(20, part, dtype=np.int32),
        _BOX_FACES,
    )


def _table(half: tuple[float, float], rng: Generator, legs: bool) -> list[Mesh]:
    """A table top with half sides ``half`` (m), its edges, and four legs if ``legs``."""
    hx, hy = half
    thick = rng.uniform(0.015, 0.05)
    parts = [_sheet(np.zeros(3), 2 * hx * _X, 2 * hy * _Y, TABLE, 1.0)]
    for sign in (-1.0, 1.0):
        parts.append(_sheet(sign * hx * _X - _Z * thick / 2, sign * 2 * hy * _Y, _Z * thick, WOOD, 1.0))
        parts.append(_sheet(sign * hy * _Y - _Z * thick / 2, -sign * 2 * hx * _X, _Z * thick, WOOD, 1.0))
        if legs:
            for other in (-1.0, 1.0):
                at = np.array([sign * (hx - 0.06), other * (hy - 0.06), -(TABLE_HEIGHT + thick) / 2])
                parts.append(_block(at, np.array([0.05, 0.05, TABLE_HEIGHT - thick]), DARK, rng))
    return parts


def _wall_decoration(rng: Generator, normal: Array, right: Array, distance: float, low: float) -> list[Mesh]:
    """Pictures, windows, shelves with books and cabinets at one wall.

    :param normal: (3,) into the room; ``right`` (3,) along the wall. :param distance: of the wall from the origin, m.
    :param low: height of the floor, m.
    """
    parts: list[Mesh] = []
    base = -normal * distance
    for _ in range(rng.integers(0, 6)):
        kind = rng.random()
        u, z = rng.uniform(-0.7, 0.7) * distance, rng.uniform(0.0, 1.0)
        w, h = rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.7)
        at = base + right * u + _Z * z
        if kind < 0.45:
            parts.append(panel(at + normal * 0.015, right * (w + 0.04), _Z * (h + 0.04), DARK))
            parts.append(_cut_out(panel(at + normal * 0.02, right * w, _Z * h, PICTURE), rng))
        elif kind < 0.6:
            parts.append(panel(at + normal * 0.015, right * (w + 0.45), _Z * (h + 0.55), WOOD))
            for side in (-0.5, 0.5):
                pane = panel(
                    at + normal * 0.02 + right * side * (w / 2 + 0.2), right * (w / 2 + 0.15), _Z * (h + 0.4), WINDOW
                )
                parts.append(pane)
        elif kind < 0.85:
            width = rng.uniform(0.6, 1.4)
            for row in range(int(rng.integers(1, 4))):
                shelf = at + _Z * (0.3 * row)
                parts.append(_block(shelf + normal * 0.12, _abs_sides(right * width, normal * 0.24, 0.02), WOOD, rng))
                x = -width / 2
                while x < width / 2 - 0.1:
                    bw, bh = rng.uniform(0.02, 0.14), rng.uniform(0.08, 0.24)
                    size = _abs_sides(right * bw, normal * rng.uniform(0.08, 0.2), bh)
                    part = int(rng.choice([PRINTED, PAINTED, PICTURE, DARK]))
                    parts.append(
                        _block(shelf + right * (x + bw / 2) + normal * 0.13 + _Z * (bh / 2 + 0.01), size, part, rng)
                    )
                    x += bw + rng.exponential(0.03)
        else:
            tall = rng.uniform(0.6, 1.9)
            size = _abs_sides(right * rng.uniform(0.4, 1.2), normal * 0.4, tall)
            foot = base + right * u + normal * 0.2 + _Z * (low + tall / 2)
            parts.append(_block(foot, size, int(rng.choice([WOOD, PAINTED, DARK])), rng))
    return parts


def _abs_sides(right: Array, normal: Array, height: float) -> Array:
    """Sides (3,) of a box aligned with the axes from its width and depth vectors."""
    return np.array([*np.abs(right + normal)[:2], height])


def _furniture(rng: Generator, half: tuple[float, float], reach: float) -> list[Mesh]:
    """Chairs, cartons and cabinets between the table, of half sides ``half``, and the walls at ``reach``, metres."""
    parts: list[Mesh] = []
    for _ in range(rng.integers(0, 6)):
        side = int(rng.integers(2))
        at = np.zeros(3)
        at[side] = rng.choice([-1, 1]) * rng.uniform(half[side] + 0.35, max(half[side] + 0.5, reach - 0.4))
        at[1 - side] = rng.uniform(-reach + 0.4, reach - 0.4)
        yaw = rng.uniform(0, np.pi)
        part = int(rng.choice([WOOD, PAINTED, PRINTED, DARK]))
        if rng.random() < 0.5:  # chair: seat, back, column
            parts.append(_block(at - _Z * 0.3, np.array([0.44, 0.44, 0.06]), part, rng, yaw))
            back = at + 0.2 * np.array([np.cos(yaw), np.sin(yaw), 0]) + _Z * 0.02
            parts.append(_block(back, np.array([0.05, 0.42, 0.5]), part, rng, yaw))
            parts.append(_block(at - _Z * 0.53, np.array([0.08, 0.08, 0.42]), DARK, rng, yaw))
        else:
            size = rng.uniform([0.2, 0.2, 0.2], [0.8, 0.8, 1.2])
            parts.append(_block(at + _Z * (size[2] / 2 - TABLE_HEIGHT), size, part, rng, yaw))
    return parts


def _materials(rng: Generator, bank: TextureBank, backdrop: float) -> list[Material]:
    """Random materials by part number.

    :param backdrop: 0: a painted or textured wall. Above 0 the environment map is visible in place of the wall, above
        0.5 also in place of the floor.
    """
    surface = rng.random()
    if surface < 0.07:  # one plain strong colour: paint, plastic, table cloth
        table = Material(
            vivid_colour(rng), bank.pick(rng, "plain", "cloth"), 0.3, (2.0, 2.0), rng.uniform(0.25, 0.9), 0, 0.6
        )
    else:
        kinds = ("wood", "wood", "wood", "cloth", "marble", "plain", "checks", "speckle", "carpet")
        table = sample_surface(rng, bank, kinds)
    floor = sample_surface(rng, bank, ("wood", "plain", "speckle", "carpet", "carpet", "checks"))
    wall = sample_surface(rng, bank, ("scenery", "plain", "wood", "speckle"))
    if rng.random() < 0.6:  # painted, mostly light
        value = rng.uniform(0.55, 0.97)
        r, g, b = np.clip(value * (1 + rng.normal(0, 0.05, 3)), 0, 1)
        wall = Material((float(r), float(g), float(b)), bank.pick(rng, "speckle"), 0.06, roughness=0.8, gloss=0.3)
    if backdrop > 0:  # mix is the mip level of the environment map
        wall = Material((1.0, 1.0, 1.0), mix=float(rng.uniform(0, 2.0)), backdrop=True)
        if backdrop > 0.5:
            floor = wall
    picture = Material((1.0, 1.0, 1.0), bank.pick(rng, "scenery", "poster"), 1.0, roughness=0.5)
    window = Material((0.8, 0.9, 1.0), bank.pick(rng, "scenery"), 0.4, roughness=0.1, glow=float(rng.uniform(0.8, 4)))
    if rng.random() < 0.3:
        window = replace(window, glow=float(rng.uniform(0, 0.1)))
    printed = Material((1.0, 1.0, 1.0), bank.pick(rng, "label", "poster", "box"), 1.0, roughness=0.5, gloss=0.6)
    value = float(rng.uniform(0.02, 0.25))
    return [
        table,
        floor,
        wall,
        picture,
        sample_surface(rng, bank, ("wood",)),
        Material(vivid_colour(rng), bank.pick(rng, "plain"), 0.5, roughness=0.5, gloss=0.6),
        window,
        printed,
        Material((value, value, value), roughness=0.5, gloss=0.6),
    ]


def sample_room(rng: Generator, bank: TextureBank) -> Room:
    """Random surroundings: a table in a room or in front of the environment, a table at a wall, a shelf, a floor."""
    kind = rng.choice(["table", "open", "wall", "shelf", "floor"], p=[0.34, 0.28, 0.17, 0.06, 0.15])
    yaw = float(rng.uniform(0, 2 * np.pi))
    reach = float(rng.uniform(1.8, 4.0))
    half = (float(rng.uniform(0.35, 1.1)), float(rng.uniform(0.3, 0.8)))
    front = (0.0, float(np.pi))
    low = -TABLE_HEIGHT
    parts: list[Mesh] = []
    if kind == "floor":
        half, low = (reach, reach), 0.0
        parts.append(_sheet(np.zeros(3), 2 * reach * _X, 2 * reach * _Y, TABLE, 1.0))
    else:
        if kind == "shelf":
            half = (half[0], float(rng.uniform(0.17, 0.28)))
        parts += _table(half, rng, legs=kind in ("table", "open"))
        parts.append(_sheet(_Z * low, 2 * reach * _X, 2 * reach * _Y, FLOOR, 0.5))
    if kind in ("wall", "shelf"):  # a wall along the table's edge at -y; the camera stays in front of it
        front = (yaw + np.pi / 2, float(np.radians(70 if kind == "wall" else 50)))
        parts.append(_sheet(-_Y * (half[1] + 0.002) + _Z * 0.6, 2 * reach * _X, _Z * 2.7, WALL, 0.5))
        offset = half[1] + 0.004
        if kind == "shelf":
            for z in (rng.uniform(0.38, 0.6), -rng.uniform(0.38, 0.5)):
                parts.append(_block(_Z * z, np.array([2 * half[0], 2 * half[1], 0.02]), WOOD, rng))
        else:
            for _ in range(rng.integers(0, 4)):
                at = -_Y * offset + _X * rng.uniform(-0.8, 0.8) + _Z * rng.uniform(0.3, 0.7)
                size = rng.uniform(0.15, 0.5, 2)
                parts.append(
                    _cut_out(panel(at, _X * size[0], _Z * size[1], int(rng.choice([PICTURE, DARK, PRINTED]))), rng)
                )
    top, middle = 2.4, (2.4 + low) / 2
    for normal, right in ((_X, _Y), (-_X, -_Y), (_Y, -_X), (-_Y, _X)):
        parts.append(_sheet(-normal * reach + _Z * middle, 2 * reach * right, _Z * (top - low), WALL, 0.3))
        if kind != "open":
            parts += _wall_decoration(rng, normal, right, reach, low)
    parts += [panel(_Z * top, 2 * reach * _X, -2 * reach * _Y, WALL)]
    if kind != "floor":
        parts += _furniture(rng, half, reach)
    rotation = np.eye(3)
    rotation[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    # The objects are placed around the origin, which is not the centre of the table.
    share = np.array([0.6, 0.3 if kind == "shelf" else 0.55])
    centre = rotation @ [*(rng.uniform(-1, 1, 2) * share * np.minimum(half, 0.9)), 0.0]
    backdrop = float(rng.uniform(0.01, 1.0)) if kind == "open" else 0.0
    return Room(
        mesh=join(parts).moved(rotation, centre),
        materials=_materials(rng, bank, backdrop),
        centre=centre[:2],
        half=half,
        yaw=yaw,
        front=front,
        highest=float(np.radians(38 if kind == "shelf" else 75)),
    )
