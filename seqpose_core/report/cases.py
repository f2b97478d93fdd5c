# SPDX-License-Identifier: Apache-2.0
"""The worst cases of a run, a few of every kind of error, with a description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqpose_core.evaluation import ScoredRun
from seqpose_core.metrics.pairing import has_volume, pose_of
from seqpose_core.objects import ObjectPose

#: Errors above these count as a case: degrees, centimetres, relative size.
LIMITS = (10.0, 10.0, 0.2)
CASES_SHOWN = 24


@dataclass(frozen=True)
class Case:
    """One error: ground truth and prediction, at least one of them."""

    frame: int
    kind: str
    ground_truth: ObjectPose | None
    prediction: ObjectPose | None
    description: str


#: Frame, index of the ground truth or -1, index of the prediction or -1.
_Candidate = tuple[int, int, int]


def worst_cases(run: ScoredRun, count: int = CASES_SHOWN) -> list[Case]:
    """The worst cases, by the rule that ``templates/worst-cases.html`` states; fewer if there are fewer errors."""
    ranked = _ranked(run)
    out: list[Case] = []
    shown: set[tuple[object, ...]] = set()  # candidates
    objects: set[tuple[object, ...]] = set()  # objects over frames
    for repeat in (False, True):
        queues = {kind: iter(candidates) for kind, candidates in ranked.items()}
        while queues and len(out) < count:
            for kind in list(queues):
                candidate = _next(queues[kind], run, shown, objects, repeat)
                if candidate is None:
                    del queues[kind]
                elif len(out) < count:
                    out.append(_case(run, kind, candidate))
    order = list(ranked)
    return sorted(out, key=lambda case: order.index(case.kind))


def _ranked(run: ScoredRun) -> dict[str, list[_Candidate]]:
    """Candidates by kind of error, worst first."""
    pairing = run.pairing
    ground_truths, predictions = pairing.ground_truths, pairing.predictions
    degrees, centimetres, size = pairing.errors
    distance = np.linalg.norm(ground_truths.transform[:, :3, 3], axis=1)
    pixels = run.visible_pixels
    visible = np.ones(len(ground_truths), dtype=bool) if pixels is None else pixels != 0
    prominence = -distance if pixels is None else np.where(np.isfinite(pixels), pixels, -distance)
    matched = pairing.prediction_of >= 0
    score = np.zeros(len(ground_truths))
    score[matched] = predictions.score[pairing.prediction_of[matched]]

    def rank(mask: np.ndarray, severity: np.ndarray) -> list[_Candidate]:
        members = np.flatnonzero(mask)
        order = np.lexsort((ground_truths.row[members], ground_truths.frame[members], -severity[members]))
        return [(int(ground_truths.frame[k]), int(k), int(pairing.prediction_of[k])) for k in members[order]]

    unmatched = np.flatnonzero((pairing.ground_truth_of < 0) & has_volume(predictions))
    order = (predictions.row[unmatched], predictions.frame[unmatched], -predictions.score[unmatched])
    unmatched = unmatched[np.lexsort(order)]
    with np.errstate(invalid="ignore"):
        return {
            "missed": rank(~matched & visible & has_volume(ground_truths), prominence),
            "false positive": [(int(predictions.frame[p]), -1, int(p)) for p in unmatched],
            "wrong category": rank(matched & ~pairing.same_category, score),
            "rotation": rank(degrees > LIMITS[0], degrees),
            "translation": rank(centimetres > LIMITS[1], centimetres),
            "size": rank(size > LIMITS[2], size),
        }


def _next(
    queue: Iterator[_Candidate],
    run: ScoredRun,
    shown: set[tuple[object, ...]],
    objects: set[tuple[object, ...]],
    repeat: bool,
) -> _Candidate | None:
    """The next candidate that is not shown yet, nor, unless ``repeat``, its object in another frame."""
    for candidate in queue:
        if candidate in shown:
            continue
        identity = _identity(run, candidate)
        if not repeat and identity in objects:
            continue
        shown.add(candidate)
        objects.add(identity)
        return candidate
    return None


def _identity(run: ScoredRun, candidate: _Candidate) -> tuple[object, ...]:
    """Identity of the object of a candidate over the frames of its clip, as far as the results contain it."""
    frame, g, p = candidate
    clip = run.keys[frame].rpartition("/")[0]
    if g < 0:
        return (clip, "false positive", int(run.pairing.predictions.category[p]))
    row = int(run.pairing.ground_truths.row[g])
    instances = run.optional_array("gt_instance_ids", frame, len(run.results[frame]["gt_class_ids"]))
    return (frame, row) if instances is None else (clip, "instance", int(instances[row]))


def _case(run: ScoredRun, kind: str, candidate: _Candidate) -> Case:
    frame, g, p = candidate
    ground_truth = pose_of(run.pairing.ground_truths, g) if g >= 0 else None
    prediction = pose_of(run.pairing.predictions, p) if p >= 0 else None
    return Case(frame, kind, ground_truth, prediction, _description(run, kind, candidate))


def _nearest(run: ScoredRun, candidate: _Candidate) -> str:
    """The ground truth nearest to a false positive; another prediction may be matched to it."""
    frame, _, p = candidate
    ground_truths = run.pairing.ground_truths
    members = np.flatnonzero((ground_truths.frame == frame) & has_volume(ground_truths))
    if not len(members):
        return "no ground truth in the frame"
    shift = ground_truths.transform[members, :3, 3] - run.pairing.predictions.transform[p, :3, 3]
    distance = np.linalg.norm(shift, axis=1)
    name = ground_truths.category_of(int(members[distance.argmin()])).name
    return f"nearest ground truth: {name}, {100 * distance.min():.0f} cm away"


def _description(run: ScoredRun, kind: str, candidate: _Candidate) -> str:
    """What is wrong in one line, the error of ``kind`` first."""
    _, g, p = candidate
    pairing = run.pairing
    score = "" if p < 0 else f", score {pairing.predictions.score[p]:.2f}"
    name = pairing.ground_truths.category_of(g).name if g >= 0 else pairing.predictions.category_of(p).name
    if kind == "missed":
        pixels = run.visible_pixels
        distance = float(np.linalg.norm(pairing.ground_truths.transform[g, :3, 3]))
        visible = "" if pixels is None or not np.isfinite(pixels[g]) else f", {int(pixels[g])} pixels visible"
        return f"missed: {name} at {distance:.2f} m{visible}"
    if kind == "false positive":
        return f"false positive: {name}{score}, {_nearest(run, candidate)}"
    if kind == "wrong category":
        return f"wrong category: {name} predicted as {pairing.predictions.category_of(p).name}{score}"
    degrees, centimetres, size = (values[g] for values in pairing.errors)
    parts = [f"rotation {degrees:.0f}°", f"translation {centimetres:.1f} cm", f"size {100 * size:.0f} %"]
    first = ["rotation", "translation", "size"].index(kind)
    return f"{name}: {', '.join([parts.pop(first), *parts])}{score}"
