# SPDX-License-Identifier: Apache-2.0
"""Gripper: a parallel gripper as three boxes.

Gripper frame: the origin lies between the fingertips, z is the approach direction (out of the palm), y the closing
direction, x runs along the width of the fingers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from seqpose_core.grasping.boxes import Boxes


@dataclass(frozen=True)
class Gripper:
    """A parallel gripper whose fingers move symmetrically. All lengths in metres.

    :param opening: largest distance between the fingers.
    :param finger_depth: from the palm to the fingertips.
    :param finger_width: of a finger along x. :param finger_thickness: of a finger along y.
    :param palm_width: of the palm along x. :param palm_length: along y. :param palm_depth: along z.
    :param standoff: distance from the pre-grasp to the grasp.
    :raises ValueError: for a length that is not positive.
    """

    opening: float = 0.085
    finger_depth: float = 0.050
    finger_width: float = 0.020
    finger_thickness: float = 0.010
    palm_width: float = 0.060
    palm_length: float = 0.120
    palm_depth: float = 0.080
    standoff: float = 0.10

    def __post_init__(self) -> None:
        for entry in fields(self):
            if not getattr(self, entry.name) > 0:
                raise ValueError(f"{entry.name} is {getattr(self, entry.name)} m; it must be positive")

    def swept_boxes(self, opening: np.ndarray, travel: float) -> Boxes:
        """(G, 3) boxes in the gripper frame: finger at -y, finger at +y, palm; swept over a straight approach.

        :param opening: (G,) distance between the fingers, metres.
        :param travel: length of the approach along z that ends at the origin, metres; 0 = the gripper at rest.
        """
        count = len(opening)
        across = (np.asarray(opening, dtype=np.float64) + self.finger_thickness) / 2
        finger, palm = self.finger_depth + travel, self.palm_depth + travel
        centre, half = np.zeros((count, 3, 3)), np.zeros((count, 3, 3))
        centre[:, 0, 1], centre[:, 1, 1] = -across, across
        centre[:, :2, 2] = -finger / 2
        centre[:, 2, 2] = -self.finger_depth - palm / 2
        half[:, :2] = np.array([self.finger_width, self.finger_thickness, finger]) / 2
        half[:, 2] = np.array([self.palm_width, self.palm_length, palm]) / 2
        return Boxes(centre, np.broadcast_to(np.eye(3), (count, 3, 3, 3)), half)
