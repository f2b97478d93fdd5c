# SPDX-License-Identifier: Apache-2.0
"""Which collision objects must be added, moved or removed, so that a planning scene follows the detected objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from seqpose_core import ObjectPose
from seqpose_core.geometry import rotation_error


class Operation(Enum):
    """Operation on one collision object."""

    REMOVE = "remove"
    ADD = "add"  # replaces an object of the same name
    MOVE = "move"


@dataclass(frozen=True)
class ChangeLimits:
    """When an object counts as moved, resized or gone.

    :param time_to_live: seconds without a detection until the object is removed.
    :param position_deadband: smaller displacements are not sent, metres.
    :param rotation_deadband: smaller rotations are not sent, radians. The yaw of a symmetric object is ignored.
    :param size_deadband: smaller relative changes of an extent are not sent; a larger one replaces the shapes.
    """

    time_to_live: float = 2.0
    position_deadband: float = 0.01
    rotation_deadband: float = 0.1
    size_deadband: float = 0.2


@dataclass(frozen=True)
class Change:
    """One operation of a diff.

    :param name: of the collision object. :param object: its latest detection. :param frame_id: frame of its pose.
    """

    operation: Operation
    name: str
    object: ObjectPose
    frame_id: str


@dataclass
class _Entry:
    """Latest detection of a track, and what was sent of it (None: nothing); ``lost``: a planning scene may lack it."""

    object: ObjectPose
    frame_id: str
    last_seen: float
    sent: ObjectPose | None = None
    sent_frame_id: str = ""
    lost: bool = False


def object_name(item: ObjectPose) -> str:
    """Name of the collision object of a confirmed track, for example ``mug_7``. Track ids are never reused."""
    return f"{item.category}_{item.track_id}"


class SceneChanges:
    """Compares the detected objects with those in a planning scene. Times are seconds of one clock."""

    def __init__(self, limits: ChangeLimits = ChangeLimits()) -> None:
        self.limits = limits
        self._entries: dict[str, _Entry] = {}
        self._frozen = False

    @property
    def frozen(self) -> bool:
        """Whether detections are ignored and nothing changes."""
        return self._frozen

    @property
    def names(self) -> list[str]:
        """Names of the objects in the planning scene."""
        return [name for name, entry in self._entries.items() if entry.sent is not None]

    def observe(self, objects: Iterable[ObjectPose], frame_id: str, now: float) -> None:
        """Take over the confirmed tracks of one image. Ignored while frozen."""
        if self._frozen:
            return
        for item in objects:
            if item.track_id is None:
                continue
            entry = self._entries.setdefault(object_name(item), _Entry(item, frame_id, now))
            entry.object, entry.frame_id, entry.last_seen = item, frame_id, now

    def freeze(self, frozen: bool, now: float) -> None:
        """Hold the scene, or release it. After the release every object has its full time to live."""
        if self._frozen and not frozen:
            for entry in self._entries.values():
                entry.last_seen = now
        self._frozen = frozen

    def collect(self, now: float) -> list[Change]:
        """The changes since the last call, removals first; they count as sent. Empty while frozen."""
        if self._frozen:
            return []
        changes: dict[Operation, list[Change]] = {operation: [] for operation in Operation}
        for name, entry in list(self._entries.items()):
            entry.last_seen = min(entry.last_seen, now)  # the clock was set back: the time to live starts again
            if now - entry.last_seen > self.limits.time_to_live:
                del self._entries[name]
                if entry.sent is not None:
                    changes[Operation.REMOVE].append(Change(Operation.REMOVE, name, entry.object, entry.frame_id))
                continue
            operation = self._operation(entry)
            if operation is None:
                continue
            entry.sent, entry.sent_frame_id, entry.lost = entry.object, entry.frame_id, False
            changes[operation].append(Change(operation, name, entry.object, entry.frame_id))
        return [change for group in changes.values() for change in group]

    def drop_unsent(self, now: float) -> None:
        """Drop objects that are gone and were never sent, which would add up between rare calls of :meth:`collect`."""
        if self._frozen:
            return
        for name, entry in list(self._entries.items()):
            if entry.sent is None and now - entry.last_seen > self.limits.time_to_live:
                del self._entries[name]

    def resend(self) -> None:
        """Let the next :meth:`collect` add every object again, for a planning scene that may have lost them.

        An object that is gone by then is removed: other planning scenes may have it.
        """
        for entry in self._entries.values():
            entry.lost = True

    def clear(self) -> list[Change]:
        """Remove all objects, also while frozen."""
        changes = [
            Change(Operation.REMOVE, name, entry.object, entry.frame_id)
            for name, entry in self._entries.items()
            if entry.sent is not None
        ]
        self._entries = {}
        return changes

    def _operation(self, entry: _Entry) -> Operation | None:
        new, sent, limits = entry.object, entry.sent, self.limits
        if sent is None or entry.lost:
            return Operation.ADD
        if np.any(np.abs(np.asarray(new.size) / np.asarray(sent.size) - 1) > limits.size_deadband):
            return Operation.ADD
        symmetric = new.category_info.symmetric
        if (
            entry.frame_id != entry.sent_frame_id
            or np.linalg.norm(new.translation - sent.translation) > limits.position_deadband
            or float(rotation_error(new.rotation, sent.rotation, symmetric)) > limits.rotation_deadband
        ):
            return Operation.MOVE
        return None
