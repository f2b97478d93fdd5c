# SPDX-License-Identifier: Apache-2.0
"""Meshes of kettles, a category that no checkpoint has: body, spout towards +x, handle over the lid, knob."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh


def kettle(seed: int) -> trimesh.Scene:
    """A kettle of about 20 cm, y up, metres, as a scene of four parts."""
    rng = np.random.default_rng(seed)
    radius, height = rng.uniform(0.065, 0.085), rng.uniform(0.10, 0.15)
    bulge = rng.uniform(0.75, 1.0)
    t = np.linspace(0, 1, 24)
    profile = np.stack(
        [radius * (1 - (1 - bulge) * t) * np.sqrt(np.clip(1 - (1.9 * t - 0.95) ** 8, 0.02, 1)), height * t], 1
    )
    profile = np.concatenate([[[0, 0]], profile, [[0, height]]])
    body = trimesh.creation.revolve(profile, sections=48)
    wide, length = rng.uniform(0.018, 0.026), rng.uniform(0.09, 0.12)
    spout = trimesh.creation.revolve([[0, 0], [wide, 0], [0.45 * wide, length], [0, length]], sections=24)
    tilt = trimesh.transformations.rotation_matrix(rng.uniform(0.6, 0.9), [0, 1, 0])
    spout.apply_transform(trimesh.transformations.translation_matrix([0.85 * radius, 0, 0.35 * height]) @ tilt)
    handle = trimesh.creation.torus(rng.uniform(0.055, 0.065), rng.uniform(0.006, 0.009), major_sections=40)
    handle.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    handle.apply_transform(trimesh.transformations.translation_matrix([0, 0, 0.98 * height]))
    knob = trimesh.creation.icosphere(subdivisions=2, radius=rng.uniform(0.010, 0.015))
    knob.apply_transform(trimesh.transformations.translation_matrix([0, 0, height + 0.008]))
    scene = trimesh.Scene({"body": body, "spout": spout, "handle": handle, "knob": knob})
    scene.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0]))  # z up to y up
    return scene


def write_kettles(folder: Path, count: int) -> list[Path]:
    """Write kettles as OBJ and PLY files in turn; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"kettle_{i:02d}.{'ply' if i % 2 else 'obj'}" for i in range(count)]
    for seed, path in enumerate(paths):
        scene = kettle(seed)
        (scene.to_geometry() if path.suffix == ".ply" else scene).export(path)
    return paths
