# SPDX-License-Identifier: Apache-2.0
"""A thread in which images wait for the transforms at their stamps."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from seqpose_ros.pipeline import ImageWithInfo
from seqpose_ros.stamps import stamp_seconds
from seqpose_ros.transforms import TransformLookup

MAX_WAITING = 8  # images; if more wait, the oldest one is passed on without its transform
LOOP_JUMP = 1.0  # seconds; a larger jump back of the image stamps clears the buffer
_POLL_PERIOD = 0.005  # seconds


class TransformWait:
    """Holds each image until tf has the transforms at its stamp or ``timeout`` has passed, then passes it on.

    The images wait in a separate thread, in order, so that neither the executor nor the worker is blocked. If the image
    stamps jump back (a recording replayed in a loop without simulated time), the tf buffer is cleared, since it would
    otherwise ignore the older transforms.

    :param frames: target frames. :param timeout: returns seconds of wall time (the node's clock stops in a paused
        replay). :param forward: receives the images; it must not block.
    """

    def __init__(
        self,
        transforms: TransformLookup,
        frames: Sequence[str],
        timeout: Callable[[], float],
        forward: Callable[[ImageWithInfo], None],
    ) -> None:
        self._transforms, self._frames, self._timeout, self._forward = transforms, frames, timeout, forward
        self._condition = threading.Condition()
        self._waiting: deque[tuple[ImageWithInfo, float]] = deque()
        self._closed = False
        self._last_stamp: float | None = None
        self._thread = threading.Thread(target=self._run, name="seqpose_tf_wait", daemon=True)
        self._thread.start()

    def put(self, item: ImageWithInfo) -> None:
        """Add an image; returns at once."""
        stamp = stamp_seconds(item.image.header.stamp)
        if self._last_stamp is not None and stamp < self._last_stamp - LOOP_JUMP:
            self._transforms.clear()
        self._last_stamp = stamp
        with self._condition:
            self._waiting.append((item, time.monotonic() + self._timeout()))
            self._condition.notify()

    def stop(self) -> None:
        """Drop the waiting images and end the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while (item := self._take()) is not None:
            self._forward(item)

    def _take(self) -> ImageWithInfo | None:
        """The oldest image, once its transforms are available or it has waited long enough; None after stop()."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._waiting)
            while not self._closed:
                item, deadline = self._waiting[0]
                if len(self._waiting) > MAX_WAITING or time.monotonic() >= deadline or not self._may_arrive(item):
                    self._waiting.popleft()
                    return item
                self._condition.wait(_POLL_PERIOD)
        return None

    def _may_arrive(self, item: ImageWithInfo) -> bool:
        """Whether any transform at the stamp of the image is missing but may still arrive."""
        header = item.image.header
        source = header.frame_id.lstrip("/")
        return any(self._transforms.may_arrive(frame, source, header.stamp) for frame in self._frames)
