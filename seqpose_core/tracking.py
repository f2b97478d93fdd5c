# SPDX-License-Identifier: Apache-2.0
"""Identities across frames: which of this frame's objects is which of the last ones.

Objects are matched by category and by 3D distance in units of their own size, in the world where the camera's
pose is known, else in the camera frame as if nothing had moved. Working in 3D keeps two cans apart that
overlap in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from seqpose_core.categories import category
from seqpose_core.geometry import canonicalize_symmetric, invert, make_transform, rotation_error, transform
from seqpose_core.objects import ObjectPose

_ALONG = 0.5  # weight of distance along the line of sight
_FAR = 1e6  # cost of a pair that may not match; any number of allowed pairs costs less
# Readings that differ from their average by more are not noise but a change, of the object or of the
# network's mind: a mean of both would be neither, so the average begins anew.
_SAME_ROTATION = np.radians(45)
_SAME_PLACE = 0.5  # box diagonals


@dataclass
class _Track:
    """One object's last state, in the tracker's present frame (world or camera)."""

    category: str
    rotation: np.ndarray
    translation: np.ndarray
    size: np.ndarray
    last_seen: np.ndarray  # (3,) where the last reading was, which the average may lag behind
    track_id: int | None = None
    hits: int = 0
    age: int = 0
    missed: int = 0
    # Readings in the averages of rotation, translation and size.
    turns: int = 1
    places: int = 1
    sizes: int = 1

    def move(self, matrix: np.ndarray) -> None:
        """Express the state in another frame, (4, 4) from this one."""
        self.rotation, self.translation = matrix[:3, :3] @ self.rotation, transform(matrix, self.translation)
        self.last_seen = transform(matrix, self.last_seen)


class Tracker:
    """Gives the objects of consecutive frames their track ids and ages.

    :param min_hits: consecutive frames with the object before it gets an id; a candidate missed once is
        dropped.
    :param max_age: frames a track with an id survives unseen.
    :param gate: largest distance of a match, in mean box diagonals of the two; twice as far along the line of
        sight, which is the direction that one image tells worst.
    :param smoothing: 0 publishes each frame's own reading; towards 1 position and rotation (while the
        camera's pose is known, without which the motion is unknown) and size become a running average of
        longer memory: at most 1 / (1 - smoothing) frames weigh in. The covariance stays that of the frame, as
        monocular errors persist.
    :raises ValueError: for a value outside its range.
    """

    def __init__(self, min_hits: int = 2, max_age: int = 10, *, gate: float = 1.0, smoothing: float = 0.0) -> None:
        if min_hits < 1:
            raise ValueError(f"min_hits is {min_hits}; it must be at least 1")
        if max_age < 0:
            raise ValueError(f"max_age is {max_age}; it must be at least 0")
        if not gate > 0:
            raise ValueError(f"gate is {gate}; it must be positive")
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing is {smoothing}; it must lie in [0, 1)")
        self.min_hits, self.max_age, self.gate, self.smoothing = min_hits, max_age, gate, smoothing
        self._next_id = 1
        self._tracks: list[_Track] = []
        self._camera_pose: np.ndarray | None = None
        self._stamp: float | None = None

    def reset(self) -> None:
        """Forget all tracks. Ids go on counting: a frame's name never jumps from one object to another."""
        self._tracks, self._camera_pose, self._stamp = [], None, None

    def update(
        self,
        detections: Sequence[ObjectPose],
        stamp: float | None = None,
        camera_pose: np.ndarray | None = None,
    ) -> list[ObjectPose]:
        """Match one frame's objects to the tracks.

        A symmetric object is turned about its y axis: at first sight its x axis points to the camera,
        afterwards it is the turn nearest to the track's last one (in the world where known), so that its
        frame does not spin.

        :param detections: in the camera frame, in any order.
        :param stamp: seconds; it must not fall between resets.
        :param camera_pose: (4, 4) world_from_camera, None while unknown.
        :return: the same objects by falling score, with track_id (None until confirmed) and age.
        :raises ValueError: a stamp before the last one, or a camera pose that is not a finite (4, 4) matrix.
        """
        world = self._enter_frame(stamp, camera_pose)
        eye = world[:3, 3]
        # A fixed order makes ids, and ties, independent of the order the network happened to answer in.
        ordered = sorted(detections, key=_rank)
        seen = [_reading(item, world) for item in ordered]
        for track in self._tracks:
            track.age, track.missed = track.age + 1, track.missed + 1
        matches = self._match(seen, eye)
        objects = []
        for index, (item, now) in enumerate(zip(ordered, seen, strict=True)):
            track = matches.get(index, now)
            if track is now:
                if category(now.category).symmetric:
                    now.rotation = canonicalize_symmetric(now.rotation, eye - now.translation)
                self._tracks.append(track)
            else:
                self._absorb(track, now, motion_known=camera_pose is not None)
            track.hits, track.missed = track.hits + 1, 0
            if track.track_id is None and track.hits >= self.min_hits:
                track.track_id, self._next_id = self._next_id, self._next_id + 1
            objects.append(_observed(item, track, world))
        self._tracks = [t for t in self._tracks if t.missed <= (0 if t.track_id is None else self.max_age)]
        return objects

    def _enter_frame(self, stamp: float | None, camera_pose: np.ndarray | None) -> np.ndarray:
        """Bring the tracks into this update's frame; (4, 4) from the camera to it."""
        if stamp is not None and self._stamp is not None and stamp < self._stamp:
            raise ValueError(f"stamp {stamp} lies before the last one, {self._stamp}; call reset() first")
        pose = None if camera_pose is None else np.asarray(camera_pose, dtype=np.float64)
        if pose is not None and (pose.shape != (4, 4) or not np.isfinite(pose).all()):
            raise ValueError(f"camera_pose is {camera_pose}; it must be finite (4, 4), or None if unknown")
        self._stamp = self._stamp if stamp is None else stamp
        if pose is None:
            if self._camera_pose is not None:  # the world is lost: go on from where the camera was last
                for track in self._tracks:
                    track.move(invert(self._camera_pose))
            self._camera_pose = None
            return np.eye(4)
        if self._camera_pose is None:
            for track in self._tracks:
                track.move(pose)
        self._camera_pose = pose
        return pose

    def _match(self, seen: Sequence[_Track], eye: np.ndarray) -> dict[int, _Track]:
        """Index in `seen` → track: as many pairs of a category within the gate as can be, the nearest.

        :param eye: (3,) where the camera is.
        """
        if not seen or not self._tracks:
            return {}
        names = [np.array([t.category for t in tracks]) for tracks in (seen, self._tracks)]
        places = [np.stack([t.last_seen for t in tracks]) for tracks in (seen, self._tracks)]
        diagonals = [np.linalg.norm([t.size for t in tracks], axis=1) for tracks in (seen, self._tracks)]
        sight = places[0] - eye
        sight /= np.linalg.norm(sight, axis=1, keepdims=True)
        apart = places[0][:, None] - places[1]
        along = np.einsum("ijk,ik->ij", apart, sight)
        across = np.linalg.norm(apart - along[..., None] * sight[:, None], axis=2)
        cost = np.hypot(across, _ALONG * along) / ((diagonals[0][:, None] + diagonals[1]) / 2)
        allowed = (cost <= self.gate) & (names[0][:, None] == names[1])
        rows, columns = linear_sum_assignment(np.where(allowed, cost, _FAR))
        return {int(r): self._tracks[c] for r, c in zip(rows, columns, strict=True) if allowed[r, c]}

    def _absorb(self, track: _Track, now: _Track, motion_known: bool) -> None:
        """Update a track by what is seen now."""
        if category(now.category).symmetric:
            now.rotation = canonicalize_symmetric(now.rotation, track.rotation[:, 0])
        track.sizes += 1
        track.size = track.size + self._gain(track.sizes) * (now.size - track.size)

        step = now.translation - track.translation
        near = np.linalg.norm(step) < _SAME_PLACE * np.linalg.norm(track.size)
        track.places = track.places + 1 if motion_known and near else 1
        track.translation = track.translation + self._gain(track.places) * step

        same = rotation_error(track.rotation, now.rotation) < _SAME_ROTATION
        track.turns = track.turns + 1 if motion_known and same else 1
        gain = self._gain(track.turns)
        if gain < 1:
            turn = Rotation.from_matrix(track.rotation.T @ now.rotation).as_rotvec()
            track.rotation = track.rotation @ Rotation.from_rotvec(gain * turn).as_matrix()
        else:
            track.rotation = now.rotation
        track.last_seen = now.last_seen

    def _gain(self, readings: int) -> float:
        """Weight of the newest of so many readings: the plain mean at first, then exponential."""
        return max(1 - self.smoothing, 1 / readings) if self.smoothing > 0 else 1.0


def _rank(item: ObjectPose) -> tuple[float, str, list[float], list[float]]:
    return -item.score, item.category, np.ravel(item.translation).tolist(), np.ravel(item.rotation).tolist()


def _reading(item: ObjectPose, world: np.ndarray) -> _Track:
    """The detection in the tracker's frame, (4, 4) `world` from the camera."""
    pose = world @ item.transform
    size = np.asarray(item.size, dtype=np.float64)
    return _Track(item.category, pose[:3, :3], pose[:3, 3], size, last_seen=pose[:3, 3])


def _observed(item: ObjectPose, track: _Track, world: np.ndarray) -> ObjectPose:
    """The detection as its track has it, in the camera frame."""
    pose = invert(world) @ make_transform(track.rotation, track.translation)
    return replace(
        item,
        rotation=pose[:3, :3],
        translation=pose[:3, 3],
        size=track.size.copy(),
        track_id=track.track_id,
        age=track.age,
    )
