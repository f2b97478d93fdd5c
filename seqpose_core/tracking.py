# SPDX-License-Identifier: Apache-2.0
"""Track ids: association of the detections of consecutive frames.

Detections are matched by category and 3D distance in units of their own size, in the world frame if the camera pose
is known, else in the camera frame, which is then assumed static. Matching in 3D separates two cans that overlap in
the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from seqpose_core.geometry import (
    canonicalize_symmetric,
    invert,
    make_transform,
    rotation_error,
    rotation_vector,
    transform,
)
from seqpose_core.objects import ObjectPose

_DEPTH_WEIGHT = 0.5  # weight of distance along the line of sight
_FORBIDDEN_COST = 1e6  # cost of a pair that may not match; any number of allowed pairs costs less
# A pose that differs from the running average by more is a change of the object or of the prediction, not noise: the
# average restarts.
_MAX_ROTATION_NOISE = np.radians(45)
_MAX_POSITION_NOISE = 0.5  # box diagonals


@dataclass
class _Track:
    """One object's last state, in the tracker's current frame (world or camera)."""

    category: str
    symmetric: bool
    rotation: np.ndarray
    translation: np.ndarray
    size: np.ndarray
    last_position: np.ndarray  # (3,) of the last detection; the average may lag behind it
    track_id: int | None = None
    hits: int = 0
    age: int = 0
    missed: int = 0
    # Number of poses in the averages of rotation, translation and size.
    rotation_count: int = 1
    translation_count: int = 1
    size_count: int = 1

    def move(self, matrix: np.ndarray) -> None:
        """Express the state in another frame, (4, 4) from the current one."""
        self.rotation, self.translation = matrix[:3, :3] @ self.rotation, transform(matrix, self.translation)
        self.last_position = transform(matrix, self.last_position)


class Tracker:
    """Assigns track ids and ages to the objects of consecutive frames.

    :param min_hits: consecutive frames with the object before it gets an id; a candidate missed once is
        dropped.
    :param max_age: frames that a track with an id is kept without a detection.
    :param gate: largest distance of a match, in mean box diagonals of the two; twice as far along the line of
        sight, because depth is the least certain coordinate.
    :param smoothing: 0 returns each frame's own pose. Towards 1, position and rotation (only while the camera pose is
        known) and size become a running average over at most 1 / (1 - smoothing) frames. The average of a steady motion
        is behind by smoothing / (1 - smoothing) frames. The covariance stays that of the frame, because monocular
        errors persist over frames.
    :raises ValueError: for a value outside its range.
    """

    def __init__(self, min_hits: int = 2, max_age: int = 10, *, gate: float = 1.0, smoothing: float = 0.0) -> None:
        if not gate > 0:
            raise ValueError(f"gate is {gate}; it must be positive")
        self.gate = gate
        self.configure(min_hits, max_age, smoothing)
        self._next_id = 1
        self._tracks: list[_Track] = []
        self._camera_pose: np.ndarray | None = None
        self._stamp: float | None = None

    def configure(self, min_hits: int, max_age: int, smoothing: float) -> None:
        """Change parameters and keep the tracks. :raises ValueError: for a value outside its range."""
        if min_hits < 1:
            raise ValueError(f"min_hits is {min_hits}; it must be at least 1")
        if max_age < 0:
            raise ValueError(f"max_age is {max_age}; it must be at least 0")
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing is {smoothing}; it must lie in [0, 1)")
        self.min_hits, self.max_age, self.smoothing = min_hits, max_age, smoothing

    def reset(self) -> None:
        """Drop all tracks. Ids continue, so that an id is never given to a second object."""
        self._tracks, self._camera_pose, self._stamp = [], None, None

    def update(
        self,
        detections: Sequence[ObjectPose],
        stamp: float | None = None,
        camera_pose: np.ndarray | None = None,
    ) -> list[ObjectPose]:
        """Match one frame's objects to the tracks.

        The yaw of a symmetric object is fixed: in its first frame its x axis points to the camera; afterwards it has
        the yaw nearest to the track's last one (in the world frame if known), so that its frame does not spin.

        :param detections: in the camera frame, in any order.
        :param stamp: seconds; it must not decrease between resets.
        :param camera_pose: (4, 4) world_from_camera, None while unknown.
        :return: the same objects in descending order of score, with track_id (None until confirmed) and age.
        :raises ValueError: a stamp before the last one, or a camera pose that is not a finite (4, 4) matrix.
        """
        world = self._enter_frame(stamp, camera_pose)
        camera_position, to_camera = world[:3, 3], invert(world)
        # A fixed order makes ids and ties independent of the order of the network's queries.
        ordered = sorted(detections, key=_sort_key)
        candidates = [_new_track(item, world) for item in ordered]
        for track in self._tracks:
            track.age, track.missed = track.age + 1, track.missed + 1
        matches = self._match(candidates, camera_position)
        objects = []
        for index, (item, candidate) in enumerate(zip(ordered, candidates, strict=True)):
            track = matches.get(index, candidate)
            if track is candidate:
                if track.symmetric:
                    track.rotation = canonicalize_symmetric(track.rotation, camera_position - track.translation)
                self._tracks.append(track)
            else:
                self._update_track(track, candidate, motion_known=camera_pose is not None)
            track.hits, track.missed = track.hits + 1, 0
            if track.track_id is None and track.hits >= self.min_hits:
                track.track_id, self._next_id = self._next_id, self._next_id + 1
            objects.append(_tracked_object(item, track, to_camera))
        self._tracks = [t for t in self._tracks if t.missed <= (0 if t.track_id is None else self.max_age)]
        return objects

    def _enter_frame(self, stamp: float | None, camera_pose: np.ndarray | None) -> np.ndarray:
        """Transform the tracks to this update's frame (world or camera); returns (4, 4) from the camera to it."""
        if stamp is not None and self._stamp is not None and stamp < self._stamp:
            raise ValueError(f"stamp {stamp} lies before the last one, {self._stamp}; call reset() first")
        pose = check_camera_pose(camera_pose)
        self._stamp = self._stamp if stamp is None else stamp
        if pose is None:
            if self._camera_pose is not None:  # the pose became unknown: continue in the last camera frame
                for track in self._tracks:
                    track.move(invert(self._camera_pose))
            self._camera_pose = None
            return np.eye(4)
        if self._camera_pose is None:
            for track in self._tracks:
                track.move(pose)
        self._camera_pose = pose
        return pose

    def _match(self, candidates: Sequence[_Track], camera_position: np.ndarray) -> dict[int, _Track]:
        """Index of a candidate → its track: the largest number of pairs of one category within the gate, nearest first.

        :param camera_position: (3,) in the tracker's frame.
        """
        if not candidates or not self._tracks:
            return {}
        names = [np.array([t.category for t in tracks]) for tracks in (candidates, self._tracks)]
        positions = [np.stack([t.last_position for t in tracks]) for tracks in (candidates, self._tracks)]
        diagonals = [np.linalg.norm([t.size for t in tracks], axis=1) for tracks in (candidates, self._tracks)]
        sight = positions[0] - camera_position
        sight /= np.linalg.norm(sight, axis=1, keepdims=True)
        offset = positions[0][:, None] - positions[1]
        along = np.einsum("ijk,ik->ij", offset, sight)
        across = np.linalg.norm(offset - along[..., None] * sight[:, None], axis=2)
        cost = np.hypot(across, _DEPTH_WEIGHT * along) / ((diagonals[0][:, None] + diagonals[1]) / 2)
        allowed = (cost <= self.gate) & (names[0][:, None] == names[1])
        rows, columns = linear_sum_assignment(np.where(allowed, cost, _FORBIDDEN_COST))
        return {int(r): self._tracks[c] for r, c in zip(rows, columns, strict=True) if allowed[r, c]}

    def _update_track(self, track: _Track, new: _Track, motion_known: bool) -> None:
        """Average a matched detection into a track."""
        if track.symmetric:
            new.rotation = canonicalize_symmetric(new.rotation, track.rotation[:, 0])
        track.size_count += 1
        track.size = track.size + self._gain(track.size_count) * (new.size - track.size)

        step = new.translation - track.translation
        near = motion_known and np.linalg.norm(step) < _MAX_POSITION_NOISE * np.linalg.norm(track.size)
        track.translation_count = track.translation_count + 1 if near else 1
        track.translation = track.translation + self._gain(track.translation_count) * step

        similar = motion_known and rotation_error(track.rotation, new.rotation) < _MAX_ROTATION_NOISE
        track.rotation_count = track.rotation_count + 1 if similar else 1
        gain = self._gain(track.rotation_count)
        if gain < 1:
            rotation_step = rotation_vector(track.rotation.T @ new.rotation)
            track.rotation = track.rotation @ cv2.Rodrigues(gain * rotation_step)[0]
        else:
            track.rotation = new.rotation
        track.last_position = new.last_position

    def _gain(self, count: int) -> float:
        """Weight of the newest of ``count`` poses: the arithmetic mean at first, then exponential."""
        return max(1 - self.smoothing, 1 / count) if self.smoothing > 0 else 1.0


