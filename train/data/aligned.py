# SPDX-License-Identifier: Apache-2.0
"""Labels computed from what NOCS publishes for all splits: mask, NOCS map, depth, and the sizes in obj_models.

The pose of an object is the similarity transform from its NOCS coordinates to the points of the depth image, and its
size the extents of its model times the scale of that transform. The published gts of the test splits were computed in
the same way. Results are stored in a cache, because they take about 10 ms per object.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.atomic_file import atomic_write_text
from train.data.frame import SceneObject, decode_coord
from train.data.model_sizes import ModelSizes
from train.data.nocs_files import (
    BrokenFrameError,
    count_values,
    decode_depth,
    decode_image,
    decode_mask,
    read_bytes,
    read_meta,
)
from train.data.similarity import TOLERANCE, NoSimilarityError, robust_similarity

logger = logging.getLogger(__name__)

#: Fewer pixels with depth give no pose; the relabelled pickles have the same limit.
MIN_POINTS = 64
_MAX_POINTS = 4000  # per object; more do not change the result but take time
_VERSION = 1  # of this algorithm, part of the key of cached results


class Alignment:
    """Computes the labels of frames, or reads them from a cache.

    The key of a cached result is a hash of everything that it depends on, so that changed data is computed again.

    :param intrinsics: (3, 3) matrix of the images.
    :param cache: folder of results, outside of the data set.
    """

    def __init__(self, intrinsics: NDArray[np.float64], sizes: ModelSizes, cache: Path) -> None:
        self.intrinsics, self.sizes, self.cache = intrinsics, sizes, cache
        #: Objects without a pose in the frames read so far, by "<frame> instance <i>", with the reason.
        self.unaligned: dict[str, str] = {}

    def objects(self, stem: str, frame: str) -> tuple[SceneObject, ...]:
        """The labelled objects of the files <stem>_*; objects that cannot be aligned are left out and counted.

        Every handle counts as visible.

        :param frame: name of the frame in :attr:`unaligned`.
        :raises BrokenFrameError: a file is missing or damaged, or none of the visible objects can be aligned.
        """
        rows = [row for row in read_meta(f"{stem}_meta.txt") if row[1] > 0]
        extents = {row[2]: self._extents(f"{stem}_meta.txt", row[2]) for row in rows}
        data = {part: read_bytes(f"{stem}_{part}.png") for part in ("mask", "coord", "depth")}
        path = self._path(rows, extents, data)
        result = _cached(path)
        if result is None:
            result = self._align(stem, rows, data)
            atomic_write_text(path, json.dumps(result))
        for instance, reason in result["unaligned"].items():
            name = f"{frame} instance {instance}"
            if name not in self.unaligned:
                self.unaligned[name] = f"it cannot be aligned: {reason}"
                logger.warning("object without a label: %s: %s", name, reason)
        if result["unaligned"] and not result["aligned"]:
            reasons = "; ".join(f"instance {instance}: {reason}" for instance, reason in result["unaligned"].items())
            raise BrokenFrameError(f"{stem}_coord.png", f"no object can be aligned: {reasons}")
        return tuple(
            SceneObject(
                class_id=class_id,
                instance=instance,
                rotation=np.array(pose["rotation"]),
                translation=np.array(pose["translation"]),
                size=extents[model] * pose["scale"],
                handle_visible=True,
                visible_pixels=pose["pixels"],
                model=model,
            )
            for instance, class_id, model in rows
            if (pose := result["aligned"].get(str(instance))) is not None
        )

    def _extents(self, meta: str, model: str) -> NDArray[np.float64]:
        try:
            return self.sizes.extents(model)
        except ValueError as error:
            raise BrokenFrameError(meta, f"names a model without a size: {error}") from error

    def _path(
        self,
        rows: list[tuple[int, int, str]],
        extents: Mapping[str, NDArray[np.float64]],
        data: Mapping[str, bytes],
    ) -> Path:
        settings = [_VERSION, TOLERANCE, MIN_POINTS, self.intrinsics.tolist(), rows]
        key = hashlib.sha256(json.dumps(settings).encode())
        for part in data.values():
            key.update(hashlib.sha256(part).digest())
        name = key.hexdigest()
        return self.cache / name[:2] / f"{name}.json"

    def _align(self, stem: str, rows: list[tuple[int, int, str]], data: Mapping[str, bytes]) -> dict[str, Any]:
        """Poses and reasons by instance; objects without a pixel in the mask are in neither."""
        mask = decode_mask(f"{stem}_mask.png", data["mask"])
        coord = decode_image(f"{stem}_coord.png", data["coord"], cv2.IMREAD_COLOR)
        depth = decode_depth(f"{stem}_depth.png", data["depth"])
        for part, array in (("coord", coord), ("depth", depth)):
            if array.shape[:2] != mask.shape:
                raise BrokenFrameError(
                    f"{stem}_{part}.png",
                    f"is {array.shape[1]}x{array.shape[0]} but the mask is {mask.shape[1]}x{mask.shape[0]}",
                )
        pixels = count_values(mask)
        aligned: dict[str, Any] = {}
        unaligned: dict[str, str] = {}
        for instance, _, _ in rows:
            if not pixels[instance]:
                continue
            try:
                pose = self._pose(mask == instance, coord, depth)
            except NoSimilarityError as error:
                unaligned[str(instance)] = str(error)
                continue
            aligned[str(instance)] = {**pose, "pixels": int(pixels[instance])}
        return {"aligned": aligned, "unaligned": unaligned}

    def _pose(
        self, where: NDArray[np.bool_], coord_bgr: NDArray[np.uint8], depth_mm: NDArray[np.uint16]
    ) -> dict[str, Any]:
        rows, columns = np.nonzero(where & (depth_mm > 0))
        if len(rows) < MIN_POINTS:
            raise NoSimilarityError(f"{len(rows)} pixels have a depth; {MIN_POINTS} are needed")
        if len(rows) > _MAX_POINTS:
            chosen = np.linspace(0, len(rows) - 1, _MAX_POINTS).astype(int)
            rows, columns = rows[chosen], columns[chosen]
        source = decode_coord(coord_bgr[rows, columns]).astype(np.float64) - 0.5
        rays = np.stack([columns, rows, np.ones(len(rows))], axis=1) @ np.linalg.inv(self.intrinsics).T
        target = rays * (depth_mm[rows, columns, None] * 1e-3)
        similarity = robust_similarity(source, target)
        return {
            "scale": similarity.scale,
            "rotation": similarity.rotation.tolist(),
            "translation": similarity.translation.tolist(),
        }


def _cached(path: Path) -> dict[str, Any] | None:
    """A stored result; None if there is none, or if the file is damaged."""
    try:
        result = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and {"aligned", "unaligned"} <= set(result) else None
