# SPDX-License-Identifier: Apache-2.0
"""Read HouseCat6D (Jung et al., CVPR 2024, CC BY 4.0), for evaluation.

    <root>/{scene,val_scene,test_scene}<number>/
      {rgb,instance,depth}/000000.png, labels/000000_label.pkl     instance: ids in channel R; depth in mm
      intrinsics.txt (3x3), meta.txt                               lines "instance class category-model"

A label holds instance_ids, rotations (N, 3, 3), translations (N, 3) in m and gt_scales (N, 3), full extents in m; y is
the axis of symmetry, as in NOCS. The direction of the handles of cups is not documented, so cups are not read as mugs.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from seqpose_core.categories import CATEGORIES, Category
from train.data import safe_pickle
from train.data.frame import Frame, SceneObject
from train.data.layout import Clip, Layout
from train.data.nocs_files import (
    BrokenFrameError,
    check_same_size,
    count_values,
    decode_depth,
    decode_mask,
    read_bytes,
    read_camera,
    read_image,
    rigid_part,
)

#: Prefix of the scene folders of each split.
PREFIXES = {"housecat6d_train": "scene", "housecat6d_val": "val_scene", "housecat6d_test": "test_scene"}
#: The categories of HouseCat6D with the same axes in NOCS.
SHARED = ("bottle", "can")


class HouseCat6D(Layout):
    """The scenes of one split; objects of other categories than :data:`SHARED` are left out.

    :param categories: of the model. :raises FileNotFoundError: the root has no scenes of the split.
    """

    def __init__(self, root: Path, split: str, categories: Sequence[Category] = CATEGORIES) -> None:
        super().__init__()
        self.categories = {c.name: c for c in categories if c.name in SHARED}
        clips = []
        for folder in sorted(path for path in root.glob(f"{PREFIXES[split]}*") if path.is_dir()):
            names = sorted(file.stem for file in folder.glob("rgb/*.png") if file.stem.isdecimal())
            if names:
                clips.append(Clip(folder.name, str(folder), tuple(names)))
        if not clips:
            raise FileNotFoundError(
                f"{root} holds no {PREFIXES[split]}*/rgb/000000.png; unzip the scenes of HouseCat6D into it"
            )
        self.clips = tuple(clips)

    @property
    def notes(self) -> list[str]:
        other: Counter[str] = Counter()
        for clip in self.clips:
            try:
                other.update(c for c in self._categories_of(clip).values() if c not in self.categories)
            except BrokenFrameError:
                continue  # all frames of the scene are broken for this reason
        if not other:
            return []
        counts = ", ".join(f"{count} {name}" for name, count in sorted(other.items()))
        return [f"objects of other categories are not evaluated: {counts}"]

    def _categories_of(self, clip: Clip) -> dict[int, str]:
        """Category by instance of a scene."""
        path = os.path.join(clip.folder, "meta.txt")
        categories = {}
        for line in read_bytes(path).decode(errors="replace").splitlines():
            columns = line.split()
            if not columns:
                continue
            if len(columns) != 3 or not columns[0].isdecimal() or "-" not in columns[2]:
                raise BrokenFrameError(path, f"line {line!r} is not 'instance class category-model'")
            categories[int(columns[0])] = columns[2].partition("-")[0]
        return categories

    def _read(self, clip: Clip, name: str) -> Frame:
        paths = {part: os.path.join(clip.folder, part, f"{name}.png") for part in ("rgb", "instance", "depth")}
        image = cv2.cvtColor(read_image(paths["rgb"], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        mask = decode_mask(paths["instance"], read_bytes(paths["instance"]))
        depth = decode_depth(paths["depth"], read_bytes(paths["depth"]))
        check_same_size(image, {paths["instance"]: mask, paths["depth"]: depth})
        height, width = image.shape[:2]
        return Frame(
            scene=clip.scene,
            name=name,
            image=image.astype(np.uint8, copy=False),
            mask=mask,
            coord_bgr=np.zeros_like(image, dtype=np.uint8),
            depth_mm=depth,
            objects=self._objects(clip, name, count_values(mask)),
            camera=read_camera(os.path.join(clip.folder, "intrinsics.txt"), width, height, None),
            stamp=None,
            camera_pose=None,
        )

    def _objects(self, clip: Clip, name: str, pixels: NDArray[np.int64]) -> tuple[SceneObject, ...]:
        path = os.path.join(clip.folder, "labels", f"{name}_label.pkl")
        data = read_bytes(path)
        try:
            label = safe_pickle.loads(data)
            instances = np.asarray(label["instance_ids"], np.int64).reshape(-1)
            count = len(instances)
            linear = np.asarray(label["rotations"], np.float64).reshape(count, 3, 3)
            translations = np.asarray(label["translations"], np.float64).reshape(count, 3)
            sizes = np.asarray(label["gt_scales"], np.float64).reshape(count, 3)
        except (pickle.UnpicklingError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise BrokenFrameError(path, f"{type(error).__name__}: {error}") from error
        if not all(np.isfinite(values).all() for values in (linear, translations, sizes)) or not (sizes > 0).all():
            raise BrokenFrameError(path, "rotations, translations or gt_scales are not finite and positive")
        categories = self._categories_of(clip)
        missing = [int(i) for i in instances if i not in categories or not 0 <= i < len(pixels)]
        if missing:
            raise BrokenFrameError(path, f"instance {missing[0]} is not listed in meta.txt of the scene")
        rotations = rigid_part(path, linear)
        # Labels list all objects of a scene, also those that are out of sight.
        return tuple(
            SceneObject(
                class_id=category.id,
                instance=int(instance),
                rotation=rotations[index],
                translation=translations[index],
                size=sizes[index],
                handle_visible=True,
                visible_pixels=int(pixels[instance]),
                category_info=category,
            )
            for index, instance in enumerate(instances)
            if (category := self.categories.get(categories[int(instance)])) is not None and pixels[instance] > 0
        )
