# SPDX-License-Identifier: Apache-2.0
"""Data sets in the NOCS layout: reading, labels, augmentation, clips and batches."""

from train.data.augment import Augmentation
from train.data.clips import ClipSample, NocsClips
from train.data.frame import Frame, SceneObject
from train.data.layout import Layout
from train.data.loader import make_loader
from train.data.nocs_files import BrokenFrameError
from train.data.nocs_layout import NocsLayout
from train.data.nocs_sets import open_layout
from train.data.sampler import Stage, StepSampler

__all__ = [
    "Augmentation",
    "BrokenFrameError",
    "ClipSample",
    "Frame",
    "Layout",
    "NocsClips",
    "NocsLayout",
    "SceneObject",
    "Stage",
    "StepSampler",
    "make_loader",
    "open_layout",
]
