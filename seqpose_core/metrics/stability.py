# SPDX-License-Identifier: Apache-2.0
"""Stability over time: jitter, identity, time to first detection, recovery after occlusion, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from seqpose_core import geometry
from seqpose_core.categories import CATEGORIES, Category
from seqpose_core.metrics.calibration import Coverage, coverage
from seqpose_core.objects import ObjectPose


@dataclass(frozen=True)
class SequenceFrame:
    """One frame of a sequence.

    :param stamp: seconds. ``estimates``: the output of the estimator.
    :param ground_truths: the objects of the scene in the same camera frame, with their instance number as
        ``track_id``; also those that are hidden in this frame.
    :param hidden: instance numbers of the ground-truth objects that are not visible in this frame.
    """

    stamp: float
    estimates: Sequence[ObjectPose]
    ground_truths: Sequence[ObjectPose]
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Jitter:
    """Root mean square change between consecutive frames, divided by √2.

    For errors that are independent from frame to frame this is their root mean square deviation from the mean; a slow
    drift adds little. Metres and radians, NaN without two consecutive frames; ``samples``: number of changes.
    """

    translation: float
    rotation: float
    samples: int


@dataclass(frozen=True)
class FirstDetection:
    """``seconds`` from the first frame in which an object is visible to its first match; None if it has none."""

    sequence: int
    instance: int
    seconds: float | None


@dataclass(frozen=True)
class Recovery:
    """An object that is visible again after an occlusion.

    :param seconds: until it is detected again, None if it is not.
    :param same_id: whether its track is the one from before, None if either has no number.
    """

    sequence: int
    instance: int
    hidden_seconds: float
    seconds: float | None
    same_id: bool | None


@dataclass(frozen=True)
class StabilityReport:
    """Outcome of :func:`stability`.

    :param jitter: by category name, and "all".
    :param identity_switches: how often the track number on a ground-truth object changed; ``tracked``: number of
        matches that had a track number.
    :param first_detections: one entry for each ground-truth object that was visible in any frame.
    :param recoveries: one entry for each time an object became visible again.
    """

    jitter: dict[str, Jitter]
    identity_switches: int
    tracked: int
    first_detections: tuple[FirstDetection, ...]
    recoveries: tuple[Recovery, ...]
    coverage: Coverage

    def summary(self) -> dict[str, Any]:
        """Plain numbers for JSON or YAML: counts, and medians in seconds, None where there are none."""
        first = [d.seconds for d in self.first_detections if d.seconds is not None]
        recovered = [r.seconds for r in self.recoveries if r.seconds is not None]
        return {
            "jitter": {name: asdict(value) for name, value in self.jitter.items()},
            "identity_switches": self.identity_switches,
            "tracked": self.tracked,
            "ground_truths_in_sight": len(self.first_detections),
            "ground_truths_detected": len(first),
            "median_first_detection_s": float(np.median(first)) if first else None,
            "occlusions": len(self.recoveries),
            "recovered": len(recovered),
            "recovered_with_same_id": sum(r.same_id is True for r in self.recoveries),
            "median_recovery_s": float(np.median(recovered)) if recovered else None,
            "coverage": asdict(self.coverage),
        }


def associate(frame: SequenceFrame, radius: float = 0.2) -> dict[int, ObjectPose]:
    """Estimates by the instance number of the ground-truth object that they are assigned to.

    Within a category, the one-to-one assignment with the most pairs closer than ``radius`` (metres, centre to centre)
    and among those the smallest sum of distances. Hidden objects are assigned too: a track may coast through an
    occlusion.
    """
    for item in frame.ground_truths:
        if item.track_id is None:
            raise ValueError(
                f"a ground-truth {item.category} at stamp {frame.stamp} has no track_id to follow it over the frames"
            )
    out: dict[int, ObjectPose] = {}
    for name in sorted({item.category for item in frame.ground_truths}):
        ground_truths = [t for t in frame.ground_truths if t.category == name]
        estimates = [e for e in frame.estimates if e.category == name]
        if not estimates:
            continue
        centres = np.array([e.translation for e in estimates])
        distance = np.linalg.norm(np.array([t.translation for t in ground_truths])[:, None] - centres, axis=-1)
        cost = np.where(distance <= radius, distance, 1e3 * (1 + radius))
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if distance[i, j] <= radius:
                out[int(ground_truths[i].track_id or 0)] = estimates[j]
    return out


def jitter(transforms: np.ndarray, symmetric: bool) -> Jitter:
    """Jitter of the consecutive poses (T, 4, 4) of one object in a frame in which it does not move."""
    translation = np.linalg.norm(np.diff(transforms[:, :3, 3], axis=0), axis=1)
    rotation = geometry.rotation_error(transforms[:-1, :3, :3], transforms[1:, :3, :3], symmetric)
    return _rms(translation, rotation)


def _rms(translation: np.ndarray, rotation: np.ndarray) -> Jitter:
    if len(translation) == 0:
        return Jitter(float("nan"), float("nan"), 0)
    metres, radians = (float(np.sqrt((x**2).mean() / 2)) for x in (translation, rotation))
    return Jitter(metres, radians, len(translation))


def stability(
    *sequences: Sequence[SequenceFrame], radius: float = 0.2, categories: Sequence[Category] = CATEGORIES
) -> StabilityReport:
    """Stability of the estimates over one or more sequences.

    Jitter is computed on the poses relative to the ground truth, so that neither a moving camera nor a moving object
    adds to it, over consecutive frames in both of which the object was visible and matched.

    :param sequences: each the frames of one clip in the order of their stamps. :param radius: see :func:`associate`.
    :raises ValueError: no frames, stamps that do not increase, or a ground-truth object without instance number.
    """
    if not sequences:
        raise ValueError("stability needs at least one sequence of frames")
    totals = _Totals({c.name: c.symmetric for c in categories})
    for number, frames in enumerate(sequences):
        totals.add(number, frames, radius)
    return StabilityReport(
        jitter={name: _rms(*np.array(v).reshape(-1, 2).T) for name, v in totals.changes.items()},
        identity_switches=totals.switches,
        tracked=totals.tracked,
        first_detections=tuple(totals.first),
        recoveries=tuple(totals.recoveries),
        coverage=coverage(totals.matched, categories=categories),
    )


@dataclass
class _Totals:
    """Sums and lists that :func:`stability` collects over all sequences."""

    symmetric: dict[str, bool]
    changes: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {"all": []})
    switches: int = 0
    tracked: int = 0
    first: list[FirstDetection] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    matched: list[tuple[ObjectPose, ObjectPose]] = field(default_factory=list)

    def add(self, sequence: int, frames: Sequence[SequenceFrame], radius: float) -> None:
        stamps = np.array([frame.stamp for frame in frames])
        if len(stamps) == 0 or not (np.diff(stamps) > 0).all():
            raise ValueError(f"sequence {sequence} needs frames whose stamps increase from one to the next")
        estimates = [associate(frame, radius) for frame in frames]
        ground_truths = [{int(t.track_id or 0): t for t in frame.ground_truths} for frame in frames]
        for i in sorted({i for objects in ground_truths for i in objects}):
            visible = np.array(
                [i in objects and i not in frame.hidden for objects, frame in zip(ground_truths, frames, strict=True)]
            )
            hit = np.array([i in objects for objects in estimates]) & visible
            self._add_changes(i, hit, ground_truths, estimates)
            self.matched += [(estimates[k][i], ground_truths[k][i]) for k in np.flatnonzero(hit)]
            ids = [estimates[k][i].track_id for k in np.flatnonzero(hit) if estimates[k][i].track_id is not None]
            self.tracked += len(ids)
            self.switches += sum(a != b for a, b in pairwise(ids))
            if visible.any():
                delay = float(stamps[hit.argmax()] - stamps[visible.argmax()]) if hit.any() else None
                self.first.append(FirstDetection(sequence, i, delay))
                self.recoveries += _recoveries(
                    sequence, i, stamps, visible, hit, [objects.get(i) for objects in estimates]
                )

    def _add_changes(
        self,
        instance: int,
        hit: np.ndarray,
        ground_truths: list[dict[int, ObjectPose]],
        estimates: list[dict[int, ObjectPose]],
    ) -> None:
        """Changes of the pose relative to the ground truth between consecutive frames, metres and radians."""
        for k in np.flatnonzero(hit[1:] & hit[:-1]):
            pair = np.stack(
                [
                    geometry.invert(ground_truths[n][instance].transform) @ estimates[n][instance].transform
                    for n in (k, k + 1)
                ]
            )
            name = ground_truths[k][instance].category
            translation = float(np.linalg.norm(pair[1, :3, 3] - pair[0, :3, 3]))
            rotation = float(geometry.rotation_error(pair[0, :3, :3], pair[1, :3, :3], self.symmetric[name]))
            self.changes["all"].append((translation, rotation))
            self.changes.setdefault(name, []).append((translation, rotation))


def _recoveries(
    sequence: int,
    instance: int,
    stamps: np.ndarray,
    visible: np.ndarray,
    hit: np.ndarray,
    estimates: Sequence[ObjectPose | None],
) -> list[Recovery]:
    """The recoveries of one object.

    :param estimates: by frame, the estimate that is assigned to the object.
    """
    out = []
    returns = np.flatnonzero(visible[1:] & ~visible[:-1]) + 1
    occlusions = np.flatnonzero(~visible[1:] & visible[:-1]) + 1
    for start in returns[returns > visible.argmax()]:
        since = int(occlusions[occlusions < start][-1])
        later = occlusions[occlusions > start]
        end = int(later[0]) if len(later) else len(stamps)
        after = np.flatnonzero(hit[start:end])
        before = np.flatnonzero(hit[:since])
        old_id = _track_id(estimates[before[-1]]) if len(before) else None
        new_id = _track_id(estimates[start + after[0]]) if len(after) else None
        out.append(
            Recovery(
                sequence=sequence,
                instance=instance,
                hidden_seconds=float(stamps[start] - stamps[since]),
                seconds=float(stamps[start + after[0]] - stamps[start]) if len(after) else None,
                same_id=None if old_id is None or new_id is None else old_id == new_id,
            )
        )
    return out


def _track_id(estimate: ObjectPose | None) -> int | None:
    return None if estimate is None else estimate.track_id
