# SPDX-License-Identifier: Apache-2.0
"""RViz markers of objects: box, axes and label. Markers of vanished objects are deleted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from seqpose_core import ObjectPose
from seqpose_core.geometry import BOX_EDGES, box_corners
from seqpose_ros.message_builders import MessagePool, ObjectFields, set_pose, set_xyz

_LINE_WIDTH, _TEXT_HEIGHT = 0.003, 0.03  # metres
_AXIS_COLOURS = ((1.0, 0.0, 0.0), (0.0, 0.8, 0.0), (0.0, 0.3, 1.0))  # x, y, z as RViz draws them
_CORNERS = box_corners(np.ones(3))  # (8, 3) of the unit cube


class MarkerArrayBuilder:
    """Builds one MarkerArray per image and keeps the shown marker ids, so that vanished objects are deleted."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] = set()
        self._message = MarkerArray()
        self._pool = MessagePool(_ObjectMarkers)

    def message(self, header: Header, fields: ObjectFields, up_axis: int) -> MarkerArray:
        """Markers of all objects, and DELETE markers for objects of the previous call that are not in this one.

        :param up_axis: index of the upward object axis, 1 (nocs) or 2 (rep103); the label is placed above the box.
        :return: valid until the next call.
        """
        markers: list[Marker] = []
        for index, entry in enumerate(self._pool.take(len(fields.objects))):
            markers += entry.update(header, fields, index, up_axis)
        shown = {(m.ns, m.id) for m in markers}
        gone = [Marker(header=header, ns=ns, id=number, action=Marker.DELETE) for ns, number in self._shown - shown]
        self._shown = shown
        self._message.markers = gone + markers
        return self._message

    def clear(self) -> MarkerArray:
        """Delete all markers."""
        self._shown = set()
        return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


class _ObjectMarkers:
    """The three markers of one object. The points of a corner or an axis are one Point object each."""

    def __init__(self) -> None:
        self._corners = [Point() for _ in _CORNERS]
        self._box = Marker(ns="box", type=Marker.LINE_LIST)
        self._box.scale.x, self._box.color.a = _LINE_WIDTH, 1.0
        self._box.points = [self._corners[i] for edge in BOX_EDGES for i in edge]
        origin, self._ends = Point(), [Point() for _ in _AXIS_COLOURS]
        self._axes = Marker(ns="axes", type=Marker.LINE_LIST, pose=self._box.pose)
        self._axes.scale.x, self._axes.color.a = 1.5 * _LINE_WIDTH, 1.0
        self._axes.points = [point for end in self._ends for point in (origin, end)]
        colours = [ColorRGBA(r=red, g=green, b=blue, a=1.0) for red, green, blue in _AXIS_COLOURS]
        self._axes.colors = [colour for colour in colours for _ in range(2)]
        self._label = Marker(ns="label", type=Marker.TEXT_VIEW_FACING)
        self._label.scale.z, self._label.color = _TEXT_HEIGHT, ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)

    def update(self, header: Header, fields: ObjectFields, index: int, up_axis: int) -> Sequence[Marker]:
        """The markers of object ``index``."""
        o: ObjectPose = fields.objects[index]
        markers = (self._box, self._axes, self._label)
        for marker in markers:
            # Unconfirmed objects have no track id: negative marker ids do not collide with track ids.
            marker.header, marker.id = header, o.track_id if o.track_id is not None else -1 - index
        colour = self._box.color
        colour.r, colour.g, colour.b = (c / 255.0 for c in o.category_info.colour)
        set_pose(self._box.pose, fields.positions[index], fields.quaternions[index])
        size = fields.sizes[index]
        for point, corner in zip(self._corners, (_CORNERS * size).tolist(), strict=True):
            set_xyz(point, corner)
        self._ends[0].x, self._ends[1].y, self._ends[2].z = (0.75 * extent for extent in size)
        above = np.asarray(o.translation) + o.rotation[:, up_axis] * (0.5 * size[up_axis] + _TEXT_HEIGHT)
        set_xyz(self._label.pose.position, above.tolist())
        self._label.text = o.category if o.track_id is None else f"{o.category} {o.track_id}"
        return markers
