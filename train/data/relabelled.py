# SPDX-License-Identifier: Apache-2.0
"""The relabelled pickles (Tian et al., Shape Prior Deformation, ECCV 2020), widely used on CAMERA and REAL.

They are stored next to the images as <frame>_label.pkl and list instance ids; objects with fewer than 64 pixels of
depth are left out, and frames without other objects or with an object across the full image have no file. Sizes are
twice the largest coordinate of a model's points. The origin of mugs is on the axis of the body instead of the box
centre, so figures on mugs are not comparable with those on the labels of NOCS. They exist for the six NOCS categories
only, so the categories are not configurable here.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqpose_core.categories import category
from train.data import safe_pickle
from train.data.frame import SceneObject
from train.data.nocs_files import BrokenFrameError, read_bytes, read_meta, rigid_part

LABEL = "label.pkl"  #: of a frame, after its name and an underscore
_MUG = category("mug").id


class Relabelling:
    """Reader of the relabelled pickles of one split, with the sizes and mug origins from ``<root>/obj_models``.

    :param models: model name → points (N, 3) in units of the box diagonal, relative to the origin of the labels.
    :param mugs: mug → (shift (3,), scale): a centred NOCS coordinate c becomes scale · (c + shift).
    """

    def __init__(self, models: dict[str, NDArray[Any]], mugs: dict[str, tuple[NDArray[Any], float]]) -> None:
        self.sizes = {name: 2 * np.abs(np.asarray(points, np.float64)).max(0) for name, points in models.items()}
        self.mugs = {name: (np.asarray(shift, np.float64), float(scale)) for name, (shift, scale) in mugs.items()}

    @classmethod
    def open(cls, folder: Path, models: str) -> Relabelling:
        """Read ``folder``/<models>.pkl and mug_meta.pkl, which are distributed with the labels.

        :raises FileNotFoundError: a file is missing. :raises ValueError: a file has another content.
        """
        for path in (folder / f"{models}.pkl", folder / "mug_meta.pkl"):
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path} is missing; the relabelled labels need it for sizes and the origin of mugs"
                )
        try:
            return cls(safe_pickle.load(folder / f"{models}.pkl"), safe_pickle.load(folder / "mug_meta.pkl"))
        except (pickle.UnpicklingError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{folder}/{models}.pkl or mug_meta.pkl: {error}") from error

    def objects(
        self, stem: str, mask: NDArray[np.uint8], coord_bgr: NDArray[np.uint8], pixels: NDArray[np.int64]
    ) -> tuple[SceneObject, ...]:
        """The labelled objects of the frame <stem>_*. The NOCS coordinates of mugs are converted in place.

        :param pixels: (256,) number of pixels of each value in the mask.
        """
        path = f"{stem}_{LABEL}"
        data = read_bytes(path)
        try:
            label = safe_pickle.loads(data)
            instances = [int(value) for value in label["instance_ids"]]
            classes = [int(value) for value in label["class_ids"]]
            models = [str(value) for value in label["model_list"]]
            count = len(instances)
            scales = np.asarray(label["scales"], np.float64).reshape(count)
            linear = np.asarray(label["rotations"], np.float64).reshape(count, 3, 3)
            translations = np.asarray(label["translations"], np.float64).reshape(count, 3)
            # Only the labels of the test splits contain the visibility of handles.
            handles = np.asarray(label.get("handle_visibility", np.ones(count)), np.int64).reshape(count)
        except (pickle.UnpicklingError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise BrokenFrameError(path, f"{type(error).__name__}: {error}") from error
        listed = {instance: (class_id, model) for instance, class_id, model in read_meta(f"{stem}_meta.txt")}
        for instance, class_id, model in zip(instances, classes, models, strict=False):
            if listed.get(instance) != (class_id, model):
                raise BrokenFrameError(
                    path, f"instance {instance} is {class_id} {model!r} but the meta file has {listed.get(instance)}"
                )
            if model not in self.sizes or (class_id == _MUG and model not in self.mugs):
                raise BrokenFrameError(path, f"size or origin of model {model!r} is not in obj_models")
        if len(classes) != count or len(models) != count or len(set(instances)) != count:
            raise BrokenFrameError(
                path, f"has instances {instances}, classes {classes} and models {models}; the numbers must be equal"
            )
        if not (np.isfinite(scales).all() and np.isfinite(translations).all() and (scales > 1e-6).all()):
            raise BrokenFrameError(path, "scales or translations are not finite and positive")
        rotations = rigid_part(path, linear)
        for instance, class_id, model in zip(instances, classes, models, strict=True):
            if class_id == _MUG:
                _shift_origin(coord_bgr, mask == instance, *self.mugs[model])
        return tuple(
            SceneObject(
                class_id=classes[index],
                instance=instances[index],
                rotation=rotations[index],
                translation=translations[index],
                size=self.sizes[models[index]] * scales[index],
                handle_visible=bool(handles[index]),
                visible_pixels=int(pixels[instances[index]]),
                model=models[index],
            )
            for index in range(count)
        )


def _shift_origin(
    coord_bgr: NDArray[np.uint8], where: NDArray[np.bool_], shift: NDArray[np.float64], scale: float
) -> None:
    """Convert a mug's coordinates to its new origin, in place. The channels hold 1 - z, y and x."""
    level = np.arange(256) / 255 - 0.5
    for channel, offset in enumerate((-shift[2], shift[1], shift[0])):
        table = np.round(255 * np.clip(scale * (level + offset) + 0.5, 0, 1)).astype(np.uint8)
        coord_bgr[where, channel] = table[coord_bgr[where, channel]]
