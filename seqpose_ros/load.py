# SPDX-License-Identifier: Apache-2.0
"""Load the estimator that the node's parameters describe; nodes of one process share the weights."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

import numpy as np

from seqpose_core import Camera, PoseEstimator, threads
from seqpose_core.runtime.engine import Engine
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


class EstimatorLoader:
    """Creates estimators that share one engine if their settings of the model are equal.

    Memory and tracks belong to the estimator. The engine is freed with the last estimator that uses it.
    """

    def __init__(self) -> None:
        self._engines: WeakValueDictionary[tuple[object, ...], Engine] = WeakValueDictionary()
        self._lock = threading.Lock()

    def __call__(self, settings: Settings) -> PoseEstimator:
        """As :func:`load_estimator`; it loads only if no other estimator has this model."""
        names = ("checkpoint", "device", "precision", "runtime", "memory_frames", "threads")
        key = tuple(getattr(settings, name) for name in names)
        with self._lock:
            engine = self._engines.get(key)
            if engine is None:
                engine = self._engines[key] = load_estimator(settings).engine
        return PoseEstimator(engine, parameters.estimator_options(settings))
