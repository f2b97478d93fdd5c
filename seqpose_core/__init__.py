# SPDX-License-Identifier: Apache-2.0
"""SeqPose: 9-DoF category-level object poses from RGB video. No ROS and no training framework in here."""

from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORIES, CATEGORY_NAMES, Category, category
from seqpose_core.estimator import EstimatorOptions, PoseEstimator
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.memory import QueryMemory
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.objects import ObjectPose

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
    "category",
]
