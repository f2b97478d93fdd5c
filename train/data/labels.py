# SPDX-License-Identifier: Apache-2.0
"""Training targets of one frame: unique poses of symmetric objects, and dense maps at the target grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seqpose_core.camera import Camera
from seqpose_core.geometry import canonicalize_symmetric
from train.data.augment import MIRROR, MIRROR_OBJECT, Window
from train.data.frame import Frame, SceneObject, decode_coord
from train.data.nocs_files import count_values

# The inverse depth of a plane is linear in the pixel; a larger relative deviation than this is an edge.
_MAX_CURVATURE = 0.015


@dataclass(frozen=True, eq=False)
class DenseLabels:
    """Maps at the target grid (h, w).

    segmentation int64 class ids, 0 background; depth float32 m, 0 unknown; normals (3, h, w) float32 unit in the
    camera frame towards the camera, zero where unknown; nocs (3, h, w) float32 0..1, zero on the background.
    """

    segmentation: NDArray[np.int64]
    depth: NDArray[np.float32]
    normals: NDArray[np.float32]
    nocs: NDArray[np.float32]


def is_symmetric(item: SceneObject) -> bool:
    """Whether yaw (rotation about y) is not visible: symmetric categories, and a mug whose handle is hidden."""
    return item.category_info.symmetric or (item.category_info.name == "mug" and not item.handle_visible)


def canonicalize_objects(objects: Sequence[SceneObject], hidden_handles: bool = False) -> tuple[SceneObject, ...]:
    """Rotate symmetric objects about y until the camera is in their +x half-plane, which makes the pose unique.

    Objects of symmetric categories get equal x and z extents.

    :param hidden_handles: also rotate mugs whose handle is hidden.
    """
    symmetric = [
        index
        for index, item in enumerate(objects)
        if item.category_info.symmetric or (hidden_handles and is_symmetric(item))
    ]
    if not symmetric:
        return tuple(objects)
    rotations = np.stack([objects[index].rotation for index in symmetric])
    translations = np.stack([objects[index].translation for index in symmetric])
    rotated = list(objects)
    for index, rotation in zip(symmetric, canonicalize_symmetric(rotations, -translations), strict=True):
        size = objects[index].size
        if objects[index].category_info.symmetric:
            width = (size[0] + size[2]) / 2
            size = np.array([width, size[1], width])
        rotated[index] = replace(objects[index], rotation=rotation, size=size)
    return tuple(rotated)


def mirror_objects(objects: Sequence[SceneObject]) -> tuple[SceneObject, ...]:
    """The objects in a mirrored image: R' = diag(-1,1,1) R diag(1,1,-1), x → -x."""
    return tuple(
        replace(item, rotation=MIRROR @ item.rotation @ MIRROR_OBJECT, translation=MIRROR @ item.translation)
        for item in objects
    )


def visible_pixels(mask: NDArray[np.uint8], window: Window, height: int, width: int) -> NDArray[np.floating]:
    """Number of pixels (256,) of each mask value inside the window, in pixels of the (height, width) input."""
    part = mask[window.y : window.y + window.height, window.x : window.x + window.width]
    return count_values(part) * (height * width / (window.height * window.width))


def dense_labels(frame: Frame, window: Window, objects: Sequence[SceneObject], height: int, width: int) -> DenseLabels:
    """Sample the stored maps at the centres of (height, width) cells of the window, by the nearest pixel.

    :param objects: of this frame after :func:`canonicalize_objects` and before :func:`mirror_objects`; the NOCS map of
        a rotated object is rotated with it.
    """
    rows, columns = window.cells(height, width)
    instances = frame.mask[rows][:, columns]
    classes, yaws = _lookup_tables(frame.objects, objects)
    segmentation = classes[instances]

    nocs = decode_coord(frame.coord_bgr[rows][:, columns]) - np.float32(0.5)
    cosine, sine = yaws[instances].transpose(2, 0, 1)
    x, z = nocs[..., 0].copy(), nocs[..., 2].copy()
    nocs[..., 0], nocs[..., 2] = cosine * x - sine * z, sine * x + cosine * z
    # In larger images the neighbours are farther apart, to keep the effect of depth quantization the same.
    reach = max(1, round(window.width / width / 3.5))
    normals = surface_normals(frame.depth_mm, frame.camera, rows, columns, reach)
    if window.flip:
        nocs[..., 2] *= -1
        normals[0] *= -1
    nocs = (nocs + np.float32(0.5)) * (segmentation > 0)[..., None]
    return DenseLabels(
        segmentation=segmentation,
        depth=frame.depth_mm[rows][:, columns].astype(np.float32) * np.float32(1e-3),
        normals=normals,
        nocs=np.ascontiguousarray(nocs.transpose(2, 0, 1)),
    )


def _lookup_tables(
    stored: Sequence[SceneObject], canonical: Sequence[SceneObject]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """By mask value: class (256,), and cosine and sine (256, 2) of the yaw from the stored to the canonical object."""
    classes = np.zeros(256, np.int64)
    yaws = np.zeros((256, 2), np.float32)
    yaws[:, 0] = 1
    for before, after in zip(stored, canonical, strict=True):
        classes[before.instance] = before.class_id
        # after = before · Y(angle), so the first column of Y is (cos, 0, -sin).
        first = before.rotation.T @ after.rotation[:, 0]
        yaws[before.instance] = first[0], -first[2]
    return classes, yaws


def surface_normals(
    depth_mm: NDArray[np.uint16],
    camera: Camera,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    reach: int = 1,
) -> NDArray[np.float32]:
    """Unit normals (3, h, w) towards the camera at pixels rows (h,) x columns (w,), zero where unknown.

    On the plane n·P = c the inverse depth is n·(ray)/c, linear in the pixel. Its slopes give n, exactly for planes;
    its second difference distinguishes an edge from a slanted plane.

    :param reach: distance in pixels to the neighbours that are compared.
    """
    height, width = depth_mm.shape
    up, down = np.maximum(rows - reach, 0), np.minimum(rows + reach, height - 1)
    left, right = np.maximum(columns - reach, 0), np.minimum(columns + reach, width - 1)

    # One gather of all neighbours, as 3x3 blocks: block (i, j) holds rows i and columns j.
    depth = depth_mm[np.concatenate([up, rows, down])][:, np.concatenate([left, columns, right])].astype(np.float32)
    inverse = np.divide(np.float32(1e3), depth, out=np.full_like(depth, np.nan), where=depth > 0)
    blocks = inverse.reshape(3, len(rows), 3, len(columns))
    here = blocks[1, :, 1]
    above, below, before, after = blocks[0, :, 1], blocks[2, :, 1], blocks[1, :, 0], blocks[1, :, 2]
    inside = ((down - up) == 2 * reach)[:, None] & ((right - left) == 2 * reach)
    slope_u, slope_v = (after - before) / (2 * reach), (below - above) / (2 * reach)
    curvature = np.maximum(np.abs(before + after - 2 * here), np.abs(above + below - 2 * here))
    valid = inside & (curvature < _MAX_CURVATURE * here)  # a NaN neighbour compares false

    u, v = columns - np.float32(camera.cx), rows - np.float32(camera.cy)
    normal = np.empty((3, len(rows), len(columns)), np.float32)
    normal[0] = camera.fx * slope_u
    normal[1] = camera.fy * slope_v
    normal[2] = here - u * slope_u - v[:, None] * slope_v
    # n·P = c > 0 with P = depth · ray, so this n points away from the camera.
    length = -np.sqrt(np.einsum("chw,chw->hw", normal, normal))
    return np.divide(normal, length, out=np.zeros_like(normal), where=valid & (length < 0))
