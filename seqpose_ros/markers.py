# SPDX-License-Identifier: Apache-2.0
"""RViz markers of objects: box, axes and label. Markers of vanished objects are deleted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from seqpose_core import ObjectPose
from seqpose_core.geometry import BOX_EDGES, box_corners, transform
from seqpose_ros.to_messages import pose_message

_LINE_WIDTH, _TEXT_HEIGHT = 0.003, 0.03  # metres
_AXIS_COLOURS = ((1.0, 0.0, 0.0), (0.0, 0.8, 0.0), (0.0, 0.3, 1.0))  # x, y, z as RViz draws them


class MarkerArrayBuilder:
    """Builds one MarkerArray per image and keeps the shown marker ids, so that vanished objects are deleted."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] = set()

    def message(self, header: Header, objects: Sequence[ObjectPose], up_axis: int) -> MarkerArray:
        """Markers of all objects, and DELETE markers for objects of the previous call that are not in this one.

        :param up_axis: index of the upward object axis, 1 (nocs) or 2 (rep103); the label is placed above the box.
        """
        markers: list[Marker] = []
        for index, o in enumerate(objects):
            # Unconfirmed objects have no track id: negative marker ids do not collide with track ids.
            number = o.track_id if o.track_id is not None else -1 - index
            markers += [_box(header, number, o), _axes(header, number, o), _label(header, number, o, up_axis)]
        shown = {(m.ns, m.id) for m in markers}
        gone = [Marker(header=header, ns=ns, id=number, action=Marker.DELETE) for ns, number in self._shown - shown]
        self._shown = shown
        return MarkerArray(markers=gone + markers)

    def clear(self) -> MarkerArray:
        """Delete all markers."""
        self._shown = set()
        return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def _box(header: Header, number: int, o: ObjectPose) -> Marker:
    corners = box_corners(o.size)
    red, green, blue = (c / 255.0 for c in o.category_info.colour)
    marker = Marker(header=header, ns="box", id=number, type=Marker.LINE_LIST, pose=pose_message(o))
    marker.scale.x = _LINE_WIDTH
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.points = [_point(corners[i]) for edge in BOX_EDGES for i in edge]
    return marker


def _axes(header: Header, number: int, o: ObjectPose) -> Marker:
    marker = Marker(header=header, ns="axes", id=number, type=Marker.LINE_LIST, pose=pose_message(o))
    marker.scale.x = 1.5 * _LINE_WIDTH
    marker.color.a = 1.0
    for axis, (red, green, blue) in enumerate(_AXIS_COLOURS):
        marker.points += [Point(), _point(np.eye(3)[axis] * 0.75 * float(np.asarray(o.size)[axis]))]
        marker.colors += [ColorRGBA(r=red, g=green, b=blue, a=1.0)] * 2
    return marker


def _label(header: Header, number: int, o: ObjectPose, up_axis: int) -> Marker:
    above = np.eye(3)[up_axis] * (0.5 * float(np.asarray(o.size)[up_axis]) + _TEXT_HEIGHT)
    marker = Marker(header=header, ns="label", id=number, type=Marker.TEXT_VIEW_FACING)
    marker.pose = Pose(position=_point(transform(o.transform, above)), orientation=Quaternion(w=1.0))
    marker.scale.z = _TEXT_HEIGHT
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    marker.text = o.category if o.track_id is None else f"{o.category} {o.track_id}"
    return marker


def _point(xyz: np.ndarray) -> Point:
    x, y, z = (float(v) for v in xyz)
    return Point(x=x, y=y, z=z)
