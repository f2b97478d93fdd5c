# SPDX-License-Identifier: Apache-2.0
"""Child frame names of tracks in tf, from a bounded pool.

A name is ``<tf_prefix><category>_<n>`` with n from 0 to POOL_SIZE - 1:

- A new track gets n = track id modulo POOL_SIZE, so the first POOL_SIZE tracks have their track id in the name. If that
  name is in use, the track gets the next unused n. It keeps the name for its lifetime.
- Two objects of one message never have the same name.
- A name is given to another track REUSE_AFTER seconds of image time after its last use. tf buffers keep 10 s by
  default, so no lookup returns or interpolates poses of two different objects. Listeners with a longer cache time must
  not look up poses that are older than REUSE_AFTER.
- After a jump back in image time (a bag is replayed), REUSE_AFTER is measured in wall time.
- After :meth:`FrameNamePool.forget_tracks` every track is a new one, also if its id was used before.
- If all names of a category are in use, further tracks get no name and are not broadcast.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from seqpose_core import ObjectPose

POOL_SIZE = 100  # names per category
REUSE_AFTER = 12.0  # seconds; more than the default cache time of tf buffers, 10 s


@dataclass
class _Use:
    """The track that has a name, None if it ended; stamp of its last image and wall time of its broadcast, seconds."""

    track_id: int | None
    stamp: float
    wall_time: float


class FrameNamePool:
    """Assigns names to the tracks of one node.

    :param clock: monotonic wall time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: dict[str, dict[int, _Use]] = {}  # category -> number -> use

    @property
    def used(self) -> int:
        """Number of names used so far, at most POOL_SIZE per category."""
        return sum(map(len, self._uses.values()))

    def assign(self, objects: Iterable[ObjectPose], stamp: float) -> dict[int, str]:
        """Names of the confirmed tracks in one image, without prefix: track id -> name.

        :param stamp: of the image, seconds.
        """
        names: dict[int, str] = {}
        now = self._clock()
        for o in objects:
            if o.track_id is None:
                continue
            number = self._number(self._uses.setdefault(o.category, {}), o.track_id, stamp, now)
            if number is not None:
                names[o.track_id] = f"{o.category}_{number}"
        return names

    def forget_tracks(self) -> None:
        """End all tracks, because their ids start again. Their names stay in use for REUSE_AFTER."""
        for uses in self._uses.values():
            for use in uses.values():
                use.track_id = None

    @staticmethod
    def _number(uses: dict[int, _Use], track_id: int, stamp: float, now: float) -> int | None:
        """The number of a track: its current one, or the first unused one from track id modulo POOL_SIZE on."""
        current = next((number for number, use in uses.items() if use.track_id == track_id), None)
        candidates = ((track_id + step) % POOL_SIZE for step in range(POOL_SIZE))
        number = current
        if number is None:
            number = next((n for n in candidates if _is_free(uses.get(n), stamp, now)), None)
        if number is not None:
            uses[number] = _Use(track_id, stamp, now)
        return number


def _is_free(use: _Use | None, stamp: float, now: float) -> bool:
    if use is None:
        return True
    if stamp < use.stamp:
        return now - use.wall_time >= REUSE_AFTER
    return stamp - use.stamp >= REUSE_AFTER
