# SPDX-License-Identifier: Apache-2.0
"""What happens to one image: decoded, matched with its camera and transforms, estimated, published."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from std_msgs.msg import Header

from seqpose_core import Camera, ObjectPose
from seqpose_ros.diagnostics import Health
from seqpose_ros.errors import InputError
from seqpose_ros.frames import Frames
from seqpose_ros.images import decode
from seqpose_ros.inputs import camera_of
from seqpose_ros.outputs import Outputs
from seqpose_ros.parameters import Settings, estimator_options
from seqpose_ros.stamps import stamp_seconds


class Estimator(Protocol):
    """What the node needs of :class:`seqpose_core.PoseEstimator`."""

    def step(
        self,
        image: np.ndarray,
        camera: Camera,
        stamp: float | None = None,
        camera_pose: np.ndarray | None = None,
    ) -> list[ObjectPose]: ...

    def reset(self) -> None: ...

    def configure(self, **options: Any) -> None: ...


@dataclass(frozen=True)
class Arrival:
    """An image message and the camera_info known when it came."""

    image: Any
    info: Any


class Pipeline:
    """Takes one image after the other, in one thread; settings and resets may come from another.

    :param frames: None if no frame parameter is set.
    :param now: the node's time in seconds, on the clock of the stamps.
    """

    def __init__(
        self,
        estimator: Estimator,
        settings: Settings,
        outputs: Outputs,
        frames: Frames | None,
        health: Health,
        now: Callable[[], float],
    ) -> None:
        self._estimator, self._settings = estimator, settings
        self._outputs, self._frames, self._health, self._now = outputs, frames, health, now
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Forget memory and tracks, after the step in work."""
        with self._lock:
            self._estimator.reset()

    def change(self, settings: Settings) -> None:
        """Go on with other values of the live parameters, after the step in work."""
        with self._lock:
            self._estimator.configure(**estimator_options(settings))
            self._settings = settings

    def take(self, arrival: Arrival) -> None:
        """Process one image. Whatever is wrong with it becomes a complaint: the stream goes on."""
        try:
            self._process(arrival.image, arrival.info)
        except InputError as error:
            self._health.image_refused()
            self._health.complain(error.kind, str(error))
        except Exception as error:  # the model, the device or a publisher: a fault of ours, said in full
            if not self._outputs.alive():
                return
            self._health.image_refused()
            self._health.complain("fault", f"a frame failed: {error!r}\n{traceback.format_exc()}")

    def _process(self, message: Any, info: Any) -> None:
        settings, header = self._settings, message.header
        image = decode(message)
        camera = camera_of(image, info, settings.rectified)
        stamp = stamp_seconds(header.stamp)
        camera_pose = self._camera_pose(header, settings.fixed_frame)
        begin = time.monotonic()
        with self._lock:
            objects = self._estimator.step(image, camera, stamp, camera_pose)
        inference = time.monotonic() - begin
        self._outputs.publish(header, objects, settings, self._to_target(header, settings.target_frame))
        self._health.image_processed(self._now() - stamp, inference)
        self._outputs.publish_debug_image(header, image, camera, objects)

    def _camera_pose(self, header: Header, fixed_frame: str) -> np.ndarray | None:
        if not fixed_frame or self._frames is None:
            return None
        try:
            return self._frames.lookup(fixed_frame, header.frame_id, header.stamp)
        except InputError as error:
            self._health.complain("fixed_frame", f"going on without ego-motion: {error}")
            return None

    def _to_target(self, header: Header, target_frame: str) -> np.ndarray | None:
        if not header.frame_id:
            self._health.complain("frame_id", "images have no frame_id, so no tf is broadcast; set it in the driver")
        if not target_frame or self._frames is None:
            return None
        return self._frames.lookup(target_frame, header.frame_id, header.stamp)
