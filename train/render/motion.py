# SPDX-License-Identifier: Apache-2.0
"""A hand-held camera: slow orbit and sway as sums of sines, with a small tremor on top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from train.render.meshes import Array

# One row a channel: azimuth (rad), elevation (rad), log distance, roll (rad), target x, y, z (m).
_SLOW = np.array([0.55, 0.11, 0.10, 0.035, 0.030, 0.030, 0.015])
_TREMOR = np.array([0.004, 0.004, 0.003, 0.004, 0.003, 0.003, 0.002])


@dataclass(frozen=True)
class HandHeldMotion:
    """The camera's path as a smooth function of time, defined for every t >= 0."""

    base: Array  # (7,) channel values about which the camera moves
    amplitude: Array  # (7, W)
    frequency: Array  # (7, W) Hz
    phase: Array  # (7, W) rad

    @staticmethod
    def sample(rng: Generator, nearest: float = 0.45) -> HandHeldMotion:
        """Distance ``nearest`` to 1.2 m, elevation 15 to 65 degrees, before sway."""
        base = np.array(
            [
                rng.uniform(0, 2 * np.pi),
                np.radians(15 + 50 * rng.beta(1.6, 1.8)),
                np.log(nearest + (1.2 - nearest) * rng.beta(1.5, 1.7)),
                rng.normal(0, np.radians(4)),
                *rng.normal(0, 0.03, 2),
                rng.uniform(0.0, 0.09),
            ]
        )
        energy = rng.uniform(0.3, 1.5)
        slow = _SLOW[:, None] * rng.normal(0, 0.7, (7, 2)) * energy
        tremor = _TREMOR[:, None] * rng.normal(0, 0.7, (7, 2)) * energy
        # Period of the large motion 6 to 20 s; tremor 1.5 to 5 Hz, as measured for hands holding a phone.
        frequency = np.concatenate([rng.uniform(0.05, 0.17, (7, 2)), rng.uniform(1.5, 5.0, (7, 2))], axis=1)
        return HandHeldMotion(
            base, np.concatenate([slow, tremor], axis=1), frequency, rng.uniform(0, 2 * np.pi, (7, 4))
        )

    def world_from_camera(self, time: float) -> Array:
        """Pose (4, 4) at ``time`` seconds: OpenCV optical frame (z forward, y down) in the world (z up)."""
        # Relative to t = 0, so that the base values hold for a clip's first frame.
        angle = 2 * np.pi * self.frequency * time + self.phase
        swing = (self.amplitude * (np.sin(angle) - np.sin(self.phase))).sum(axis=1)
        azimuth, elevation, log_distance, roll, *target = self.base + swing
        elevation = np.clip(elevation, np.radians(12), np.radians(72))
        distance = np.clip(np.exp(log_distance), 0.40, 1.4)
        outward = np.array(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        )
        forward = -outward
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        c, s = np.cos(roll), np.sin(roll)
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2] = c * right + s * down, c * down - s * right, forward
        pose[:3, 3] = np.asarray(target) + distance * outward
        return pose
