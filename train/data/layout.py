# SPDX-License-Identifier: Apache-2.0
"""The interface of all readers of data sets: clips of frames, of which broken ones are skipped, counted and named."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from train.data.frame import Frame
from train.data.nocs_files import BrokenFrameError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One scene folder: the names of its frames in order."""

    scene: str
    folder: str
    frames: tuple[str, ...]


class Layout(ABC):
    """The clips of one split of a data set.

    Opening a layout lists folders but opens no image; reading a broken frame raises an error with the file and the
    reason, so that callers can skip and count it.
    """

    clips: tuple[Clip, ...]

    def __init__(self) -> None:
        self.broken: dict[str, str] = {}  # "<scene>/<frame>" → "<file>: <reason>", of this process

    @property
    def left_out(self) -> dict[str, str]:
        """Objects without a label in the frames read so far, by "<scene>/<frame> <object>", with the reason."""
        return {}

    @property
    def notes(self) -> list[str]:
        """Sentences about content of the data set that is not used."""
        return []

    @abstractmethod
    def _read(self, clip: Clip, name: str) -> Frame:
        """Read one frame. :raises BrokenFrameError: a file is missing, unreadable or inconsistent with another."""

    def read(self, clip: int, frame: int) -> Frame:
        """Read one frame.

        :raises BrokenFrameError: a file is missing, unreadable or inconsistent with another; also added to `broken`.
        """
        folder, name = self.clips[clip], self.clips[clip].frames[frame]
        key = f"{folder.scene}/{name}"
        if key in self.broken:
            file, _, reason = self.broken[key].partition(": ")
            raise BrokenFrameError(file, reason)
        try:
            return self._read(folder, name)
        except BrokenFrameError as error:
            self.broken[key] = str(error)
            logger.warning("frame skipped: %s", error)
            raise

    def frames(self, clip: int) -> Iterator[Frame]:
        """The readable frames of a clip in order; broken ones are added to `broken`."""
        for index in range(len(self.clips[clip].frames)):
            try:
                yield self.read(clip, index)
            except BrokenFrameError:
                continue

    def report(self) -> str:
        """The number of broken frames and unlabelled objects read so far, and each with file and reason."""
        lines = [f"{len(self.broken)} of {sum(len(clip.frames) for clip in self.clips)} frames skipped"]
        lines += [f"  {text}" for text in self.broken.values()]
        if self.left_out:
            lines += [f"{len(self.left_out)} objects without a label"]
            lines += [f"  {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines + self.notes)
