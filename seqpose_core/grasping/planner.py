# SPDX-License-Identifier: Apache-2.0
"""Plan grasps: the feasible grasps of one object, ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from seqpose_core import geometry
from seqpose_core.grasping.boxes import Boxes, concatenate, gaps
from seqpose_core.grasping.candidates import Candidates, candidates_of
from seqpose_core.grasping.gripper import Gripper
from seqpose_core.grasping.shapes import shape_of
from seqpose_core.objects import ObjectPose
from seqpose_core.support_plane import SupportPlane

#: Fingers may overlap the modelled shape of their own object by this much, metres: the shape is approximate.
_SHAPE_TOLERANCE = 0.003
#: Clearance beyond which more makes no difference, metres.
_AMPLE_CLEARANCE = 0.03
#: Error along the approach that a grasp tolerates, metres.
_DEPTH_TOLERANCE = 0.02
#: Error along the width of the fingers that a grasp tolerates, metres: little where the part ends there, as the neck of
#: a bottle does, more along a rim, an edge or the side of a can.
_LATERAL_TOLERANCE = {"top": 0.012, "handle": 0.012, "body": 0.02, "box": 0.02}
_ALONG_PART = 0.03


@dataclass(frozen=True)
class Grasp:
    """One grasp of a parallel gripper.

    :param pose: (4, 4) gripper frame (see Gripper) to the frame of the object's pose: the camera frame.
    :param pregrasp: (4, 4) pose from which the gripper moves straight to ``pose``.
    :param width: metres of the part between the fingers. :param opening: of the fingers during the approach.
    :param score: 0..1, higher is better. :param clearance: smallest gap to other objects and the plane, metres.
    :param kind: family: side, top, rim, handle, edge, body or box.
    :param object_id: track id of the object, None if its track is not confirmed.
    """

    pose: np.ndarray
    pregrasp: np.ndarray
    width: float
    opening: float
    score: float
    clearance: float
    kind: str
    object_id: int | None


def plan_grasps(
    target: ObjectPose,
    others: Sequence[ObjectPose] = (),
    *,
    gripper: Gripper | None = None,
    plane: SupportPlane | None = None,
    base: np.ndarray | None = None,
    max_reach: float = 0.85,
    padding: float = 0.003,
    max_grasps: int = 20,
) -> list[Grasp]:
    """Feasible grasps of ``target``, best score first; an empty list if there is none.

    A grasp is feasible if the part between the fingers is narrower than the opening, if the fingers are outside the
    object's box at the pre-grasp, and if the straight approach, the gripper swept from the pre-grasp to the grasp, is
    free of the other objects' boxes, of the support plane and of the object itself. Its score is the product of the
    family's stability, the probability that the part is between the fingers under the object's covariance, the
    clearance relative to 3 cm, and the reach.

    :param others: objects to avoid, in the same frame as ``target``.
    :param gripper: None = an 85 mm gripper. :param padding: added to the others' boxes and the plane, metres.
    :param plane: the support plane in the frame of the poses; its noise is not used. None = no plane.
    :param base: (3,) position of the robot's base in the frame of the poses; grasps farther than ``max_reach`` metres
        are dropped and near ones are preferred. None = all are in reach.
    """
    gripper = gripper or Gripper()
    candidates = candidates_of(target.category_info, np.asarray(target.size, dtype=np.float64), gripper)
    if len(candidates.width):
        candidates = candidates.select(_outside_own_shape(candidates, target, gripper))
    if not len(candidates.width):
        return []
    rotation = target.rotation @ candidates.rotation
    position = candidates.position @ target.rotation.T + target.translation
    swept = gripper.swept_boxes(candidates.opening, gripper.standoff).moved(rotation[:, None], position[:, None])
    clearance = _clearance(swept, others, plane, padding)
    reach = np.ones(len(position))
    if base is not None:
        reach = 1 - np.linalg.norm(position - base, axis=-1) / max_reach
    score = candidates.stability * _probability_between_fingers(candidates, target, rotation, position, gripper)
    score = score * (0.4 + 0.6 * np.clip(clearance / _AMPLE_CLEARANCE, 0, 1)) * np.sqrt(np.clip(reach, 0, 1))
    feasible = (clearance >= 0) & (reach > 0)
    order = np.argsort(-score, kind="stable")
    order = order[feasible[order]][:max_grasps]
    back = -gripper.standoff * rotation[..., 2]
    poses = geometry.make_transform(rotation, position)
    pregrasps = geometry.make_transform(rotation, position + back)
    return [
        Grasp(
            poses[i],
            pregrasps[i],
            float(candidates.width[i]),
            float(candidates.opening[i]),
            float(score[i]),
            float(clearance[i]),
            str(candidates.kind[i]),
            target.track_id,
        )
        for i in order
    ]


def _outside_own_shape(candidates: Candidates, target: ObjectPose, gripper: Gripper) -> np.ndarray:
    """(G,) whether the open gripper is outside the box at the pre-grasp and outside the shape all the way."""
    size = np.asarray(target.size, dtype=np.float64)
    count = len(candidates.width)
    swept = gripper.swept_boxes(candidates.opening, gripper.standoff).moved(
        candidates.rotation[:, None], candidates.position[:, None]
    )
    shape = shape_of(target.category_info, size).padded(-_SHAPE_TOLERANCE)
    gap = gaps(swept.flat(), shape).reshape(count, -1).min(axis=1)
    start = candidates.position - gripper.standoff * candidates.rotation[..., 2]
    resting = gripper.swept_boxes(candidates.opening, 0.0).moved(candidates.rotation[:, None], start[:, None])
    box = Boxes(np.zeros((1, 3)), np.eye(3)[None], size[None] / 2)
    return np.minimum(gap, gaps(resting.flat(), box).reshape(count, -1).min(axis=1)) >= 0


def _clearance(swept: Boxes, others: Sequence[ObjectPose], plane: SupportPlane | None, padding: float) -> np.ndarray:
    """(G,) smallest gap between the swept gripper (G, 3 boxes) and the others' boxes and the plane, metres."""
    count = len(swept.centre)
    clearance = np.full(count, np.inf)
    if others:
        boxes = concatenate([Boxes(o.translation[None], o.rotation[None], o.size[None] / 2) for o in others])
        clearance = gaps(swept.flat(), boxes.padded(padding)).reshape(count, -1).min(axis=1)
    if plane is not None:
        heights = swept.lowest(plane.normal) + plane.offset
        clearance = np.minimum(clearance, heights.min(axis=1) - padding)
    return clearance


