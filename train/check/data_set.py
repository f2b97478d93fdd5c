# SPDX-License-Identifier: Apache-2.0
"""Walk a data set: layout, counts, broken frames, agreement of the labels, reading speed."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seqpose_core.categories import Category
from train.check.agreement import Agreement, agreements
from train.check.finding import Finding, level_of
from train.data.layout import Layout
from train.data.nocs_files import BrokenFrameError

#: Shares of broken frames, and of objects with disagreeing labels, that are a warning and an error.
_SHARES = (0.0, 0.05)
_SHARES_OF_OBJECTS = (0.1, 0.5)
_MAX_EXAMPLES = 5
#: Labels of an object disagree above these. Labels of REAL are fits to noisy depth, with errors of 1 to 2 cm.
MAX_PIXELS, MAX_CENTIMETRES = 10.0, 3.0


def check_set(layout: Layout, name: str, frames: int, categories: Sequence[Category]) -> Iterator[Finding]:
    """Findings about one data set.

    :param frames: number of frames to read, evenly spaced; 0 = all.
    """
    lengths = np.array([len(clip.frames) for clip in layout.clips])
    selected = _select(lengths, frames)
    labels: list[tuple[str, Agreement]] = []  # with the scene of each object
    counts: Counter[str] = Counter()
    seconds = size = 0.0
    known = np.zeros(2)  # frames with a stamp, with a camera pose
    sizes: Counter[tuple[int, int]] = Counter()
    for clip, index in tqdm(selected, unit="frame", desc=name):
        start = time.perf_counter()
        try:
            frame = layout.read(clip, index)
        except BrokenFrameError:
            continue
        seconds += time.perf_counter() - start
        size += _bytes(layout, clip, index)
        labels += [(layout.clips[clip].scene, agreement) for agreement in agreements(frame)]
        counts.update(item.category_info.name for item in frame.objects)
        known += [frame.stamp is not None, frame.camera_pose is not None]
        sizes[(frame.camera.width, frame.camera.height)] += 1
    count = sum(sizes.values())
    each = f"{lengths.min()} to {lengths.max()}" if lengths.min() < lengths.max() else f"{lengths.min()}"
    yield Finding("ok", f"{name}: layout", f"{len(lengths)} clips of {each} frames, {lengths.sum()} frames")
    broken = len(selected) - count
    examples = "".join(f"; {text}" for text in _examples(layout.broken.values()))
    yield Finding(
        level_of(broken / len(selected), *_SHARES),
        f"{name}: broken frames",
        f"{broken} of {len(selected)} read{examples}",
    )
    for note in layout.notes:
        yield Finding("ok", f"{name}: note", note)
    if layout.left_out:
        place, reason = next(iter(layout.left_out.items()))
        text = f"{len(layout.left_out)} objects, the first is {place}: {reason}"
        yield Finding("warning", f"{name}: without label", text)
    if not count:
        return
    absent = [category.name for category in categories if not counts[category.name]]
    images = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
    present = ", ".join(f"{counts[c.name]} {c.name}" for c in categories if counts[c.name])
    yield Finding(
        "warning" if absent else "ok",
        f"{name}: objects",
        f"{present or 'none'}, in {count} images of {images}" + (f"; no {', '.join(absent)}" if absent else ""),
    )
    stamps, poses = 100 * known / count
    yield Finding("ok", f"{name}: motion", f"{stamps:.0f} % of the frames have a stamp, {poses:.0f} % a camera pose")
    yield _label_finding(labels, name)
    yield Finding(
        "ok",
        f"{name}: reading",
        f"{count / seconds:.0f} frames/s, {size / seconds / 1e6:.0f} MB/s in one process (files in the page cache are "
        "faster)",
    )


def _select(lengths: np.ndarray, frames: int) -> list[tuple[int, int]]:
    """Clip and frame of evenly spaced frames, in order."""
    total = int(lengths.sum())
    wanted = np.arange(total) if not 0 < frames < total else np.linspace(0, total - 1, frames).round().astype(int)
    ends = np.cumsum(lengths)
    clips = np.searchsorted(ends, wanted, side="right")
    return list(zip(clips.tolist(), (wanted - (ends - lengths)[clips]).tolist(), strict=True))


def _examples(broken: Iterable[str]) -> list[str]:
    """A frame of each kind of damage, the most frequent first; a kind is a kind of file and a reason."""
    kinds: dict[str, list[str]] = {}
    for text in broken:
        path, _, reason = text.partition(": ")
        kind = re.sub(r"\d+", "0", f"{Path(path).name.rpartition('_')[2]}: {reason}")
        kinds.setdefault(kind, []).append(text)
    frequent = sorted(kinds.values(), key=len, reverse=True)[:_MAX_EXAMPLES]
    return [texts[0] if len(texts) == 1 else f"{len(texts)} as {texts[0]}" for texts in frequent]


def _bytes(layout: Layout, clip: int, index: int) -> int:
    folder, name = Path(layout.clips[clip].folder), layout.clips[clip].frames[index]
    return sum(path.stat().st_size for path in folder.glob(f"{name}_*"))


def _label_finding(labels: Sequence[tuple[str, Agreement]], name: str) -> Finding:
    if not labels:
        return Finding("warning", f"{name}: labels", "no object with enough pixels to compare them")
    pixels = np.array([label.pixels for _, label in labels])
    centimetres = np.array([label.centimetres for _, label in labels])
    with_depth = centimetres[~np.isnan(centimetres)]
    bad = (pixels > MAX_PIXELS) | (centimetres > MAX_CENTIMETRES)
    scenes = Counter(scene for (scene, _), disagrees in zip(labels, bad, strict=True) if disagrees)
    most = "".join(f", the most in {scene}: {count}" for scene, count in scenes.most_common(1))
    depth = f"{np.median(with_depth):.1f} cm from the depth" if len(with_depth) else "no depth"
    return Finding(
        level_of(float(bad.mean()), *_SHARES_OF_OBJECTS),
        f"{name}: labels",
        f"NOCS map placed by the pose: median {np.median(pixels):.1f} px from its pixels (640 wide), {depth}; "
        f"{int(bad.sum())} of {len(labels)} objects above {MAX_PIXELS:.0f} px or {MAX_CENTIMETRES:.0f} cm{most}",
    )
