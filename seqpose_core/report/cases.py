# SPDX-License-Identifier: Apache-2.0
"""The worst cases of a run, a few of every kind of fault, with what is wrong in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seqpose_core.categories import category
from seqpose_core.metrics.pairing import pose, sound
from seqpose_core.metrics.run import Run
from seqpose_core.objects import ObjectPose

#: What counts as wrong in a pair of one category: degrees, centimetres, relative size.
LIMITS = (10.0, 10.0, 0.2)
RULE = (
    "Matched as for the confusion. Six kinds of fault, worst first in each: missed (most visible pixels first, nearest "
    "first where they are unknown), false (highest score), wrong category (highest score), rotation above 10°, "
    "translation above 10 cm, size off by more than 20 % on average (each by its error). The kinds take turns until "
    "{count} cases are found. A truth that is followed over several frames is shown once, and false ones of a category "
    "once for each clip, as long as there are others."
)


@dataclass(frozen=True)
class Case:
    """One fault: what was there and what was predicted, at least one of them."""

    frame: int
    kind: str
    truth: ObjectPose | None
    prediction: ObjectPose | None
    words: str


def worst_cases(run: Run, count: int = 24) -> list[Case]:
    """The worst cases by :data:`RULE`; fewer than ``count`` where fewer go wrong."""
    ranked = {kind: list(found) for kind, found in _ranked(run).items()}
    out: list[Case] = []
    shown: set[tuple[object, ...]] = set()  # truths and predictions of a frame
    objects: set[tuple[object, ...]] = set()  # truths over frames
    for again in (False, True):
        queues = {kind: iter(found) for kind, found in ranked.items()}
        while queues and len(out) < count:
            for kind in list(queues):
                case = _next(queues[kind], run, shown, objects, again)
                if case is None:
                    del queues[kind]
                elif len(out) < count:
                    out.append(Case(case[0], kind, *_sides(run, case), _words(run, kind, case)))
    order = list(ranked)
    return sorted(out, key=lambda case: order.index(case.kind))


_Found = tuple[int, int, int]  # frame, index of the truth or -1, index of the prediction or -1


def _ranked(run: Run) -> dict[str, list[_Found]]:
    pairing = run.pairing
    truths, predictions = pairing.truths, pairing.predictions
    degrees, centimetres, size = pairing.errors
    distance = np.linalg.norm(truths.transform[:, :3, 3], axis=1)
    pixels = run.visible_pixels
    seen = np.ones(len(truths), dtype=bool) if pixels is None else pixels != 0
    prominence = -distance if pixels is None else np.where(np.isfinite(pixels), pixels, -distance)
    paired = pairing.partner >= 0
    wrong = paired & ~pairing.same
    partner_score = np.zeros(len(truths))
    partner_score[paired] = predictions.score[pairing.partner[paired]]

    def of_truths(mask: np.ndarray, worth: np.ndarray) -> list[_Found]:
        members = np.flatnonzero(mask)
        order = np.lexsort((truths.row[members], truths.frame[members], -worth[members]))
        return [(int(truths.frame[k]), int(k), int(pairing.partner[k])) for k in members[order]]

    stray = np.flatnonzero((pairing.finder < 0) & sound(predictions))
    stray = stray[np.lexsort((predictions.row[stray], predictions.frame[stray], -predictions.score[stray]))]
    with np.errstate(invalid="ignore"):
        return {
            "missed": of_truths(~paired & seen & sound(truths), prominence),
            "false": [(int(predictions.frame[p]), -1, int(p)) for p in stray],
            "wrong category": of_truths(wrong, partner_score),
            "rotation": of_truths(degrees > LIMITS[0], degrees),
            "translation": of_truths(centimetres > LIMITS[1], centimetres),
            "size": of_truths(size > LIMITS[2], size),
        }


def _next(
    queue: Iterator[_Found], run: Run, shown: set[tuple[object, ...]], objects: set[tuple[object, ...]], again: bool
) -> _Found | None:
    """The next case that is not shown yet, nor, unless ``again``, its truth in another frame."""
    for case in queue:
        if case in shown:
            continue
        known = _object(run, case)
        if not again and known in objects:
            continue
        shown.add(case)
        objects.add(known)
        return case
    return None


def _object(run: Run, case: _Found) -> tuple[object, ...]:
    """What tells a case from others over the frames of its clip, as far as the results say."""
    frame, t, p = case
    clip = run.keys[frame].rpartition("/")[0]
    if t < 0:
        return (clip, "false", int(run.pairing.predictions.category[p]))
    row = int(run.pairing.truths.row[t])
    instances = run.extra("gt_instance_ids", frame, len(run.results[frame]["gt_class_ids"]))
    return (frame, row) if instances is None else (clip, "instance", int(instances[row]))


def _sides(run: Run, case: _Found) -> tuple[ObjectPose | None, ObjectPose | None]:
    _, t, p = case
    pairing = run.pairing
    return (pose(pairing.truths, t) if t >= 0 else None, pose(pairing.predictions, p) if p >= 0 else None)


def _nearest(run: Run, case: _Found) -> str:
    """The truth that a false prediction is nearest to: it may be one that another prediction took."""
    frame, _, p = case
    truths = run.pairing.truths
    members = np.flatnonzero((truths.frame == frame) & sound(truths))
    if not len(members):
        return "no truth in the frame"
    shift = truths.transform[members, :3, 3] - run.pairing.predictions.transform[p, :3, 3]
    distance = np.linalg.norm(shift, axis=1)
    name = category(int(truths.category[members[distance.argmin()]])).name
    return f"nearest truth: {name}, {100 * distance.min():.0f} cm away"


def _words(run: Run, kind: str, case: _Found) -> str:
    """What is wrong, in the order of the kinds."""
    _, t, p = case
    pairing = run.pairing
    score = "" if p < 0 else f", score {pairing.predictions.score[p]:.2f}"
    name = category(int(pairing.truths.category[t] if t >= 0 else pairing.predictions.category[p])).name
    if kind == "missed":
        pixels = run.visible_pixels
        distance = float(np.linalg.norm(pairing.truths.transform[t, :3, 3]))
        seen = "" if pixels is None or not np.isfinite(pixels[t]) else f", {int(pixels[t])} pixels visible"
        return f"missed: {name} at {distance:.2f} m{seen}"
    if kind == "false":
        return f"false: {name}{score}, {_nearest(run, case)}"
    if kind == "wrong category":
        return f"wrong category: {name} taken for {category(int(pairing.predictions.category[p])).name}{score}"
    degrees, centimetres, size = (values[t] for values in pairing.errors)
    parts = [f"rotation {degrees:.0f}°", f"translation {centimetres:.1f} cm", f"size {100 * size:.0f} %"]
    first = ["rotation", "translation", "size"].index(kind)
    return f"{name}: {', '.join([parts.pop(first), *parts])}{score}"
