# SPDX-License-Identifier: Apache-2.0
"""One scene of the benchmark: estimate, select each object, plan, execute, and name the cause of a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seqpose_core import PoseEstimator
from seqpose_core.geometry import rotation_error
from seqpose_core.grasping import Grasp, Gripper, plan_grasps
from seqpose_core.objects import ObjectPose
from train.grasp.attempt import execute
from train.grasp.scenes import GraspScene, ground_truth, table_plane
from train.grasp.views import StampedImage, grasp_camera
from train.render.meshes import Array

#: Where the poses come from: the simulation, the network alone, the network fused with the known support plane.
POSE_SOURCES = ("true_pose", "plane", "raw")
#: Causes of failure, in the order in which they are tested.
CAUSES = ("not_found", "wrong_category", "no_grasp", "collision", "position", "slipped")
#: A detection belongs to an object if it is this near across the line of sight: half the object's largest extent, at
#: least 4 cm.
_NEAR = 0.04


@dataclass(frozen=True)
class Result:
    """One attempt with the poses of one source. ``cause`` is one of CAUSES, None for a success; ``kind`` and ``score``
    are the grasp's; errors are those of the selected detection; all None where there is no grasp or no detection."""

    object: int
    category: str
    source: str
    success: bool
    cause: str | None
    kind: str | None = None
    score: float | None = None
    lift_cm: float | None = None
    position_error_cm: float | None = None
    rotation_error_deg: float | None = None


def select(target: ObjectPose, detections: Sequence[ObjectPose]) -> int | None:
    """Index of the detection that a point on an object selects: the nearest across the line of sight; None if none.

    :param target: the ground truth, camera frame. A near detection of its category precedes a nearer one of another.
    """
    if not detections:
        return None
    centres = np.array([d.translation for d in detections])
    across = np.linalg.norm(centres[:, :2] / centres[:, 2:] * target.translation[2] - target.translation[:2], axis=1)
    near = across < max(_NEAR, float(target.size.max()) / 2)
    other = np.array([d.category != target.category for d in detections])
    return int(np.lexsort((across, other, ~near))[0]) if near.any() else None


def estimate(estimator: PoseEstimator, frames: Sequence[StampedImage], with_plane: bool) -> list[ObjectPose]:
    """The confirmed objects in the last frame of a clip. ``with_plane``: fuse the poses with the table's plane."""
    estimator.reset()
    objects: list[ObjectPose] = []
    for frame in frames:
        plane = table_plane(frame.camera_pose) if with_plane else None
        objects = estimator.step(frame.image, grasp_camera(), frame.stamp, frame.camera_pose, support_plane=plane)
    return [o for o in objects if o.track_id is not None]


def feasible_targets(scene: GraspScene, gripper: Gripper) -> dict[int, Grasp]:
    """The objects that have a grasp at their true pose, and the best of each, in the world frame."""
    world = np.eye(4)
    exact = ground_truth(scene, world)
    found = {}
    for number, target in enumerate(exact):
        others = [o for o in exact if o is not target]
        grasps = plan_grasps(target, others, gripper=gripper, plane=table_plane(world), max_grasps=1)
        if grasps:
            found[number] = grasps[0]
    return found


def attempt(
    scene: GraspScene, number: int, source: str, grasp: Grasp, world_from_camera: Array, detected: ObjectPose | None
) -> Result:
    """Execute a grasp of the frame of ``world_from_camera`` (4, 4). ``detected``: the pose it was planned from."""
    category = scene.objects[number].kind
    errors: dict[str, float] = {}
    if detected is not None:
        target = ground_truth(scene, world_from_camera)[number]
        rotation = rotation_error(target.rotation, detected.rotation, target.category_info.symmetric)
        errors["position_error_cm"] = 100 * float(np.linalg.norm(target.translation - detected.translation))
        errors["rotation_error_deg"] = float(np.degrees(rotation))
    pregrasp, pose = world_from_camera @ grasp.pregrasp, world_from_camera @ grasp.pose
    outcome = execute(scene.world, number, pregrasp, pose, grasp.opening)
    cause = None
    if not outcome.success:
        cause = "collision" if outcome.collided else "slipped" if outcome.held else "position"
        if detected is not None and detected.category != category:
            cause = "wrong_category"
    lift = 100 * outcome.lift
    return Result(number, category, source, outcome.success, cause, grasp.kind, grasp.score, lift, **errors)


def try_detections(
    scene: GraspScene,
    source: str,
    numbers: Sequence[int],
    detections: Sequence[ObjectPose],
    world_from_camera: Array,
    gripper: Gripper,
) -> list[Result]:
    """Select, plan and execute for each of the objects ``numbers``, from detections in the camera frame."""
    plane = table_plane(world_from_camera)
    results = []
    for number, target in enumerate(ground_truth(scene, world_from_camera)):
        if number not in numbers:
            continue
        index = select(target, detections)
        if index is None:
            results.append(Result(number, target.category, source, False, "not_found"))
            continue
        chosen = detections[index]
        others = [d for i, d in enumerate(detections) if i != index]
        grasps = plan_grasps(chosen, others, gripper=gripper, plane=plane, max_grasps=1)
        if grasps:
            results.append(attempt(scene, number, source, grasps[0], world_from_camera, chosen))
        else:
            cause = "no_grasp" if chosen.category == target.category else "wrong_category"
            results.append(Result(number, target.category, source, False, cause))
    return results


def as_record(scene: GraspScene, targets: dict[int, Grasp], results: Sequence[Result]) -> dict[str, Any]:
    """The JSON of a scene: its objects, those without a grasp at their true pose, and all attempts."""
    return {
        "scene": scene.number,
        "objects": [entry.model for entry in scene.objects],
        "infeasible": [i for i in range(len(scene.objects)) if i not in targets],
        "attempts": [asdict(result) for result in results],
    }
