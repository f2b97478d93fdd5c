# SPDX-License-Identifier: Apache-2.0
"""Data sets in the NOCS layout: reading, labels, augmentation, clips and batches."""

from train.data.augment import Augmentation
from train.data.clips import ClipSample, NocsClips
from train.data.frame import Frame, SceneObject
from train.data.loader import Stage, StepSampler, make_loader
from train.data.nocs_files import BrokenFrameError
from train.data.nocs_layout import NocsLayout

__all__ = [
    "Augmentation",
    "BrokenFrameError",
    "ClipSample",
    "Frame",
    "NocsClips",
    "NocsLayout",
    "SceneObject",
    "Stage",
    "StepSampler",
    "make_loader",
]
