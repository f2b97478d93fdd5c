# SPDX-License-Identifier: Apache-2.0
"""Read the test set of Wild6D (Fu and Wang, NeurIPS 2022, for academic research only), for evaluation.

    <root>/test_set/
      <category>/<object>/<video>/{images or rgbd}/<n>.jpg, <n>-depth.png, <n>-mask.png     depth in mm
      <category>/<object>/<video>/metadata                    JSON; K holds the matrix column by column
      pkl_annotations/<category>/<category>-<object>-<video>.pkl
      test_list_<category>.txt                                optional: the frames that are evaluated

Entry n of ``annotations`` has rotation (3, 3), translation (3,) in m and size (3,), full extents in m, of the one
annotated object of frame n, in the axes of NOCS. Other objects in the images have no labels.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORIES, Category
from train.data import safe_pickle
from train.data.frame import Frame, SceneObject
from train.data.layout import Clip, Layout
from train.data.nocs_files import (
    BACKGROUND,
    BrokenFrameError,
    check_same_size,
    decode_depth,
    decode_mask,
    read_bytes,
    read_image,
    rigid_part,
)

_INSTANCE = 1
_IMAGES = ("images", "rgbd")


class Wild6D(Layout):
    """The videos of the test set.

    :param root: the folder with test_set, or test_set itself. :param categories: of the model.
    :raises FileNotFoundError: the root holds no videos.
    """

    def __init__(self, root: Path, categories: Sequence[Category] = CATEGORIES) -> None:
        super().__init__()
        self.folder = root / "test_set" if (root / "test_set").is_dir() else root
        self.categories = {c.name: c for c in categories}
        self._unknown: dict[str, int] = {}
        self._read_annotations = lru_cache(maxsize=4)(_annotations)
        self.clips = tuple(self._list_clips())
        if not self.clips:
            raise FileNotFoundError(
                f"{self.folder} holds no <category>/<object>/<video>/images/<n>.jpg; unzip Wild6D's test set into it"
            )

    @property
    def notes(self) -> list[str]:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self._unknown.items()))
        return [f"videos of other categories are not evaluated: {counts}"] if counts else []

    def _list_clips(self) -> list[Clip]:
        clips = []
        listed = {category: self._listed(category) for category in self.categories}
        for video in sorted(path.parent for path in self.folder.glob("*/*/*/metadata")):
            images = next((video / name for name in _IMAGES if (video / name).is_dir()), None)
            if images is None:
                continue
            category, item, number = video.parts[-3:]
            if category not in self.categories:
                self._unknown[category] = self._unknown.get(category, 0) + 1
                continue
            names = sorted((file.stem for file in images.glob("*.jpg") if file.stem.isdecimal()), key=int)
            if listed[category]:
                names = [name for name in names if int(name) in listed[category].get((item, number), ())]
            if names:
                clips.append(Clip(f"{category}-{item}-{number}", str(images), tuple(names)))
        return clips

    def _listed(self, category: str) -> dict[tuple[str, str], set[int]]:
        """Frame numbers of test_list_<category>.txt by object and video; empty without such a file."""
        frames: dict[tuple[str, str], set[int]] = {}
        path = self.folder / f"test_list_{category}.txt"
        for line in path.read_text().split() if path.is_file() else ():
            parts = Path(line).parts
            if len(parts) >= 4 and Path(line).stem.isdecimal():
                frames.setdefault((parts[-4], parts[-3]), set()).add(int(Path(line).stem))
        return frames

    def _read(self, clip: Clip, name: str) -> Frame:
        stem = os.path.join(clip.folder, name)
        image = cv2.cvtColor(read_image(f"{stem}.jpg", cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        where = decode_mask(f"{stem}-mask.png", read_bytes(f"{stem}-mask.png")) > 0
        depth = decode_depth(f"{stem}-depth.png", read_bytes(f"{stem}-depth.png"))
        check_same_size(image, {f"{stem}-mask.png": where, f"{stem}-depth.png": depth})
        category = self.categories[clip.scene.partition("-")[0]]
        height, width = image.shape[:2]
        return Frame(
            scene=clip.scene,
            name=name,
            image=image.astype(np.uint8, copy=False),
            mask=np.where(where, _INSTANCE, BACKGROUND).astype(np.uint8),
            coord_bgr=np.zeros_like(image, dtype=np.uint8),
            depth_mm=depth,
            objects=(self._object(clip, int(name), category, int(where.sum())),),
            camera=_camera(str(Path(clip.folder).parent / "metadata"), width, height),
            stamp=None,
            camera_pose=None,
        )

    def _object(self, clip: Clip, number: int, category: Category, pixels: int) -> SceneObject:
        path = str(self.folder / "pkl_annotations" / category.name / f"{clip.scene}.pkl")
        annotations = self._read_annotations(path)
        if number >= len(annotations):
            raise BrokenFrameError(path, f"has {len(annotations)} annotations, none of frame {number}")
        try:
            entry = annotations[number]
            named = str(entry["name"]).rpartition("/")[2] if "name" in entry else str(number)
            linear = np.asarray(entry["rotation"], np.float64).reshape(3, 3)
            translation = np.asarray(entry["translation"], np.float64).reshape(3)
            size = np.asarray(entry["size"], np.float64).reshape(3)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise BrokenFrameError(path, f"annotation {number}: {type(error).__name__}: {error}") from error
        if named.isdecimal() and int(named) != number:
            raise BrokenFrameError(path, f"annotation {number} is named {entry['name']!r}, which is another frame")
        with np.errstate(invalid="ignore"):
            scale = np.cbrt(np.linalg.det(linear))
        if not (scale > 1e-6 and np.isfinite(translation).all() and np.isfinite(size).all() and (size > 0).all()):
            raise BrokenFrameError(path, f"annotation {number} has values that are not finite and positive")
        return SceneObject(
            class_id=category.id,
            instance=_INSTANCE,
            rotation=rigid_part(path, linear[None] / scale)[0],
            translation=translation,
            size=size * scale,
            handle_visible=True,
            visible_pixels=pixels,
            model=clip.scene,
            category_info=category,
        )


def _annotations(path: str) -> Sequence[Any]:
    data = read_bytes(path)
    try:
        annotations = safe_pickle.loads(data)["annotations"]
        len(annotations)
    except (pickle.UnpicklingError, LookupError, TypeError) as error:
        raise BrokenFrameError(path, f"{type(error).__name__}: {error}") from error
    return annotations  # type: ignore[no-any-return]


def _camera(path: str, width: int, height: int) -> Camera:
    try:
        matrix: NDArray[np.float64] = np.array(json.loads(read_bytes(path))["K"], np.float64).reshape(3, 3).T
    except (LookupError, TypeError, ValueError) as error:
        raise BrokenFrameError(path, f"has no matrix K of nine numbers: {error}") from error
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or matrix[2].tolist() != [0, 0, 1]:
        raise BrokenFrameError(path, f"K is {matrix.tolist()}; expected intrinsics with positive focal lengths")
    return Camera.from_matrix(matrix, width, height)
