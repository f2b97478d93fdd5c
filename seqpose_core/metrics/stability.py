# SPDX-License-Identifier: Apache-2.0
"""Stability over time: jitter, identity, time to first detection, recovery after occlusion, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from seqpose_core import geometry
from seqpose_core.categories import category
from seqpose_core.metrics.calibration import Coverage, coverage
from seqpose_core.objects import ObjectPose


@dataclass(frozen=True)
class Moment:
    """One frame of a sequence.

    :param stamp: seconds. ``estimates``: what the estimator returned.
    :param truths: the objects of the scene in the same camera frame, ``track_id`` their lasting instance
        number; also those that are hidden in this frame.
    :param hidden: instance numbers of the truths that cannot be seen in this frame.
    """

    stamp: float
    estimates: Sequence[ObjectPose]
    truths: Sequence[ObjectPose]
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Jitter:
    """Root mean square change between successive frames, divided by √2.

    For errors that are independent from frame to frame that is the root mean square deviation from their
    mean; a slow drift adds little. Metres and radians, NaN without two successive frames; ``samples``: how
    many changes.
    """

    translation: float
    rotation: float
    samples: int


@dataclass(frozen=True)
class FirstDetection:
    """``seconds`` from a truth's first sight to its first match; None for one that was never found."""

    sequence: int
    instance: int
    seconds: float | None


@dataclass(frozen=True)
class Recovery:
    """A truth seen again after being hidden: ``seconds`` until it is found, None if it was not; ``same_id``:
    whether its track is the one from before, None if either has no number."""

    sequence: int
    instance: int
    hidden_seconds: float
    seconds: float | None
    same_id: bool | None


@dataclass(frozen=True)
class StabilityReport:
    """Outcome of :func:`stability`.

    :param jitter: by category name, and "all".
    :param identity_switches: how often the track number on a truth changed; ``tracked``: matches that had
        one.
    :param first_detections: one entry for each truth that was ever in sight.
    :param recoveries: one entry for each time a truth came back into sight.
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
        back = [r.seconds for r in self.recoveries if r.seconds is not None]
        return {
            "jitter": {name: asdict(value) for name, value in self.jitter.items()},
            "identity_switches": self.identity_switches,
            "tracked": self.tracked,
            "truths_in_sight": len(self.first_detections),
            "truths_found": len(first),
            "median_first_detection_s": float(np.median(first)) if first else None,
            "occlusions": len(self.recoveries),
            "recovered": len(back),
            "recovered_with_same_id": sum(r.same_id is True for r in self.recoveries),
            "median_recovery_s": float(np.median(back)) if back else None,
            "coverage": asdict(self.coverage),
        }


def associate(moment: Moment, radius: float = 0.2) -> dict[int, ObjectPose]:
    """Estimates by the instance number of the truth they belong to.

    Within a category, the one-to-one assignment with the most pairs closer than ``radius`` (metres, centre to
    centre) and among those the least sum of distances. Hidden truths take part: a track may coast through.
    """
    for truth in moment.truths:
        if truth.track_id is None:
            raise ValueError(f"a truth {truth.category} at stamp {moment.stamp} has no track_id to know it by")
    out: dict[int, ObjectPose] = {}
    for name in sorted({truth.category for truth in moment.truths}):
        truths = [t for t in moment.truths if t.category == name]
        estimates = [e for e in moment.estimates if e.category == name]
        if not estimates:
            continue
        centres = np.array([e.translation for e in estimates])
        distance = np.linalg.norm(np.array([t.translation for t in truths])[:, None] - centres, axis=-1)
        cost = np.where(distance <= radius, distance, 1e3 * (1 + radius))
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if distance[i, j] <= radius:
                out[int(truths[i].track_id or 0)] = estimates[j]
    return out


def jitter(transforms: np.ndarray, symmetric: bool) -> Jitter:
    """Jitter of one object's successive poses (T, 4, 4) in a frame in which it stands still."""
    step = np.linalg.norm(np.diff(transforms[:, :3, 3], axis=0), axis=1)
    turn = geometry.rotation_error(transforms[:-1, :3, :3], transforms[1:, :3, :3], symmetric)
    return _rms(step, turn)


def _rms(step: np.ndarray, turn: np.ndarray) -> Jitter:
    if len(step) == 0:
        return Jitter(float("nan"), float("nan"), 0)
    shift, angle = (float(np.sqrt((x**2).mean() / 2)) for x in (step, turn))
    return Jitter(shift, angle, len(step))


