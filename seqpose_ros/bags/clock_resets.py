# SPDX-License-Identifier: Apache-2.0
"""Divide a recording where the clock of its stamps was reset, as when a simulation is restarted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Nanoseconds that stamps jump back at a reset; a shorter jump is one of images in another order.
_MIN_RESET = 10**9


@dataclass(frozen=True)
class ImageTime:
    """Time of recording and stamp of an image, nanoseconds; ``stamp`` is 0 for an image that cannot be read."""

    recorded: int
    stamp: int


class ClockResets:
    """The sequences of a recording: parts without a reset, in each of which a stamp means one time.

    :param images: in recorded order; those with the stamp 0 are ignored.
    :ivar jumps: nanoseconds by which the stamp of an image is before that of the image before, where it is.
    :ivar count: number of resets.
    """

    def __init__(self, images: Sequence[ImageTime]) -> None:
        steps = list(pairwise(image for image in images if image.stamp))
        self.jumps = [last.stamp - image.stamp for last, image in steps if image.stamp < last.stamp]
        self._resets = [(last, image) for last, image in steps if last.stamp - image.stamp >= _MIN_RESET]
        self._ends = [last.recorded for last, _ in self._resets]
        self.count = len(self._resets)

    def sequence(self, recorded: int, stamp: int) -> int:
        """Index of the sequence of a message, from its recorded time and its stamp, nanoseconds.

        Messages that were recorded between the last image before a reset and the first one after it belong to the one
        with the nearer stamp.
        """
        index = bisect_right(self._ends, recorded)
        if index == 0:
            return 0
        last, first = self._resets[index - 1]
        if recorded < first.recorded and abs(stamp - last.stamp) < abs(stamp - first.stamp):
            return index - 1
        return index
