# SPDX-License-Identifier: Apache-2.0
"""Load the estimator that the node's parameters describe."""

from __future__ import annotations

import numpy as np

from seqpose_core import Camera, PoseEstimator, threads
from seqpose_ros import parameters
from seqpose_ros.parameters import Settings


def load_estimator(settings: Settings) -> PoseEstimator:
    """Create the estimator and run one warm-up step: the first step is slow (kernel selection, compilation)."""
    threads.set_threads(settings.threads)
    options = parameters.estimator_options(settings)
    estimator = PoseEstimator.from_pretrained(settings.checkpoint, settings.device, options=options)
    estimator.step(np.zeros((480, 640, 3), np.uint8), Camera(600.0, 600.0, 319.5, 239.5, 640, 480))
    estimator.reset()
    return estimator