def stability(*sequences: Sequence[Moment], radius: float = 0.2) -> StabilityReport:
    """How steady the estimates of one or more sequences are.

    Jitter is taken of the poses relative to the truth, so that neither a moving camera nor a moving object
    counts; only successive frames in both of which the object was seen and matched.

    :param sequences: each the frames of one clip in order of their stamps. :param radius: see
        :func:`associate`.
    :raises ValueError: no frames, stamps that do not grow, or a truth without instance number.
    """
    changes: dict[str, list[tuple[float, float]]] = {"all": []}
    switches = tracked = 0
    first: list[FirstDetection] = []
    recoveries: list[Recovery] = []
    matched: list[tuple[ObjectPose, ObjectPose]] = []
    if not sequences:
        raise ValueError("stability needs at least one sequence of frames")
    for number, moments in enumerate(sequences):
        stamps = np.array([moment.stamp for moment in moments])
        if len(stamps) == 0 or not (np.diff(stamps) > 0).all():
            raise ValueError(f"sequence {number} needs frames whose stamps grow from one to the next")
        found = [associate(moment, radius) for moment in moments]
        truths = [{int(t.track_id or 0): t for t in moment.truths} for moment in moments]
        for i in sorted({i for frame in truths for i in frame}):
            seen = np.array([i in t and i not in m.hidden for t, m in zip(truths, moments, strict=True)])
            hit = np.array([i in f for f in found]) & seen
            _collect_changes(changes, i, hit, truths, found)
            matched += [(found[k][i], truths[k][i]) for k in np.flatnonzero(hit)]
            ids = [found[k][i].track_id for k in np.flatnonzero(hit) if found[k][i].track_id is not None]
            tracked += len(ids)
            switches += sum(a != b for a, b in pairwise(ids))
            if seen.any():
                wait = float(stamps[hit.argmax()] - stamps[seen.argmax()]) if hit.any() else None
                first.append(FirstDetection(number, i, wait))
                recoveries += _recoveries(number, i, stamps, seen, hit, found)
    return StabilityReport(
        jitter={name: _rms(*np.array(v).reshape(-1, 2).T) for name, v in changes.items()},
        identity_switches=switches,
        tracked=tracked,
        first_detections=tuple(first),
        recoveries=tuple(recoveries),
        coverage=coverage(matched),
    )


def _collect_changes(
    changes: dict[str, list[tuple[float, float]]],
    instance: int,
    hit: np.ndarray,
    truths: list[dict[int, ObjectPose]],
    found: list[dict[int, ObjectPose]],
) -> None:
    for k in np.flatnonzero(hit[1:] & hit[:-1]):
        pair = np.stack(
            [geometry.invert(truths[n][instance].transform) @ found[n][instance].transform for n in (k, k + 1)]
        )
        name = truths[k][instance].category
        step = float(np.linalg.norm(pair[1, :3, 3] - pair[0, :3, 3]))
        turn = float(geometry.rotation_error(pair[0, :3, :3], pair[1, :3, :3], category(name).symmetric))
        changes["all"].append((step, turn))
        changes.setdefault(name, []).append((step, turn))


def _recoveries(
    sequence: int,
    instance: int,
    stamps: np.ndarray,
    seen: np.ndarray,
    hit: np.ndarray,
    found: list[dict[int, ObjectPose]],
) -> list[Recovery]:
    out = []
    back = np.flatnonzero(seen[1:] & ~seen[:-1]) + 1
    gone = np.flatnonzero(~seen[1:] & seen[:-1]) + 1
    for start in back[back > seen.argmax()]:
        since = int(gone[gone < start][-1])
        later = gone[gone > start]
        end = int(later[0]) if len(later) else len(stamps)
        again = np.flatnonzero(hit[start:end])
        before = np.flatnonzero(hit[:since])
        old = found[before[-1]][instance].track_id if len(before) else None
        new = found[start + again[0]][instance].track_id if len(again) else None
        out.append(
            Recovery(
                sequence=sequence,
                instance=instance,
                hidden_seconds=float(stamps[start] - stamps[since]),
                seconds=float(stamps[start + again[0]] - stamps[start]) if len(again) else None,
                same_id=None if old is None or new is None else old == new,
            )
        )
    return out
