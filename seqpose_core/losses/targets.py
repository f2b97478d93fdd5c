# SPDX-License-Identifier: Apache-2.0
"""Training targets: the ground-truth objects and dense maps of a batch of frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """Ground truth of B frames, padded to M objects.

    :param classes: (B, M) int64, 0..C-1 = class id - 1 for C categories; -1 marks padding.
    :param rotation: (B, M, 3, 3) object to camera; :param translation: (B, M, 3) m; :param size: (B, M, 3) m.
    :param symmetric: (B, M) bool: the rotation about y is not observable; the label follows a convention.
    :param segmentation: (B, h, w) class ids, 0 = background.
    :param depth: (B, h, w) metres, 0 = unknown.
    :param normals: (B, 3, h, w) unit vectors towards the camera, in the camera frame; zero where unknown.
    :param nocs: (B, 3, h, w) in 0..1, defined where segmentation > 0.
    """

    classes: Tensor
    rotation: Tensor
    translation: Tensor
    size: Tensor
    symmetric: Tensor
    segmentation: Tensor
    depth: Tensor
    normals: Tensor
    nocs: Tensor

    @classmethod
    def at_frame(cls, batch: Mapping[str, Tensor], frame: int) -> Targets:
        """Frame ``frame`` of a batch of clips whose entries are (B, T, ...)."""
        return cls(**{name: batch[name][:, frame] for name in cls.__dataclass_fields__})

    def repeat_objects(self, times: int) -> Targets:
        """The objects of all frames ``times`` times, one after the other; the dense maps stay as they are."""
        objects = {name: getattr(self, name) for name in ("classes", "rotation", "translation", "size", "symmetric")}
        return replace(self, **{name: value.repeat(times, *[1] * (value.dim() - 1)) for name, value in objects.items()})

    @property
    def present(self) -> Tensor:
        """(B, M) bool: false for padding."""
        return self.classes >= 0
