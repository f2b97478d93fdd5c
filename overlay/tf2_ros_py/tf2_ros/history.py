# SPDX-License-Identifier: Apache-2.0
"""The samples of one edge of the transform tree over time."""

from __future__ import annotations

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
    """Samples of a moving edge in ascending time, at most `window` nanoseconds older than the newest."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.stamps: list[int] = []
        self.samples: list[Sample] = []

    def insert(self, sample: Sample) -> None:
        """Insert a sample by time. One that is too old, or has the stamp of another, is ignored, as in tf2."""
        if self.stamps and sample.stamp < self.stamps[-1] - self.window:
            return
        index = bisect_left(self.stamps, sample.stamp)
        if index < len(self.stamps) and self.stamps[index] == sample.stamp:
            return
        self.stamps.insert(index, sample.stamp)
        self.samples.insert(index, sample)
        expired = bisect_left(self.stamps, self.stamps[-1] - self.window)
        del self.stamps[:expired], self.samples[:expired]

    def latest(self) -> Sample:
        """The newest sample."""
        return self.samples[-1]

    def at(self, stamp: int, child: str) -> Sample:
        """The sample at a time, interpolated between its two neighbours.

        :raises ExtrapolationException: the time is before the first or after the last sample.
        """
        index = bisect_left(self.stamps, stamp)
        if index < len(self.stamps) and self.stamps[index] == stamp:
            return self.samples[index]
        if index == 0 or index == len(self.stamps):
            where = "past" if index == 0 else "future"
            raise ExtrapolationException(
                f"Lookup would require extrapolation into the {where}. Requested time {stamp * 1e-9:.6f} but "
                f"transforms of frame '{child}' are known from {self.stamps[0] * 1e-9:.6f} "
                f"to {self.stamps[-1] * 1e-9:.6f}"
            )
        before, after = self.samples[index - 1], self.samples[index]
        if before.parent != after.parent:  # the parent changed in between: do not interpolate
            return before._replace(stamp=stamp)
        share = (stamp - before.stamp) / (after.stamp - before.stamp)
        return Sample(stamp, before.parent, interpolate(before.transform, after.transform, share))
