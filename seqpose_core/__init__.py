# SPDX-License-Identifier: Apache-2.0
"""SeqPose: 9-DoF category-level object poses from RGB video. This package needs no ROS and no training framework.

Names that need torch or SciPy are imported when they are first used, so that a process that only needs Camera or
ObjectPose loads neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import seqpose_core.threads  # noqa: F401 (first: it configures OpenMP before torch is loaded)
from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORIES, CATEGORY_NAMES, Category, category
from seqpose_core.estimator_options import EstimatorOptions
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.objects import ObjectPose

if TYPE_CHECKING:
    from seqpose_core.estimator import PoseEstimator
    from seqpose_core.model.memory import QueryMemory
    from seqpose_core.model.seqpose import SeqPose
    from seqpose_core.support_plane import SupportPlane

__version__ = "0.1.0"
__all__ = [
    "CATEGORIES",
    "CATEGORY_NAMES",
    "Camera",
    "Category",
    "EstimatorOptions",
    "ObjectPose",
    "PoseEstimator",
    "QueryMemory",
    "SeqPose",
    "SeqPoseConfig",
    "SupportPlane",
    "category",
]

_LAZY = {
    "PoseEstimator": "seqpose_core.estimator",
    "QueryMemory": "seqpose_core.model.memory",
    "SeqPose": "seqpose_core.model.seqpose",
    "SupportPlane": "seqpose_core.support_plane",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
