# SPDX-License-Identifier: Apache-2.0
"""The samples of one edge of the transform tree over time."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from typing import NamedTuple

from tf2_ros.exceptions import ExtrapolationException
from tf2_ros.rigid import Rigid, interpolate


class Sample(NamedTuple):
    """The child frame in its parent frame at a time (nanoseconds)."""

    stamp: int
    parent: str
    transform: Rigid


class StaticHistory:
    """A static edge: one sample, valid at all times."""

    def __init__(self) -> None:
        self.sample: Sample | None = None

    def insert(self, sample: Sample) -> None:
        """Replace the sample."""
        self.sample = sample

    def latest(self) -> Sample:
        """The sample; its stamp is not used."""
        assert self.sample is not None
        return self.sample

    def at(self, stamp: int, child: str) -> Sample:
        """The sample; the time is ignored."""
        return self.latest()


class MovingHistory:
    """Samples of a moving edge in ascending time, at most `window` nanoseconds older than the newest.

    Arrays take 80 bytes per sample, an eighth of a list of :class:`Sample`: a buffer keeps the samples of every frame
    that was ever broadcast, as in tf2.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._stamps = array("q")
        self._values = array("d")  # 7 per sample: translation and quaternion
        self._parents: list[str] = []

    def insert(self, sample: Sample) -> None:
        """Insert a sample by time. One that is too old, or has the stamp of another, is ignored, as in tf2."""
        stamps = self._stamps
        if stamps and sample.stamp < stamps[-1] - self.window:
            return
        index = bisect_left(stamps, sample.stamp)
        if index < len(stamps) and stamps[index] == sample.stamp:
            return
        stamps.insert(index, sample.stamp)
        self._values[7 * index : 7 * index] = array("d", sample.transform.translation + sample.transform.rotation)
        self._parents.insert(index, sys.intern(sample.parent))
        expired = bisect_left(stamps, stamps[-1] - self.window)
        del stamps[:expired], self._values[: 7 * expired], self._parents[:expired]

    def _sample(self, index: int) -> Sample:
        x, y, z, qx, qy, qz, qw = self._values[7 * index : 7 * index + 7]
        return Sample(self._stamps[index], self._parents[index], Rigid((x, y, z), (qx, qy, qz, qw)))

    def latest(self) -> Sample:
        """The newest sample."""
        return self._sample(len(self._stamps) - 1)

    def at(self, stamp: int, child: str) -> Sample:
        """The sample at a time, interpolated between its two neighbours.

        :raises ExtrapolationException: the time is before the first or after the last sample.
        """
        index = bisect_left(self._stamps, stamp)
        if index < len(self._stamps) and self._stamps[index] == stamp:
            return self._sample(index)
        if index == 0 or index == len(self._stamps):
            where = "past" if index == 0 else "future"
            raise ExtrapolationException(
                f"Lookup would require extrapolation into the {where}. Requested time {stamp * 1e-9:.6f} but "
                f"transforms of frame '{child}' are known from {self._stamps[0] * 1e-9:.6f} "
                f"to {self._stamps[-1] * 1e-9:.6f}"
            )
        before, after = self._sample(index - 1), self._sample(index)
        if before.parent != after.parent:  # the parent changed in between: do not interpolate
            return before._replace(stamp=stamp)
        share = (stamp - before.stamp) / (after.stamp - before.stamp)
        return Sample(stamp, before.parent, interpolate(before.transform, after.transform, share))
