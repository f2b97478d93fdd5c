# SPDX-License-Identifier: Apache-2.0
"""Extents of the CAD models of NOCS, from the files in obj_models, as NOCS's own evaluation reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class ModelSizes:
    """Extents of the models in one folder of obj_models.

    REAL has <model>.txt with three extents, which are divided by their diagonal; CAMERA has
    <synset>/<model>/bbox.txt with the largest and the smallest coordinates.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._extents: dict[str, NDArray[np.float64]] = {}

    def extents(self, model: str) -> NDArray[np.float64]:
        """Extents (3,) of a model in units of its NOCS cube.

        :raises ValueError: there is no file for it, or it has another content.
        """
        if model not in self._extents:
            self._extents[model] = self._read(model)
        return self._extents[model]

    def _read(self, model: str) -> NDArray[np.float64]:
        if not model or Path(model).name != model:
            raise ValueError(f"the meta file names no model but {model!r}")
        single = self.folder / f"{model}.txt"
        paths = [single, *sorted(self.folder.glob(f"*/{model}/bbox.txt"))]
        path = next((p for p in paths if p.is_file()), None)
        if path is None:
            raise ValueError(f"{self.folder} has neither {model}.txt nor <synset>/{model}/bbox.txt")
        try:
            numbers = np.array(path.read_text().split(), dtype=np.float64)
            extents = numbers.reshape(3) if path == single else np.abs(np.subtract(*numbers.reshape(2, 3)))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        if not (np.isfinite(extents).all() and (extents > 0).all()):
            raise ValueError(f"{path} has the extents {extents.tolist()}; they must be positive")
        return extents / np.linalg.norm(extents) if path == single else extents
