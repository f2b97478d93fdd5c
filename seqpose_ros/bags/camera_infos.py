# SPDX-License-Identifier: Apache-2.0
"""Assign the camera_info messages of a bag to its images, as the node does with the messages that arrive."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqpose_ros.bags.clock_resets import ClockResets
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import camera_from_info
from seqpose_ros.stamps import stamp_nanoseconds


class CameraInfos:
    """The camera_info messages of one camera.

    Only usable ones are assigned to images: drivers publish zeros before they have read their calibration. If none is
    usable, the first one is assigned to every image, for the reason why it cannot be used.

    :param messages: (recorded time in ns, sensor_msgs/CameraInfo) in recorded order, at least one.
    :param rectified: as the node's parameter of that name.
    """

    def __init__(self, messages: Sequence[tuple[int, Any]], rectified: bool, resets: ClockResets) -> None:
        problems = [_problem(info, rectified) for _, info in messages]
        #: Why messages cannot be used.
        self.refused = [problem for problem in problems if problem]
        usable = [item for item, problem in zip(messages, problems, strict=True) if not problem] or list(messages[:1])
        #: Whether messages of one stamp describe different cameras.
        self.ambiguous = False
        self._all = usable
        self._resets = resets
        self._by_stamp: dict[tuple[int, int], list[tuple[int, Any]]] = {}
        for time, info in usable:
            stamp = stamp_nanoseconds(info.header.stamp)
            same = self._by_stamp.setdefault((resets.sequence(time, stamp), stamp), [])
            self.ambiguous |= bool(same) and not _same_camera(same[-1][1], info)
            same.append((time, info))

    def of_image(self, recorded: int, stamp: int) -> Any:
        """The camera_info of the image's stamp, or else the latest one that was recorded before the image, or else the
        first one.

        If several have the image's stamp, the same rule selects one of them.

        :param recorded: time at which the image was recorded, ns. :param stamp: of the image, ns.
        """
        candidates = self._by_stamp.get((self._resets.sequence(recorded, stamp), stamp), self._all)
        after = bisect_right(candidates, recorded, key=lambda item: item[0])
        return candidates[max(after - 1, 0)][1]


def _problem(info: Any, rectified: bool) -> str:
    """Why a camera_info cannot be used, or ""."""
    try:
        camera_from_info(info, rectified)
    except InputError as error:
        return str(error)
    return ""


def _same_camera(first: Any, second: Any) -> bool:
    """Whether two camera_info messages describe the same camera."""
    return (first.width, first.height, first.distortion_model) == (
        second.width,
        second.height,
        second.distortion_model,
    ) and all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("d", "k", "p"))
