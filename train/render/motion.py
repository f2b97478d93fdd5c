# SPDX-License-Identifier: Apache-2.0
"""Motion of a hand-held camera: orbit and sway as sums of sines, and a small tremor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from train.render.meshes import Array

# One row per channel: azimuth (rad), elevation (rad), log distance, roll (rad), target x, y, z (m).
_SLOW = np.array([0.55, 0.14, 0.13, 0.05, 0.035, 0.035, 0.018])
_TREMOR = np.array([0.004, 0.004, 0.003, 0.004, 0.003, 0.003, 0.002])
LOWEST, HIGHEST = np.radians(5), np.radians(75)
NEAREST, FARTHEST = 0.25, 2.1
MAXIMUM_ROLL = np.radians(15)


@dataclass(frozen=True)
class HandHeldMotion:
    """The camera's path as a smooth function of time, defined for every t >= 0.

    ``front`` (centre, half width) rad is the range of azimuths, ``highest`` rad the largest elevation.
    """

    base: Array  # (7,) channel values about which the camera moves
    orbit: float  # rad/s
    amplitude: Array  # (7, W)
    frequency: Array  # (7, W) Hz
    phase: Array  # (7, W) rad
    front: tuple[float, float] = (0.0, float(np.pi))
    highest: float = float(HIGHEST)

    @staticmethod
    def sample(
        rng: Generator,
        nearest: float = 0.3,
        target: Array | None = None,
        pace: float = 1.0,
        front: tuple[float, float] = (0.0, float(np.pi)),
        highest: float = float(HIGHEST),
    ) -> HandHeldMotion:
        """A path that starts ``nearest`` to 2 m from ``target`` (3,), at 5 to 75 degrees elevation."""
        aim = np.array([0.0, 0.0, 0.04]) if target is None else np.asarray(target, dtype=float)
        elevation = LOWEST + (min(highest, HIGHEST) - LOWEST) * rng.beta(1.6, 1.7)
        base = np.array(
            [
                front[0] + rng.uniform(-1, 1) * front[1],
                elevation,
                np.log(nearest + (2.0 - nearest) * rng.beta(1.3, 2.9)),
                np.clip(rng.normal(0, np.radians(5)), -MAXIMUM_ROLL, MAXIMUM_ROLL),
                *(aim + rng.normal(0, [0.035, 0.035, 0.02])),
            ]
        )
        energy = rng.uniform(0.3, 1.6) * pace
        slow = _SLOW[:, None] * rng.normal(0, 0.7, (7, 2)) * energy
        tremor = _TREMOR[:, None] * rng.normal(0, 0.7, (7, 2)) * energy
        # Period of the large motion 6 to 20 s; tremor 1.5 to 5 Hz, as measured for hands holding a phone.
        frequency = np.concatenate([rng.uniform(0.05, 0.17, (7, 2)), rng.uniform(1.5, 5.0, (7, 2))], axis=1)
        return HandHeldMotion(
            base,
            float(rng.normal(0, 0.3) * energy),
            np.concatenate([slow, tremor], axis=1),
            frequency,
            rng.uniform(0, 2 * np.pi, (7, 4)),
            front,
            float(min(highest, HIGHEST)),
        )

    def world_from_camera(self, time: float) -> Array:
        """Pose (4, 4) at ``time`` seconds: OpenCV optical frame (z forward, y down) in the world (z up)."""
        # Relative to t = 0, so that the base values hold for a clip's first frame.
        angle = 2 * np.pi * self.frequency * time + self.phase
        swing = (self.amplitude * (np.sin(angle) - np.sin(self.phase))).sum(axis=1)
        azimuth, elevation, log_distance, roll, *target = self.base + swing
        azimuth += self.orbit * time
        centre, span = self.front
        if span < np.pi:  # fold the azimuth smoothly into its range
            start = np.arcsin(np.clip((self.base[0] - centre) / span, -1, 1))
            azimuth = centre + span * np.sin(start + (azimuth - self.base[0]) / span)
        elevation = np.clip(elevation, LOWEST, self.highest)
        distance = np.clip(np.exp(log_distance), NEAREST, FARTHEST)
        roll = np.clip(roll, -MAXIMUM_ROLL, MAXIMUM_ROLL)
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
        pose[2, 3] = max(pose[2, 3], 0.02)
        return pose
