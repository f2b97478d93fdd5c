# SPDX-License-Identifier: Apache-2.0
"""Clips as a torch data set: (clip, frames, seed) → tensors of T frames with targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from train.data.augment import Augmentation, ClipAugmentation, centred_window, mirror_transform
from train.data.frame import Frame, SceneObject
from train.data.labels import canonicalize_objects, dense_labels, is_symmetric, mirror_objects, visible_pixels
from train.data.layout import Layout
from train.data.nocs_files import BrokenFrameError

_REFERENCE_AREA = 224 * 168  # the input size that min_visible_pixels refers to


class UnreadableDataError(RuntimeError):
    """No clip of a data set has enough readable frames."""


class ClipSample(NamedTuple):
    """One item to load.

    :param clip: index of the clip. :param frames: frames of the clip, in the given order. Descending indices play the
        clip backwards; its stamps are mirrored so that they still ascend.
    :param seed: of the augmentation. :param piece: a walk loads consecutive pieces of a clip with the same seed, so
        that they share geometry and colour; the piece changes the noise.
    :param reset_memory: whether the memory is empty before the first frame.
    """

    clip: int
    frames: tuple[int, ...]
    seed: int
    piece: int = 0
    reset_memory: bool = True


class NocsClips(Dataset[dict[str, Any]]):
    """Clips of one or more layouts, numbered consecutively.

    An item holds, for T frames, M object slots, input (H, W) and target grid (h, w):

    - image (T, 3, H, W) uint8 RGB; intrinsics (T, 3, 3) float32 pixels of that image;
      camera_pose (T, 4, 4) float32 world_from_camera and stamp (T,) float64 s, NaN where unknown
    - classes (T, M) int64 0..C-1 (class id - 1), -1 for an empty slot; an instance keeps its slot through the
      clip
    - rotation (T, M, 3, 3), translation (T, M, 3) m, size (T, M, 3) m, float32, object → camera; empty slots hold
      the identity, (0, 0, 1) m and 1 m, so that logarithms stay finite
    - symmetric (T, M) bool; visible_pixels (T, M) float32 at input size; instance (T, M) int64, -1 when empty
    - segmentation (T, h, w) int64, depth (T, h, w), normals (T, 3, h, w), nocs (T, 3, h, w) float32: see
      DenseLabels
    - skipped () int64: number of broken clips that were skipped; clip () int64: the clip that was loaded;
      reset_memory () bool: whether the memory is empty before the first frame
    - broken and left_out, lists of strings: broken frames, and objects without a label, that were first read for this
      item, with the reason

    :param image_size: (height, width) of the model's input.
    :param label_size: (height, width) of the target grid.
    :param max_objects: M; if there are more objects, the most visible are kept. NOCS's own reader has the same limit.
    :param min_visible_pixels: targets with fewer visible pixels at 224x168 (scaled by area for other sizes) are left
        out.
    :param hidden_handles: treat mugs with hidden handles as symmetric (see canonicalize_objects).
    """

    def __init__(
        self,
        layouts: Sequence[Layout],
        *,
        image_size: tuple[int, int] = (168, 224),
        label_size: tuple[int, int] = (48, 64),
        max_objects: int = 20,
        augmentation: Augmentation | None = None,
        min_visible_pixels: float = 16,
        hidden_handles: bool = False,
    ) -> None:
        self.layouts = tuple(layouts)
        if not self.layouts:
            raise ValueError("no layouts given; a data set needs at least one")
        self.image_size = image_size
        self.label_size = label_size
        self.max_objects = max_objects
        self.augmentation = augmentation
        self.min_visible_pixels = min_visible_pixels * image_size[0] * image_size[1] / _REFERENCE_AREA
        self.hidden_handles = hidden_handles
        self._clips = [(layout, index) for layout in self.layouts for index in range(len(layout.clips))]
        #: Number of frames of each clip, broken ones included.
        self.clip_lengths = np.array([len(layout.clips[index].frames) for layout, index in self._clips])
        #: Index of the layout that each clip belongs to.
        self.set_of_clip = np.repeat(np.arange(len(self.layouts)), [len(layout.clips) for layout in self.layouts])

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, item: ClipSample) -> dict[str, Any]:
        """Load one sample. A clip with too few readable frames is replaced by the next clip that has enough.

        :raises UnreadableDataError: no clip has enough readable frames.
        """
        known = [(len(layout.broken), len(layout.left_out)) for layout in self.layouts]
        for skipped in range(len(self)):
            clip = (item.clip + skipped) % len(self)
            frames = self._read(clip, item.frames)
            if frames is not None:
                sample = self._assemble(frames, item)
                sample["skipped"] = torch.tensor(skipped)
                sample["clip"] = torch.tensor(clip)
                sample["reset_memory"] = torch.tensor(item.reset_memory)
                sample["broken"], sample["left_out"] = [], []
                for layout, (broken, left_out) in zip(self.layouts, known, strict=True):
                    sample["broken"] += list(layout.broken.values())[broken:]
                    sample["left_out"] += [f"{k}: {v}" for k, v in list(layout.left_out.items())[left_out:]]
                return sample
        reasons = [text for layout in self.layouts for text in layout.broken.values()]
        raise UnreadableDataError(
            f"no clip has {len(item.frames)} readable frames; the first of {len(reasons)} broken ones: {reasons[0]}"
            if reasons
            else f"no clip has {len(item.frames)} frames"
        )

    def report(self) -> str:
        """Broken frames that this process has encountered, with file and reason."""
        return "\n".join(layout.report() for layout in self.layouts)

    def _read(self, clip: int, wanted: Sequence[int]) -> list[Frame] | None:
        """The wanted frames in the wanted direction; broken ones are replaced by the nearest readable frames."""
        layout, index = self._clips[clip]
        count = len(layout.clips[index].frames)
        # The wanted frames first; the others are read only if some of those are broken.
        order = [frame for frame in wanted if frame < count]
        low, high = min(wanted), max(wanted)
        others = (frame for frame in range(count) if frame not in order)
        order += sorted(others, key=lambda frame: max(low - frame, frame - high))
        readable: dict[int, Frame] = {}
        for frame in order:
            if len(readable) == len(wanted):
                break
            try:
                readable[frame] = layout.read(index, frame)
            except BrokenFrameError:
                continue
        if len(readable) < len(wanted):
            return None
        return [readable[frame] for frame in sorted(readable, reverse=_is_descending(wanted))]

    def _assemble(self, frames: list[Frame], item: ClipSample) -> dict[str, Any]:
        draw = None
        if self.augmentation is not None:
            draw = ClipAugmentation.draw(self.augmentation, np.random.default_rng(item.seed))
            if item.piece:  # the geometry and colour of the previous pieces with different noise
                draw = replace(draw, random=np.random.default_rng([item.seed, item.piece]))
        slots = self._slots(frames)
        samples = [self._frame(frame, draw, slots) for frame in frames]
        stamps = np.array([np.nan if frame.stamp is None else frame.stamp for frame in frames])
        if _is_descending(item.frames):
            stamps = stamps[0] + stamps[-1] - stamps
        batch = {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}
        return {**batch, "stamp": torch.from_numpy(stamps)}

    def _slots(self, frames: Sequence[Frame]) -> dict[int, int]:
        """Instance → slot, the same in all frames; if there are too many instances, the most visible ones."""
        visible: dict[int, int] = {}
        for frame in frames:
            for item in frame.objects:
                visible[item.instance] = visible.get(item.instance, 0) + item.visible_pixels
        kept = sorted(visible, key=lambda instance: (-visible[instance], instance))[: self.max_objects]
        return {instance: slot for slot, instance in enumerate(sorted(kept))}

    def _frame(self, frame: Frame, draw: ClipAugmentation | None, slots: dict[int, int]) -> dict[str, np.ndarray]:
        height, width = self.image_size
        if draw is None:
            window = centred_window(frame.camera.height, frame.camera.width, height, width)
            image = window.image(frame.image, height, width)
        else:
            window = draw.window(frame.camera.height, frame.camera.width, height, width)
            image = draw.change_colours(window.image(frame.image, height, width))
        canonical = canonicalize_objects(frame.objects, self.hidden_handles)
        dense = dense_labels(frame, window, canonical, *self.label_size)
        objects = mirror_objects(canonical) if window.flip else canonical
        pose = frame.camera_pose
        if pose is None or (draw is not None and draw.hide_pose):
            pose = np.full((4, 4), np.nan)
        return {
            "image": np.ascontiguousarray(image.transpose(2, 0, 1)),
            "intrinsics": window.camera(frame.camera, height, width).matrix.astype(np.float32),
            "camera_pose": (mirror_transform(pose) if window.flip else pose).astype(np.float32),
            "segmentation": dense.segmentation,
            "depth": dense.depth,
            "normals": dense.normals,
            "nocs": dense.nocs,
            **self._targets(objects, visible_pixels(frame.mask, window, height, width), slots),
        }

    def _targets(
        self, objects: Sequence[SceneObject], visible: np.ndarray, slots: dict[int, int]
    ) -> dict[str, np.ndarray]:
        count = self.max_objects
        targets: dict[str, np.ndarray] = {
            "classes": np.full(count, -1, np.int64),
            "rotation": np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
            "translation": np.tile(np.array([0, 0, 1], np.float32), (count, 1)),
            "size": np.ones((count, 3), np.float32),
            "symmetric": np.zeros(count, bool),
            "visible_pixels": np.zeros(count, np.float32),
            "instance": np.full(count, -1, np.int64),
        }
        for item in objects:
            slot = slots.get(item.instance)
            if slot is None or visible[item.instance] < self.min_visible_pixels:
                continue
            targets["classes"][slot] = item.class_id - 1
            targets["rotation"][slot] = item.rotation
            targets["translation"][slot] = item.translation
            targets["size"][slot] = item.size
            targets["symmetric"][slot] = is_symmetric(item)
            targets["visible_pixels"][slot] = visible[item.instance]
            targets["instance"][slot] = item.instance
        return targets


def _is_descending(frames: Sequence[int]) -> bool:
    return len(frames) > 1 and frames[0] > frames[-1]
