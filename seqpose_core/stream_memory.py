# SPDX-License-Identifier: Apache-2.0
"""The query memory of one stream in NumPy, for inference: QueryMemory of a single sample (Eq. 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

import numpy as np

#: Elapsed seconds are clamped to this, as in training (seqpose_core.model.memory).
LONGEST_GAP = 60.0


class StreamMemory:
    """The top K queries of each of the last N frames, newest frame first, with stamps and camera poses in float64.

    :param embedding: (S, C) float32, S = N·K. :param reference: (S, 3) float32, metres, in the camera frame of the
        query's own frame. :param valid: (S,) bool.
    """

    def __init__(self, slots: int, width: int) -> None:
        """A memory of ``slots`` invalid slots."""
        self.embedding = np.zeros((slots, width), np.float32)
        self.reference = np.zeros((slots, 3), np.float32)
        self.valid = np.zeros(slots, bool)
        self._stamp = np.full(slots, np.nan)  # NaN where unknown
        self._pose = np.full((slots, 4, 4), np.nan)

    def inputs(self, stamp: float | None, camera_pose: np.ndarray | None) -> dict[str, np.ndarray]:
        """Memory and its motion relative to the current frame: the step's inputs of these names, without batch axis.

        :param stamp: seconds. :param camera_pose: (4, 4) world from camera. None: unknown.
        """
        slots = len(self.valid)
        known = np.zeros(slots, bool)
        motion = np.tile(np.eye(3, 4), (slots, 1, 1))
        elapsed = np.zeros(slots)
        if _is_finite(camera_pose):
            known = self.valid & ~np.isnan(self._pose[:, 0, 0])
            now, past = np.asarray(camera_pose, np.float64), self._pose[known]
            # The inverse of a rigid transform, written out: it is exact for a proper rotation.
            inverse = now[:3, :3].T
            motion[known, :, :3] = inverse @ past[:, :3, :3]
            motion[known, :, 3] = (past[:, :3, 3] - now[:3, 3]) @ inverse.T
        if stamp is not None:
            timed = self.valid & ~np.isnan(self._stamp)
            elapsed[timed] = (stamp - self._stamp[timed]).clip(0.0, LONGEST_GAP)
        return {
            "motion": motion.astype(np.float32),
            "elapsed": elapsed.astype(np.float32),
            "known": known,
            "embedding": self.embedding,
            "reference": self.reference,
            "valid": self.valid,
        }

    def push(self, outputs: Mapping[str, np.ndarray], stamp: float | None, camera_pose: np.ndarray | None) -> None:
        """Insert the top queries of a frame in front and drop those of the oldest frame.

        :param outputs: of the step, without batch axis: ``new_embedding``, ``new_reference``, ``new_valid``. A network
            without memory has none, and a memory without slots needs none.
        """
        if not len(self.valid):
            return
        top_k = len(outputs["new_valid"])
        pose = camera_pose if _is_finite(camera_pose) else np.full((4, 4), np.nan)
        rows = {
            "embedding": outputs["new_embedding"],
            "reference": outputs["new_reference"],
            "valid": outputs["new_valid"],
            "_stamp": np.full(top_k, np.nan if stamp is None else stamp),
            "_pose": np.broadcast_to(pose, (top_k, 4, 4)),
        }
        for name, row in rows.items():
            old = getattr(self, name)
            setattr(self, name, np.concatenate([row, old[: len(old) - top_k]]))


def _is_finite(pose: np.ndarray | None) -> TypeGuard[np.ndarray]:
    return pose is not None and bool(np.isfinite(pose).all())
