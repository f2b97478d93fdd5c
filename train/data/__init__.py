# SPDX-License-Identifier: Apache-2.0
"""Data sets in the NOCS layout: reading, labels, augmentation, clips and batches."""

from train.data.augment import Augmentation
from train.data.clips import ClipSample, NocsClips
from train.data.loader import Stage, StepSampler, make_loader
from train.data.nocs_layout import BrokenFrame, Frame, NocsLayout, SceneObject

__all__ = [
    "Augmentation",
    "BrokenFrame",
    "ClipSample",
    "Frame",
    "NocsClips",
    "NocsLayout",
    "SceneObject",
    "Stage",
    "StepSampler",
    "make_loader",
]
