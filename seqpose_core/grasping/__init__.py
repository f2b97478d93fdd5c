# SPDX-License-Identifier: Apache-2.0
"""Ranked grasps of a parallel gripper, from the poses, sizes and covariances of the detected objects."""

from seqpose_core.grasping.gripper import Gripper
from seqpose_core.grasping.planner import Grasp, plan_grasps

__all__ = ["Grasp", "Gripper", "plan_grasps"]
