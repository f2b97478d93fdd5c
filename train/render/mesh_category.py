# SPDX-License-Identifier: Apache-2.0
"""A category beyond the six, drawn from mesh files instead of the parametric shapes of train.render.shapes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.random import Generator

from train.render.distractors import DISTRACTORS
from train.render.meshes import MAXIMUM_PARTS, SURFACES, Array, Mesh, rotation_about
from train.render.shapes import SHAPES

SUFFIXES = (".glb", ".obj", ".off", ".ply", ".stl")
INSTANCES = {"train": 400, "val": 48, "test": 48}
#: Metres: largest extents of objects that the renderer's scenes have room for.
_SMALLEST, _LARGEST = 0.03, 0.6
#: Edges sharper than this are not shaded smoothly, radians.
_CREASE = np.radians(40)


@dataclass(frozen=True)
class MeshCategory:
    """Where the shapes of a category come from, and how they vary.

    :param name: of the category; it must not be drawn by the renderer already.
    :param files: meshes, in the order of their names. Every fifth is kept for the pools val and test; with fewer than
        five meshes all pools have the same, and differ by scale and material only.
    :param symmetric: about y: both horizontal extents are scaled alike.
    :param unit: metres per unit of the files. :param up: axis of the files that points up, "x", "y" or "z".
    :param surfaces: what the parts are made of; each part of an instance has one of them.
    :param variation: standard deviation of the logarithm of the random scale along each axis.
    :param share: of the objects of a scene, in the mean.
    :raises ValueError: for a name that is taken, no file, or a value outside its range.
    """

    name: str
    files: tuple[Path, ...]
    symmetric: bool = False
    unit: float = 1.0
    up: str = "y"
    surfaces: tuple[str, ...] = ("metal", "plastic", "ceramic")
    variation: float = 0.06
    share: float = field(default=0.35)

    def __post_init__(self) -> None:
        if not self.name or self.name in SHAPES or self.name in DISTRACTORS:
            raise ValueError(f"name is {self.name!r}, which the renderer draws already; choose another one")
        if not self.files:
            raise ValueError(f"no mesh of {self.name}; give at least one of {', '.join(SUFFIXES)}")
        if not self.unit > 0 or self.up not in ("x", "y", "z"):
            raise ValueError(f"unit is {self.unit} and up is {self.up!r}; unit must be positive and up x, y or z")
        if unknown := sorted(set(self.surfaces) - SURFACES) or not self.surfaces:
            raise ValueError(f"surfaces has {unknown}; choose from {', '.join(sorted(SURFACES))}")
        if not 0 < self.share < 1 or self.variation < 0:
            raise ValueError(f"share is {self.share} and variation {self.variation}; share must lie between 0 and 1")

    def files_of_pool(self, pool: str) -> tuple[Path, ...]:
        """The meshes of a pool of the renderer."""
        if len(self.files) < 5:
            return self.files
        return tuple(f for i, f in enumerate(self.files) if (i % 5 == 4) != (pool == "train"))

    def settings(self) -> dict[str, Any]:
        """What the pictures depend on, for the settings of a rendered set."""
        digests = [zlib.crc32(path.read_bytes()) for path in self.files]
        return {"name": self.name, "symmetric": self.symmetric, "unit": self.unit, "up": self.up, "files": digests} | {
            "surfaces": list(self.surfaces),
            "variation": self.variation,
            "share": self.share,
        }


def find_meshes(folder: Path) -> tuple[Path, ...]:
    """The mesh files of a folder in the order of their names. :raises ValueError: if there is none."""
    files = tuple(sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES))
    if not files:
        raise ValueError(f"{folder} has no mesh; expected files ending in {', '.join(SUFFIXES)}")
    return files


def mean_extents(category: MeshCategory) -> tuple[float, float, float]:
    """Geometric mean of the full extents (x, y, z) of the meshes, metres."""
    extents = np.array([_template(category, path).extents for path in category.files])
    x, y, z = np.exp(np.log(extents).mean(axis=0))
    return float(x), float(y), float(z)


@lru_cache(maxsize=400)
def category_mesh(category: MeshCategory, pool: str, index: int) -> Mesh:
    """Instance ``index`` of a pool: one of its meshes, scaled at random, with a surface for each part."""
    rng = np.random.default_rng([zlib.crc32(f"{pool}/{category.name}".encode()), index])
    files = category.files_of_pool(pool)
    template = _template(category, files[int(rng.integers(len(files)))])
    scale = np.exp(rng.normal(0, category.variation, 3))
    if category.symmetric:
        scale[2] = scale[0]
    normals = template.normals / scale
    surfaces = tuple(str(s) for s in rng.choice(list(category.surfaces), int(template.parts.max()) + 1))
    return Mesh(
        template.vertices * scale,
        normals / np.linalg.norm(normals, axis=1, keepdims=True),
        template.uvs,
        template.parts,
        template.faces,
        surfaces,
    )


def standing_rotation(rng: Generator) -> Array:
    """World rotation (3, 3) of an upright object with any yaw."""
    return rotation_about("z", rng.uniform(0, 2 * np.pi)) @ rotation_about("x", np.pi / 2)


@lru_cache(maxsize=64)
def _template(category: MeshCategory, path: Path) -> Mesh:
    """A mesh file in the object frame (y up, metres, centred on its box); a part for each of its geometries.

    :raises ValueError: naming a file that cannot be read, or whose extents suggest another unit.
    """
    try:
        options: dict[str, Any] = {"split_object": True} if path.suffix.lower() == ".obj" else {}
        geometries = _geometries(trimesh.load_scene(path, **options))
    except Exception as error:  # trimesh raises whatever its parsers raise
        raise ValueError(f"{path} cannot be read as a mesh: {error!r}") from error
    if not geometries:
        raise ValueError(f"{path} has no triangles")
    turn = {"x": rotation_about("z", np.pi / 2), "y": np.eye(3), "z": rotation_about("x", -np.pi / 2)}[category.up]
    vertices = category.unit * np.concatenate([g.vertices for g in geometries]) @ turn.T
    extents = vertices.max(axis=0) - vertices.min(axis=0)
    if not _SMALLEST <= extents.max() <= _LARGEST:
        raise ValueError(
            f"{path} is {extents.max():.3g} m large with unit {category.unit:g}; objects must measure "
            f"{_SMALLEST:g} to {_LARGEST:g} m, so give the unit of the file, for example 0.001 for millimetres"
        )
    offsets = np.cumsum([0] + [len(g.vertices) for g in geometries[:-1]])
    parts = np.repeat(np.minimum(np.arange(len(geometries)), MAXIMUM_PARTS - 1), [len(g.vertices) for g in geometries])
    centred = vertices - (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    return Mesh(
        centred,
        np.concatenate([g.vertex_normals for g in geometries]) @ turn.T,
        _cylindrical_uvs(centred),
        parts.astype(np.int32),
        np.concatenate([g.faces + o for g, o in zip(geometries, offsets, strict=True)]).astype(np.int32),
    )


def _geometries(scene: trimesh.Scene) -> Sequence[trimesh.Trimesh]:
    """The triangles of a scene in its world frame, with vertices split at sharp edges."""
    found = [g for g in scene.dump() if isinstance(g, trimesh.Trimesh) and len(g.faces)]
    return [trimesh.graph.smooth_shade(g, angle=_CREASE) for g in found]


def _cylindrical_uvs(vertices: Array) -> Array:
    """(V, 2) texture coordinates: azimuth about y, and height with 0 at the top."""
    x, y, z = vertices.T
    return np.stack([np.arctan2(z, x) / (2 * np.pi) + 0.5, (y.max() - y) / max(float(np.ptp(y)), 1e-9)], axis=1)
