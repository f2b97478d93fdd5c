# SPDX-License-Identifier: Apache-2.0
"""Process one image: decode it, look up camera and transforms, run the estimator, publish."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from std_msgs.msg import Header

from seqpose_core import Camera, Category, EstimatorOptions, ObjectPose, SupportPlane
from seqpose_core.estimator import NonFiniteError
from seqpose_core.geometry import invert
from seqpose_ros.depth import DepthInput
from seqpose_ros.diagnostics import NodeDiagnostics
from seqpose_ros.errors import InputError, quote
from seqpose_ros.from_messages import camera_for_image
from seqpose_ros.images import decode
from seqpose_ros.parameters import Settings, estimator_options
from seqpose_ros.problems import ERROR
from seqpose_ros.publishers import Publishers
from seqpose_ros.stamps import stamp_nanoseconds, stamp_seconds
from seqpose_ros.transforms import TransformLookup

MAX_FRAME_ID = 255  # characters; the frame_id is copied into every detection
#: Seconds by which a stamp may be behind or ahead of the node's clock at arrival; otherwise it is of another clock.
MAX_BEHIND, MAX_AHEAD = 10.0, 0.5


class Estimator(Protocol):
    """The part of :class:`seqpose_core.PoseEstimator` that the node uses."""

    def step(
        self,
        image: np.ndarray,
        camera: Camera,
        stamp: float | None = None,
        camera_pose: np.ndarray | None = None,
        *,
        support_plane: SupportPlane | None = None,
        depth: np.ndarray | None = None,
    ) -> list[ObjectPose]: ...

    def reset(self) -> None: ...

    @property
    def memory_queries(self) -> int: ...

    @property
    def runtime(self) -> str: ...

    @property
    def categories(self) -> Sequence[Category]: ...

    def configure(self, options: EstimatorOptions) -> None: ...


class Stopwatch:
    """Durations of consecutive stages.

    :param begin: of the first stage, monotonic seconds.
    """

    def __init__(self, begin: float) -> None:
        self.times: dict[str, float] = {}
        self._last = begin

    def stop(self, stage: str) -> None:
        """End a stage; the next one begins."""
        now = time.monotonic()
        self.times[stage], self._last = now - self._last, now


@dataclass(frozen=True)
class ImageWithInfo:
    """An image message and the newest camera_info at its arrival.

    :param ros_time: of the arrival, seconds. :param arrival: monotonic seconds.
    """

    image: Any
    info: Any
    ros_time: float
    arrival: float


class Pipeline:
    """Processes images one after the other in one thread; other threads may reset it or apply settings.

    :ivar settings: the current ones.
    :param transforms: None if no frame parameter is set.
    :param now: ROS time in seconds, for the latency. :param depth: None if depth is not used.
    """

    def __init__(
        self,
        estimator: Estimator,
        settings: Settings,
        publishers: Publishers,
        transforms: TransformLookup | None,
        diagnostics: NodeDiagnostics,
        now: Callable[[], float],
        depth: DepthInput | None = None,
    ) -> None:
        self._estimator = estimator
        self._publishers, self._transforms, self._diagnostics, self._now = publishers, transforms, diagnostics, now
        self._depth = depth
        #: Diagnostic values about the support plane and the last image; empty if no support_frame is set.
        self.support: dict[str, str] = {}
        self._lock = threading.Lock()
        self._last_stamp: int | None = None  # of the last image, nanoseconds
        self.apply_settings(settings)  # parameters may have changed since the estimator was created

    def reset(self) -> None:
        """Clear memory and tracks, after the current step."""
        with self._lock:
            self._estimator.reset()

    def apply_settings(self, settings: Settings) -> None:
        """Use new values of the live parameters, after the current step."""
        with self._lock:
            self._estimator.configure(estimator_options(settings))
            self.settings = settings

    def process(self, item: ImageWithInfo) -> None:
        """Process one image. A failure is reported to the diagnostics; the next image is processed as usual."""
        self._diagnostics.image_started()
        try:
            self._process(item)
        except InputError as error:
            self._diagnostics.image_refused(error.kind, str(error))
        except NonFiniteError as error:
            self._diagnostics.image_refused("non_finite", str(error), ERROR)
        except Exception as error:  # model, device or publisher: log the traceback
            if not self._publishers.alive():
                return
            self._diagnostics.image_refused("fault", f"a frame failed: {error!r}", ERROR, traceback.format_exc())

    def _process(self, item: ImageWithInfo) -> None:
        settings, message = self.settings, item.image
        clock = Stopwatch(item.arrival)
        clock.stop("waiting")
        header = self._check_header(message.header, item.info)
        is_new = self._check_order(header)
        image = decode(message, settings.max_image_pixels)
        clock.stop("decode")
        camera = camera_for_image(image, item.info, settings.rectified)
        stamp = stamp_seconds(header.stamp)
        camera_pose = self._camera_pose(header, settings.fixed_frame)
        plane, depth = self._support_plane(header, settings), self._depth_image(header, camera, settings)
        clock.stop("prepare")
        with self._lock:
            objects = self._estimator.step(image, camera, stamp, camera_pose, support_plane=plane, depth=depth)
        clock.stop("inference")
        if settings.support_frame:
            count = f"{sum(o.on_support is True for o in objects)} of {len(objects)}"
            self.support = {"support_plane": "missing" if plane is None else "given", "objects_on_support": count}
        target_from_camera = self._target_from_camera(header, settings.target_frame)
        self._publishers.publish(header, objects, settings, target_from_camera, broadcast=is_new)
        if self._publishers.unnamed_tracks:
            text = f"{self._publishers.unnamed_tracks} tracks are not in tf: all names of their category are in use"
            self._diagnostics.report_problem("tf_names", text)
        self._publishers.publish_debug_image(header, image, camera, objects)
        clock.stop("publish")
        transport = self._transport_seconds(item.ros_time, header)
        latency = {} if transport is None else {"transport": transport, "latency": self._now() - stamp}
        self._diagnostics.image_processed(clock.times | latency)

    def _check_header(self, header: Header, info: Any) -> Header:
        """The header with a frame_id that tf2 accepts; reports what is unusual.

        :raises InputError: the frame_id is too long.
        """
        if len(header.frame_id) > MAX_FRAME_ID:
            raise InputError(
                "frame_id", f"the frame_id has {len(header.frame_id)} characters; at most {MAX_FRAME_ID} are used"
            )
        if header.frame_id.startswith("/"):
            text = f"the frame_id {header.frame_id!r} has a leading slash, which tf2 does not accept; it is removed"
            self._diagnostics.report_problem("frame_id_slash", text)
            header = Header(stamp=header.stamp, frame_id=header.frame_id.lstrip("/"))
        if stamp_nanoseconds(header.stamp) == 0:
            text = "images have the stamp 0: tf lookups and the memory need the time of the image; set it in the driver"
            self._diagnostics.report_problem("stamp", text)
        if info is not None and info.header.frame_id.lstrip("/") != header.frame_id:
            text = f"camera_info is in frame {quote(info.header.frame_id)} but the image is in {header.frame_id!r}"
            self._diagnostics.report_problem("camera_info_frame", text)
        return header

    def _check_order(self, header: Header) -> bool:
        """Report a stamp that does not follow the one of the previous image. Returns whether it differs from it."""
        stamp, last = stamp_nanoseconds(header.stamp), self._last_stamp
        self._last_stamp = stamp
        if last is None or stamp > last or stamp == 0:
            return stamp != last
        if stamp == last:
            text = "images repeat the stamp of the previous image; tf is broadcast for the first one only"
            self._diagnostics.report_problem("stamp_repeated", text)
            return False
        text = f"the image stamps jumped back by {1e-9 * (last - stamp):.3g} s; memory and tracks are reset"
        self._diagnostics.report_problem("stamp_backward", text)
        return True

    def _transport_seconds(self, arrival: float, header: Header) -> float | None:
        """Seconds of ROS time from the stamp to the arrival; None, and a warning, if the stamp is of another clock."""
        stamp = stamp_seconds(header.stamp)
        if stamp == 0 or -MAX_AHEAD <= arrival - stamp <= MAX_BEHIND:
            return None if stamp == 0 else arrival - stamp
        if arrival == 0:
            text = "use_sim_time is true but no time was received on /clock; the latency is not known"
        else:
            text = (
                f"image stamps are {abs(arrival - stamp):.4g} s {'behind' if arrival > stamp else 'ahead of'} the "
                "node's clock, so the latency is not known; for a recording set use_sim_time and publish /clock, "
                "otherwise synchronise the clocks"
            )
        self._diagnostics.report_problem("clock", text)
        return None

    def _camera_pose(self, header: Header, fixed_frame: str) -> np.ndarray | None:
        if not fixed_frame or self._transforms is None:
            return None
        try:
            return self._transforms.lookup(fixed_frame, header.frame_id, header.stamp)
        except InputError as error:
            self._diagnostics.report_problem("fixed_frame", f"continuing without ego-motion: {error}")
            return None

    def _support_plane(self, header: Header, settings: Settings) -> SupportPlane | None:
        if not settings.support_frame or self._transforms is None:
            return None
        try:
            pose = self._transforms.lookup(settings.support_frame, header.frame_id, header.stamp)
        except InputError as error:
            self._diagnostics.report_problem("support_frame", f"continuing without the support plane: {error}")
            return None
        return SupportPlane.from_frame(
            invert(pose),
            settings.support_height,
            height_noise=settings.support_height_noise,
            tilt_noise=float(np.radians(settings.support_tilt_noise)),
            prior=settings.support_prior,
        )

    def _depth_image(self, header: Header, camera: Camera, settings: Settings) -> np.ndarray | None:
        if self._depth is None:
            return None
        try:
            return self._depth.at(header.stamp, camera, settings.tf_timeout)
        except InputError as error:
            self._diagnostics.report_problem("depth", f"continuing without depth: {error}")
            return None

    def _target_from_camera(self, header: Header, target_frame: str) -> np.ndarray | None:
        if not header.frame_id:
            self._diagnostics.report_problem(
                "frame_id", "images have no frame_id, so no tf is broadcast; set it in the driver"
            )
        if not target_frame or self._transforms is None:
            return None
        return self._transforms.lookup(target_frame, header.frame_id, header.stamp)
