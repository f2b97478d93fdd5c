# SPDX-License-Identifier: Apache-2.0
"""A tiny checkpoint with a seventh category, the kettle, which it detects in every image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import tiny_config

from seqpose_core import CATEGORIES, Camera, Category, ObjectPose, PoseEstimator, SeqPose, checkpoint

KETTLE = Category(7, "kettle", True, (0.2, 0.22, 0.16), (10, 20, 30))
CAMERA = Camera(600.0, 600.0, 322.0, 241.0, 640, 480)


def save_kettle_model(folder: Path) -> Path:
    """A checkpoint with the six NOCS categories and the kettle; the bias makes every query a kettle."""
    torch.manual_seed(0)
    model = SeqPose(replace(tiny_config(), categories=(*CATEGORIES, KETTLE)))
    with torch.no_grad():
        model.heads[-1].classify.bias[6] = 10.0
    return checkpoint.save(model, folder)


def detect_kettles(folder: Path, **options: Any) -> list[ObjectPose]:
    """What the checkpoint in ``folder`` detects in a random image."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return PoseEstimator.from_pretrained(folder, min_hits=1, **options).step(image, CAMERA)