def check_camera_pose(camera_pose: np.ndarray | None) -> np.ndarray | None:
    """A camera pose as float64. :raises ValueError: it is neither None nor a finite (4, 4) matrix."""
    pose = None if camera_pose is None else np.asarray(camera_pose, dtype=np.float64)
    if pose is not None and (pose.shape != (4, 4) or not np.isfinite(pose).all()):
        raise ValueError(f"camera_pose is {camera_pose}; it must be finite (4, 4), or None if unknown")
    return pose


def _sort_key(item: ObjectPose) -> tuple[float, str, list[float], list[float]]:
    return -item.score, item.category, np.ravel(item.translation).tolist(), np.ravel(item.rotation).tolist()


def _new_track(item: ObjectPose, world: np.ndarray) -> _Track:
    """A detection as a track, in the tracker's frame; ``world`` (4, 4) transforms camera coordinates to it."""
    pose = world @ item.transform
    size = np.asarray(item.size, dtype=np.float64)
    symmetric = item.category_info.symmetric
    return _Track(item.category, symmetric, pose[:3, :3], pose[:3, 3], size, last_position=pose[:3, 3])


def _tracked_object(item: ObjectPose, track: _Track, to_camera: np.ndarray) -> ObjectPose:
    """The detection with the pose, size, id and age of its track; ``to_camera`` (4, 4) is from the tracker's frame."""
    pose = to_camera @ make_transform(track.rotation, track.translation)
    return replace(
        item,
        rotation=pose[:3, :3],
        translation=pose[:3, 3],
        size=track.size.copy(),
        track_id=track.track_id,
        age=track.age,
    )