def _probability_between_fingers(
    candidates: Candidates, target: ObjectPose, rotation: np.ndarray, position: np.ndarray, gripper: Gripper
) -> np.ndarray:
    """(G,) probability that the error of the pose at the grasp is within the margins of the gripper.

    The margins are half the free opening along the closing direction, 2 cm along the approach, and a distance that
    depends on the family along the width of the fingers.
    """
    lever = position - target.translation
    zero = np.zeros(len(lever))
    x, y, z = lever.T
    # A small rotation w moves the grasped point by w × lever.
    cross = np.stack([zero, z, -y, -z, zero, x, y, -x, zero], axis=-1).reshape(-1, 3, 3)
    rotate = np.eye(3)
    if target.category_info.symmetric:  # a rotation about its axis leaves the object as it is
        axis = target.rotation[:, 1]
        rotate = rotate - np.outer(axis, axis)
    jacobian = np.concatenate([np.broadcast_to(np.eye(3), cross.shape), cross @ rotate], axis=-1)
    covariance = jacobian @ target.covariance @ np.swapaxes(jacobian, -1, -2)
    variance = np.einsum("gji,gjk,gki->gi", rotation, covariance, rotation)  # along x, y, z of the gripper
    sigma = np.sqrt(np.maximum(variance, 1e-12))
    along = np.array([_LATERAL_TOLERANCE.get(str(kind), _ALONG_PART) for kind in candidates.kind])
    margins = [along, (candidates.opening - candidates.width) / 2, np.full(len(along), _DEPTH_TOLERANCE)]
    probability: np.ndarray = erf(np.stack(margins, axis=1) / sigma / np.sqrt(2)).prod(axis=1)
    return probability
