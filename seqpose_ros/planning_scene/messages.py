# SPDX-License-Identifier: Apache-2.0
"""Convert changes of the planning scene to moveit_msgs."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Time
from moveit_msgs.msg import CollisionObject, ObjectColor, PlanningScene
from object_recognition_msgs.msg import ObjectType
from std_msgs.msg import ColorRGBA, Header

from seqpose_core import ObjectPose
from seqpose_ros.planning_scene.changes import Change, Operation
from seqpose_ros.planning_scene.primitives import primitives
from seqpose_ros.to_messages import pose_from_matrix, pose_message

_OPERATIONS = {
    Operation.ADD: CollisionObject.ADD,
    Operation.MOVE: CollisionObject.MOVE,
    Operation.REMOVE: CollisionObject.REMOVE,
}


def scene_message(changes: Sequence[Change], stamp: Time, padding: float) -> PlanningScene:
    """A diff with all changes; the state of the robot and everything else stay as they are.

    :param stamp: time of the latest detection. :param padding: of the shapes, metres.
    """
    scene = PlanningScene(is_diff=True)
    scene.robot_state.is_diff = True
    for change in changes:
        header = Header(stamp=stamp, frame_id=change.frame_id)
        scene.world.collision_objects.append(_collision_object(change, header, padding))
        if change.operation is Operation.ADD:
            scene.object_colors.append(ObjectColor(id=change.name, color=_colour(change.object)))
    return scene


def _collision_object(change: Change, header: Header, padding: float) -> CollisionObject:
    message = CollisionObject(header=header, id=change.name, operation=_OPERATIONS[change.operation])
    if change.operation is Operation.REMOVE:
        return message
    message.pose = pose_message(change.object)
    if change.operation is Operation.ADD:  # MOVE must have no shapes
        message.type = ObjectType(key=change.object.category)
        for primitive, matrix in primitives(change.object, padding):
            message.primitives.append(primitive)
            message.primitive_poses.append(pose_from_matrix(matrix))
    return message


def _colour(item: ObjectPose) -> ColorRGBA:
    red, green, blue = (value / 255.0 for value in item.category_info.colour)
    return ColorRGBA(r=red, g=green, b=blue, a=0.7)
