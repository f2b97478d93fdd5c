# SPDX-License-Identifier: Apache-2.0
"""``python -m train.render.contact_sheet``: draw instances of every category and distractor kind in one picture.

python -m train.render.contact_sheet --out sheet.png --kinds mug camera --count 12
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seqpose_core.command_line import command_parser
from train.render.clips import RenderJob, RenderResources
from train.render.distractors import DISTRACTORS
from train.render.materials import sample_materials
from train.render.meshes import Array, rotation_about
from train.render.scene import PlacedObject, instance_mesh, sample_scene
from train.render.sensor import tone_map
from train.render.shapes import SHAPES
from train.render.splits import SPLITS, split_settings

FOCAL = 2.0  # focal length of a tile's camera, tile widths


def three_quarter_view(diagonal: float, azimuth: float, elevation: float, height: float) -> Array:
    """Camera pose (4, 4) from which an object of this diagonal at the origin is completely visible."""
    outward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.cross(-outward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(-outward, right), -outward
    pose[:3, 3] = [0, 0, height] + max(1.08 * FOCAL * diagonal, 0.12) * outward
    return pose


def draw_tile(resources: RenderResources, split: str, kind: str, index: int) -> NDArray[np.uint8]:
    """Instance ``index`` of a kind on an empty table, +x to the right and towards the camera."""
    rng = np.random.default_rng([index, len(kind)])
    pool = split_settings(split).pool
    mesh = instance_mesh(pool, kind, index)
    materials = sample_materials(rng, resources.textures, kind, mesh.surfaces)
    scene = sample_scene(rng, split_settings(split), resources.textures, resources.environments)
    azimuth, _ = scene.room.front  # elsewhere furniture may stand in front of the table
    pose = np.eye(4)
    pose[:3, :3] = rotation_about("z", azimuth + rng.uniform(0.1, 1.1)) @ rotation_about("x", np.pi / 2)
    pose[2, 3] = mesh.extents[1] / 2
    item = PlacedObject(kind, 0, f"{kind}_{pool}_{index:04d}", mesh, materials, pose)
    renderer = resources.renderer
    renderer.load(replace(scene, objects=[item]))
    size = renderer.width
    intrinsics = np.array([[FOCAL * size, 0, size / 2 - 0.5], [0, FOCAL * size, size / 2 - 0.5], [0, 0, 1]])
    view = three_quarter_view(float(np.linalg.norm(mesh.extents)), azimuth, np.radians(28), mesh.extents[1] / 2)
    tile = tone_map(renderer.render(intrinsics, view).radiance)
    for colour, thickness in (((255, 255, 255), 3), ((0, 0, 0), 1)):
        cv2.putText(tile, f"{kind} {index}", (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, thickness, cv2.LINE_AA)
    return tile


def draw_sheet(split: str, kinds: list[str], count: int, columns: int, size: int) -> NDArray[np.uint8]:
    """Picture (H, W, 3) uint8 RGB of ``count`` instances of each kind, in rows of ``columns`` tiles."""
    resources = RenderResources.open(RenderJob(split, 0, Path(), 1, size, size), 120, 12)
    tiles = [draw_tile(resources, split, kind, index) for kind in kinds for index in range(count)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=0)


def main(arguments: list[str] | None = None) -> None:
    names = [*SHAPES, *DISTRACTORS]
    parser = command_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG or JPEG file to write")
    parser.add_argument("--split", choices=sorted(SPLITS), default="train")
    parser.add_argument("--kinds", nargs="+", choices=names, default=names, metavar="KIND", help="default: all")
    parser.add_argument("--count", type=int, default=2, help="instances per kind")
    parser.add_argument("--columns", type=int, default=12, help="tiles per row")
    parser.add_argument("--size", type=int, default=128, help="side of a tile, pixels")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.columns < 1 or options.size < 32:
        parser.error("--count and --columns must be at least 1, --size at least 32")
    sheet = draw_sheet(options.split, options.kinds, options.count, options.columns, options.size)
    if not cv2.imwrite(str(options.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(
            f"{options.out} could not be written; its folder must exist and its suffix must be that of an image format"
        )


if __name__ == "__main__":
    main()
