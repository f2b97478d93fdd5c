# SPDX-License-Identifier: Apache-2.0
"""The transform tree: stores transforms over time and looks up the transform between two frames."""

from __future__ import annotations

import math
import threading
from time import monotonic
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import TransformStamped
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.time import Time

from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)
from tf2_ros.history import MovingHistory, Sample, StaticHistory
from tf2_ros.rigid import IDENTITY, Rigid, compose, inverse, normalized

if TYPE_CHECKING:
    from rclpy.node import Node

QUATERNION_TOLERANCE = 1e-2  # how far from unit length a published quaternion may be, as in tf2


class Buffer:
    """Transforms of the last `cache_time` (default 10 s). Thread safe.

    If a node is given, a backward jump of its clock (a bag is replayed) clears the buffer.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._window = (cache_time or Duration(seconds=10)).nanoseconds
        self._histories: dict[str, MovingHistory | StaticHistory] = {}
        self._parents: set[str] = set()
        self._changed = threading.Condition()
        self._jump_handle = None
        if node is not None:
            threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)
            self._jump_handle = node.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Store a transform at its stamp.

        :raises InvalidArgumentException: frame names are empty or equal, a value is not finite, or the quaternion is
            not of unit length.
        """
        self._insert(transform, authority, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Store a transform that is valid at all times. Raises as :meth:`set_transform`."""
        self._insert(transform, authority, static=True)

    def clear(self) -> None:
        """Remove all transforms except static ones, which are published only once."""
        with self._changed:
            self._histories = {
                child: history for child, history in self._histories.items() if isinstance(history, StaticHistory)
            }
            self._parents = {history.latest().parent for history in self._histories.values()}

    def lookup_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time | TimeMessage,
        timeout: Duration = Duration(),  # noqa: B008 (a value object, as in tf2's signature)
    ) -> TransformStamped:
        """The transform from `source_frame` to `target_frame`.

        :param time: of the transform; zero is the latest common time of the chain.
        :param timeout: time to wait for the transform to become available.
        :raises LookupException: a frame does not exist.
        :raises ConnectivityException: no chain connects the two frames.
        :raises ExtrapolationException: the chain has no data at that time.
        :raises InvalidArgumentException: a frame name is empty or starts with a slash.
        """
        stamp = _nanoseconds(time)
        deadline = monotonic() + timeout.nanoseconds * 1e-9
        with self._changed:
            while True:
                try:
                    stamp_found, transform = self._lookup(target_frame, source_frame, stamp)
                    break
                except InvalidArgumentException:
                    raise
                except TransformException:
                    remaining = deadline - monotonic()
                    if remaining <= 0:
                        raise
                    self._changed.wait(remaining)
        return _message(target_frame, source_frame, stamp_found, transform)

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time | TimeMessage,
        timeout: Duration = Duration(),  # noqa: B008 (as above)
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """Whether :meth:`lookup_transform` succeeds; with `return_debug_tuple`, also the error message."""
        try:
            self.lookup_transform(target_frame, source_frame, time, timeout)
        except TransformException as error:
            return (False, str(error)) if return_debug_tuple else False
        return (True, "") if return_debug_tuple else True

    def _on_jump(self, jump: TimeJump) -> None:
        self.clear()

    def _insert(self, message: TransformStamped, authority: str, *, static: bool) -> None:
        parent = message.header.frame_id.removeprefix("/")
        child = message.child_frame_id.removeprefix("/")
        translation, rotation = message.transform.translation, message.transform.rotation
        vector = (translation.x, translation.y, translation.z)
        quaternion = (rotation.x, rotation.y, rotation.z, rotation.w)
        context = f"transform from '{authority}' of frame '{child}' in '{parent}'"
        if not parent or not child:
            raise InvalidArgumentException(f"{context}: neither frame name may be empty")
        if parent == child:
            raise InvalidArgumentException(f"{context}: a frame cannot be its own parent")
        if not all(map(math.isfinite, vector + quaternion)):
            raise InvalidArgumentException(f"{context}: {vector} {quaternion} holds a value that is not finite")
        if abs(math.hypot(*quaternion) - 1.0) > QUATERNION_TOLERANCE:
            raise InvalidArgumentException(f"{context}: quaternion {quaternion} is not of unit length")
        sample = Sample(_nanoseconds(message.header.stamp), parent, Rigid(vector, normalized(quaternion)))
        with self._changed:
            history = self._histories.get(child)
            if history is None or isinstance(history, StaticHistory) != static:
                history = StaticHistory() if static else MovingHistory(self._window)
                self._histories[child] = history
            history.insert(sample)
            self._parents.add(parent)
            self._changed.notify_all()

    def _lookup(self, target: str, source: str, stamp: int) -> tuple[int, Rigid]:
        for name, frame in (("target_frame", target), ("source_frame", source)):
            if not frame or frame.startswith("/"):
                raise InvalidArgumentException(f"{name} '{frame}': a frame name is not empty and has no leading '/'")
            if frame not in self._histories and frame not in self._parents:
                raise LookupException(f'"{frame}" passed to lookupTransform argument {name} does not exist.')
        if stamp == 0:
            stamp = self._latest_common_stamp(target, source)
        from_target, target_error = self._climb(target, stamp)
        from_source, source_error = self._climb(source, stamp)
        for frame, to_target in from_target.items():
            if frame in from_source:
                return stamp, compose(inverse(to_target), from_source[frame])
        error = source_error or target_error
        if error is not None:
            raise ExtrapolationException(f"{error}, when looking up transform from '{source}' to '{target}'")
        raise _unconnected(target, source)

    def _climb(self, frame: str, stamp: int) -> tuple[dict[str, Rigid], ExtrapolationException | None]:
        """Transforms from `frame` to itself and each ancestor, and the error at which the climb ended, if any."""
        to_ancestor = {frame: IDENTITY}
        transform = IDENTITY
        while frame in self._histories:
            try:
                sample = self._histories[frame].at(stamp, frame)
            except ExtrapolationException as error:
                return to_ancestor, error
            frame = sample.parent
            if frame in to_ancestor:
                raise ConnectivityException(f"the transforms form a loop through the frames {sorted(to_ancestor)}")
            transform = compose(sample.transform, transform)
            to_ancestor[frame] = transform
        return to_ancestor, None

    def _latest_common_stamp(self, target: str, source: str) -> int:
        """The latest stamp at which all moving edges between the frames have data; 0 if all edges are static."""
        from_target, from_source = self._newest(target), self._newest(source)
        for frame, stamp in from_target.items():
            if frame in from_source:
                common = min(stamp, from_source[frame])
                return 0 if math.isinf(common) else int(common)
        raise _unconnected(target, source)

    def _newest(self, frame: str) -> dict[str, float]:
        """For each ancestor of `frame`, the latest stamp that all edges up to it have (inf: all static)."""
        newest: float = math.inf
        reached = {frame: newest}
        while frame in self._histories:
            history = self._histories[frame]
            sample = history.latest()
            if isinstance(history, MovingHistory):
                newest = min(newest, sample.stamp)
            frame = sample.parent
            if frame in reached:
                raise ConnectivityException(f"the transforms form a loop through the frames {sorted(reached)}")
            reached[frame] = newest
        return reached


def _unconnected(target: str, source: str) -> ConnectivityException:
    return ConnectivityException(
        f"Could not find a connection between '{target}' and '{source}': they are not part of the same tree."
    )


def _nanoseconds(time: Time | TimeMessage) -> int:
    if isinstance(time, Time):
        return int(time.nanoseconds)
    if isinstance(time, TimeMessage):
        return int(time.sec) * 10**9 + int(time.nanosec)
    raise TypeError(f"time is {type(time).__name__}, wanted rclpy.time.Time or builtin_interfaces.msg.Time")


def _message(target: str, source: str, stamp: int, transform: Rigid) -> TransformStamped:
    message = TransformStamped()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.header.frame_id = target
    message.child_frame_id = source
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = transform.translation
    rotation.x, rotation.y, rotation.z, rotation.w = transform.rotation
    return message
