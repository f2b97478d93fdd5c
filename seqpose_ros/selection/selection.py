# SPDX-License-Identifier: Apache-2.0
"""Select one of the tracked objects and follow it. A lost object is never replaced by another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from seqpose_core import ObjectPose


class SelectionError(ValueError):
    """No object matches; the message lists what there is."""


class Visibility(Enum):
    """State of the selected object in the latest image."""

    VISIBLE = "visible"
    HIDDEN = "hidden"  # not detected in this image; its track is kept
    LOST = "lost"  # its track has ended


@dataclass(frozen=True)
class Criteria:
    """Which object is selected: of the confirmed tracks that match, the one with the best score, or the nearest one.

    :param category: name, empty for any. :param track_id: None for any.
    :param nearest_to: (3,) point in the frame of the objects, metres; None for the best score.
    """

    category: str = ""
    track_id: int | None = None
    nearest_to: np.ndarray | None = None


@dataclass(frozen=True)
class Selected:
    """The selected object.

    :param object: its latest detection. :param last_seen: stamp of that image, nanoseconds.
    :param missed: images since then.
    """

    object: ObjectPose
    last_seen: int
    visibility: Visibility = Visibility.VISIBLE
    missed: int = 0


def choose(objects: Sequence[ObjectPose], criteria: Criteria) -> ObjectPose:
    """The object that the criteria select.

    :raises SelectionError: none of the confirmed tracks matches.
    """
    confirmed = [item for item in objects if item.track_id is not None]
    matching = [
        item
        for item in confirmed
        if criteria.category in ("", item.category) and criteria.track_id in (None, item.track_id)
    ]
    if not matching:
        wanted = criteria.category or "object"
        if criteria.track_id is not None:
            wanted += f" with track id {criteria.track_id}"
        present = ", ".join(f"{item.category} {item.track_id}" for item in confirmed)
        raise SelectionError(f"there is no {wanted} in the last image; confirmed are: {present or 'none'}")
    if criteria.nearest_to is None:
        return max(matching, key=lambda item: item.score)
    point = criteria.nearest_to
    return min(matching, key=lambda item: float(np.linalg.norm(item.translation - point)))


class Selection:
    """The selected object, followed from image to image by its track id."""

    def __init__(self) -> None:
        self._selected: Selected | None = None

    @property
    def selected(self) -> Selected | None:
        """The selected object, None without a selection."""
        return self._selected

    def select(self, item: ObjectPose, stamp: int) -> None:
        """Select an object of the image with this stamp, nanoseconds."""
        self._selected = Selected(item, stamp)

    def clear(self) -> None:
        """End the selection."""
        self._selected = None

    def lose(self) -> None:
        """Mark the selected object as lost: all tracks were cleared."""
        if self._selected is not None:
            self._selected = replace(self._selected, visibility=Visibility.LOST)

    def update(self, objects: Sequence[ObjectPose], stamp: int, max_age: int) -> Selected | None:
        """Follow the selected object in the next image.

        :param max_age: images that the tracker keeps a track without a detection.
        :return: the selected object; a lost one stays lost, also if an object of the same id appears.
        """
        previous = self._selected
        if previous is None or previous.visibility is Visibility.LOST:
            return previous
        current = next((item for item in objects if item.track_id == previous.object.track_id), None)
        if current is not None:
            self._selected = Selected(current, stamp)
        else:
            missed = previous.missed + 1
            visibility = Visibility.HIDDEN if missed <= max_age else Visibility.LOST
            self._selected = replace(previous, visibility=visibility, missed=missed)
        return self._selected
