# SPDX-License-Identifier: Apache-2.0
"""The service ~/select and the topics ~/selected and ~/selected_object of the node."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Header

from seqpose_core import ObjectPose
from seqpose_ros.errors import quote
from seqpose_ros.lifecycle import ResponsiveLifecycleNode
from seqpose_ros.msg import SelectedObject
from seqpose_ros.selection.selection import Criteria, Selected, Selection, SelectionError, Visibility, choose
from seqpose_ros.srv import SelectObject
from seqpose_ros.stamps import stamp_nanoseconds
from seqpose_ros.to_messages import object_message, pose_message

_DEPTH = 10
_STATES = {
    Visibility.VISIBLE: SelectedObject.VISIBLE,
    Visibility.HIDDEN: SelectedObject.HIDDEN,
    Visibility.LOST: SelectedObject.LOST,
}


class SelectionOutputs:
    """Selects objects on request and publishes the selected one for each image. Thread safe."""

    def __init__(self, node: ResponsiveLifecycleNode) -> None:
        self._pose = node.create_lifecycle_publisher(PoseStamped, "~/selected", _DEPTH)
        self._object = node.create_lifecycle_publisher(SelectedObject, "~/selected_object", _DEPTH)
        self._warn = node.get_logger().warning
        self._lock = threading.Lock()
        self._selection = Selection()
        self._header: Header | None = None  # of the last image, with the frame of the objects
        self._objects: Sequence[ObjectPose] = ()
        node.create_service(SelectObject, "~/select", self._on_select)

    def publish(self, header: Header, objects: Sequence[ObjectPose], max_age: int) -> None:
        """Publish the selected object of one image; nothing without a selection.

        :param header: stamp of the image, frame of the objects. :param max_age: parameter of the node.
        """
        with self._lock:
            self._header, self._objects = header, objects
            before = self._selection.selected
            selected = self._selection.update(objects, stamp_nanoseconds(header.stamp), max_age)
            if selected is None:
                return
            self._object.publish(_message(header, selected))
            if selected.visibility is Visibility.VISIBLE:
                self._pose.publish(PoseStamped(header=header, pose=pose_message(selected.object)))
            if selected.visibility is Visibility.LOST and before is not None and before is not selected:
                self._warn_lost(selected, f"not detected in {selected.missed} images")

    def reset(self) -> None:
        """Publish the selected object as lost: all tracks were cleared."""
        with self._lock:
            selected = self._selection.selected
            if selected is not None and selected.visibility is not Visibility.LOST:
                self._selection.lose()
                self._warn_lost(selected, "the tracks were reset")
                if self._header is not None and self._selection.selected is not None:
                    self._object.publish(_message(self._header, self._selection.selected))
            self._objects = ()

    def _warn_lost(self, selected: Selected, reason: str) -> None:
        name = f"{selected.object.category} {selected.object.track_id}"
        self._warn(f"the selected {name} is lost ({reason}); select again with ~/select")

    def _on_select(self, request: SelectObject.Request, response: SelectObject.Response) -> SelectObject.Response:
        with self._lock:
            if request.by == SelectObject.Request.CLEAR:
                self._selection.clear()
                self._object.publish(SelectedObject(header=self._header or Header(), state=SelectedObject.NONE))
                response.success, response.message = True, "nothing is selected"
                return response
            try:
                item = choose(self._objects, self._criteria(request))
            except SelectionError as error:
                response.message = str(error)
                return response
            assert self._header is not None  # there are objects, so there was an image
            self._selection.select(item, stamp_nanoseconds(self._header.stamp))
            response.success, response.object = True, object_message(item)
            response.message = f"{item.category} {item.track_id} is selected"
            return response

    def _criteria(self, request: SelectObject.Request) -> Criteria:
        """:raises SelectionError: the request is invalid."""
        track_id = None if request.track_id < 0 else int(request.track_id)
        if request.by == SelectObject.Request.BEST_SCORE:
            return Criteria(request.category, track_id)
        if request.by != SelectObject.Request.NEAREST:
            raise SelectionError(f"by is {request.by}; it must be 0 (best score), 1 (nearest) or 2 (clear)")
        frame = self._header.frame_id if self._header is not None else ""
        given = request.point.header.frame_id
        if given not in ("", frame):
            raise SelectionError(f"the point is in frame {quote(given)}; it must be in {frame!r}, that of ~/objects")
        point = request.point.point
        position = np.array([point.x, point.y, point.z])
        if not np.isfinite(position).all():
            raise SelectionError(f"the point {position.tolist()} is not finite")
        return Criteria(request.category, track_id, position)


def _message(header: Header, selected: Selected) -> SelectedObject:
    seconds, nanoseconds = divmod(selected.last_seen, 10**9)
    return SelectedObject(
        header=header,
        state=_STATES[selected.visibility],
        last_seen=Time(sec=seconds, nanosec=nanoseconds),
        object=object_message(selected.object),
    )
