# SPDX-License-Identifier: Apache-2.0
"""Execute one grasp in the simulated world: approach, close, lift, hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from train.grasp.world import TIMESTEP, World
from train.render.meshes import Array

#: The lift, and how much of it the object must make, metres.
LIFT, REQUIRED_LIFT = 0.20, 0.10
_APPROACH, _CLOSE, _RAISE, _HOLD = 0.7, 0.5, 0.9, 0.4  # seconds
#: Commanded opening of closed fingers: below zero, so that the force on thin parts is the limit, metres.
_CLOSED = -0.04


@dataclass(frozen=True)
class Attempt:
    """What happened: height gained by the target (m), whether the gripper touched something else before it had closed,
    and whether both fingers held the target after closing."""

    lift: float
    collided: bool
    held: bool

    @property
    def success(self) -> bool:
        """Whether the target was lifted by at least 10 cm."""
        return self.lift >= REQUIRED_LIFT


def execute(
    world: World,
    target: int,
    pregrasp: Array,
    grasp: Array,
    opening: float,
    observe: Callable[[World], None] | None = None,
) -> Attempt:
    """Execute a grasp from the settled state.

    :param pregrasp, grasp: (4, 4) poses of the gripper frame in the world, of equal rotation.
    :param observe: called after each time step, for videos.
    """
    world.reset()
    height = world.object_pose(target)[2, 3]
    world.place_gripper(pregrasp, opening)
    into_gripper = pregrasp[:3, :3].T
    approach = into_gripper @ (grasp[:3, 3] - pregrasp[:3, 3])
    raised = approach + into_gripper @ [0.0, 0.0, LIFT]
    touched: set[int] = set()

    def move(start: Array, end: Array, first: float, last: float, seconds: float, approaching: bool = False) -> None:
        steps = round(seconds / TIMESTEP)
        for s in (np.arange(steps) + 1) / steps:
            s = s * s * (3 - 2 * s)  # no jumps in velocity
            world.command(start + (end - start) * s, first + (last - first) * s)
            world.step()
            if approaching:
                touched.update(world.touching()[0])
            if observe is not None:
                observe(world)

    move(np.zeros(3), approach, opening, opening, _APPROACH, approaching=True)
    move(approach, approach, opening, _CLOSED, _CLOSE)
    held = target in world.touching()[1]
    move(approach, raised, _CLOSED, _CLOSED, _RAISE)
    move(raised, raised, _CLOSED, _CLOSED, _HOLD)
    return Attempt(float(world.object_pose(target)[2, 3] - height), bool(touched - {target}), held)
