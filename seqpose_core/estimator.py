# SPDX-License-Identifier: Apache-2.0
"""PoseEstimator: streaming inference on plain images. It knows nothing of threads or messages."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from seqpose_core import checkpoint
from seqpose_core.camera import Camera
from seqpose_core.categories import CATEGORIES, CATEGORY_NAMES
from seqpose_core.config_io import nearest
from seqpose_core.model.memory import QueryMemory
from seqpose_core.model.pose_head import ObjectPrediction, covariance
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.objects import ObjectPose
from seqpose_core.tracking import Tracker

_LOG = logging.getLogger(__name__)
_SYMMETRIC = torch.tensor([c.symmetric for c in CATEGORIES])
#: Log Laplace scale whose variance 2b² is π²/3, that of an angle about which nothing is known.
_UNKNOWN_TURN = math.log(math.pi / math.sqrt(6.0))
#: Two finds of one category are one object if they are nearer than this in box diagonals, across the line of sight and
#: along it: distance is what one image tells worst, so the same object is easily found twice at two depths.
_DUPLICATE_ACROSS, _DUPLICATE_ALONG = 0.3, 2.0


@dataclass(frozen=True)
class EstimatorOptions:
    """How an estimator runs and what it reports.

    :param precision: ``fp32`` or ``bf16`` (autocast). :param runtime: ``eager`` or ``compiled`` (torch.compile).
    :param categories: names to report; empty = all.
    :param score_threshold: finds below it are dropped, 0..1. :param max_objects: at most so many, the best.
    :param memory_frames: past frames remembered; None = as trained, 0 = single-frame.
    :param min_hits: consecutive frames before a track gets its id. :param max_age: frames a track survives unseen.
    :param max_frame_gap: seconds between frames after which the past is forgotten.
    :param smoothing: 0..1, how far a track averages its readings; 0 = each frame's own.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    runtime: Literal["eager", "compiled"] = "eager"
    categories: tuple[str, ...] = ()
    score_threshold: float = 0.3
    max_objects: int = 20
    memory_frames: int | None = None
    min_hits: int = 2
    max_age: int = 10
    max_frame_gap: float = 1.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(self.categories))
        for name in self.categories:
            if name not in CATEGORY_NAMES:
                raise ValueError(f"unknown category {name!r}; {nearest(name, CATEGORY_NAMES)}")
        for name, choices in (("precision", ("fp32", "bf16")), ("runtime", ("eager", "compiled"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(choices)}")
        if not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold is {self.score_threshold}; it must lie in 0..1")
        if self.max_objects < 1:
            raise ValueError(f"max_objects is {self.max_objects}; it must be at least 1")
        if self.memory_frames is not None and self.memory_frames < 0:
            raise ValueError(f"memory_frames is {self.memory_frames}; it must be 0 or more")
        if not self.max_frame_gap > 0:
            raise ValueError(f"max_frame_gap is {self.max_frame_gap} s; it must be positive")


class PoseEstimator:
    """Turns the frames of one camera into objects, remembering a little of what it saw. One for each camera."""

    def __init__(self, model: SeqPose, device: str = "cpu", **options: Any) -> None:
        """:param options: fields of :class:`EstimatorOptions`. :raises ValueError: for an unknown or bad one."""
        self.options = _options(EstimatorOptions(), options)
        self.device = torch.device(device)
        self.model = _with_memory(model, self.options.memory_frames).to(self.device).eval()
        self._categories = self._allowed()
        self._tracker = self._new_tracker()
        self._memory: QueryMemory | None = None
        self._stamp: float | None = None
        compiled = self.options.runtime == "compiled"
        self._run = torch.compile(self.model) if compiled else self.model
        _LOG.info(
            "SeqPose runs %s in %s on %s, as asked for", self.options.runtime, self.options.precision, self.device
        )

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, device: str = "cpu", allow_download: bool = False, **options: Any
    ) -> PoseEstimator:
        """An estimator of a bundled checkpoint name, a checkpoint folder or file, or a hub id.

        :raises seqpose_core.checkpoint.CheckpointError: if it cannot be had. :raises ValueError: for a bad option.
        """
        return cls(checkpoint.load(name_or_path, allow_download=allow_download), device, **options)

    def reset(self) -> None:
        """Forget memory and tracks. Track ids go on counting, so that no name passes to another object."""
        self._memory, self._stamp = None, None
        self._tracker.reset()

    def configure(self, **options: Any) -> None:
        """Change options that decide what is reported; memory and tracks stay.

        :raises ValueError: for an unknown or bad option, or one that is fixed at construction.
        """
        changed = _options(self.options, options)
        for name in ("precision", "runtime", "memory_frames"):
            if getattr(changed, name) != getattr(self.options, name):
                raise ValueError(f"{name} is fixed when the estimator is made; make another one to change it")
        self.options = changed
        self._categories = self._allowed()
        self._tracker.min_hits, self._tracker.max_age = changed.min_hits, changed.max_age
        self._tracker.smoothing = changed.smoothing

    def step(
        self,
        image: np.ndarray,
        camera: Camera,
        stamp: float | None = None,
        camera_pose: np.ndarray | None = None,
    ) -> list[ObjectPose]:
        """Objects in one frame, best score first, in the optical frame of ``camera``.

        :param image: (H, W, 3) uint8 RGB, any size; a distorted one is rectified here.
        :param stamp: seconds. One that falls, or is more than ``max_frame_gap`` later, starts anew.
        :param camera_pose: (4, 4) world from camera, for any fixed world; None where unknown.
        :raises ValueError: for an image that is not of this form or not of the camera's size.
        """
        pixels, intrinsics = self._prepare(image, camera)
        self._forget_if_apart(stamp)
        prediction = self._predict(pixels, intrinsics, stamp, camera_pose)
        return self._tracker.update(self._select(prediction), stamp, camera_pose)

    def _prepare(self, image: np.ndarray, camera: Camera) -> tuple[Tensor, Tensor]:
        """The network's input: resized without changing its aspect, centred on grey; and its intrinsics."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"image has shape {image.shape} and type {image.dtype}; it must be (H, W, 3) uint8 RGB")
        image = camera.rectify(image)
        config = self.model.config
        scale = min(config.image_width / camera.width, config.image_height / camera.height)
        width, height = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
        if (width, height) != (camera.width, camera.height):
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), interpolation=method)
        left, top = (config.image_width - width) // 2, (config.image_height - height) // 2
        if (width, height) != (config.image_width, config.image_height):
            canvas = np.full((config.image_height, config.image_width, 3), 114, np.uint8)
            canvas[top : top + height, left : left + width] = image
            image = canvas
        seen = camera.rectified().resized(width, height).cropped(-left, -top, config.image_width, config.image_height)
        # torch takes no reversed (BGR seen as RGB) and no read-only arrays; only those are copied here.
        pixels = torch.from_numpy(np.require(image, requirements=["C", "W"]))
        intrinsics = torch.from_numpy(seen.matrix.astype(np.float32))[None].to(self.device)
        return pixels.to(self.device).permute(2, 0, 1)[None].float() / 255.0, intrinsics

    def _forget_if_apart(self, stamp: float | None) -> None:
        if stamp is None:
            return
        if self._stamp is not None and not 0 <= stamp - self._stamp <= self.options.max_frame_gap:
            _LOG.info("stamp %.3f follows %.3f: starting anew", stamp, self._stamp)
            self.reset()
        self._stamp = stamp

    @torch.inference_mode()
    def _predict(
        self, images: Tensor, intrinsics: Tensor, stamp: float | None, camera_pose: np.ndarray | None
    ) -> ObjectPrediction:
        """One step of the network; the memory moves on."""
        pose = None
        if camera_pose is not None:
            pose = torch.from_numpy(np.asarray(camera_pose, np.float32))[None].to(self.device)
        when = None if stamp is None else torch.tensor([stamp], dtype=torch.float64, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            prediction, self._memory = self._run(
                images, intrinsics, memory=self._memory, camera_pose=pose, stamp=when, dense=False
            )
        return prediction.objects

    @torch.inference_mode()
    def _select(self, prediction: ObjectPrediction) -> list[ObjectPose]:
        """The finds worth reporting: wanted categories above the threshold, each object once."""
        score, found = (prediction.logits[0].sigmoid() * self._categories).max(-1)
        prediction = prediction.of_category(found[None])
        order = score.argsort(descending=True, stable=True)[: self.options.max_objects]
        # A query that does not exist scores exactly 0, which no threshold lets through.
        order = order[(score[order] >= self.options.score_threshold) & (score[order] > 0)]
        place, size = prediction.translation[0, order], prediction.size[0, order]
        same = _one_object(place, size) & (found[order][:, None] == found[order])
        order = order[~same.tril(-1).any(-1)]  # a better one of its kind stands in the same place

        # The turn of a round object is a convention, not a measurement; its variance says so.
        round_body = _SYMMETRIC.to(self.device)[found[order]]
        log_scale = prediction.log_scale[0, order].clone()
        log_scale[:, 4] = torch.where(round_body, _UNKNOWN_TURN, log_scale[:, 4])
        kept = ObjectPrediction(
            prediction.logits[0, order],
            prediction.translation[0, order],
            prediction.rotation[0, order],
            prediction.size[0, order],
            log_scale,
        )
        columns = (score[order], found[order], kept.rotation, kept.translation, kept.size, covariance(kept))
        arrays = [c.double().cpu().numpy() for c in columns]
        return [
            ObjectPose(CATEGORY_NAMES[int(name)], float(value), rotation, translation, extent, spread)
            for value, name, rotation, translation, extent, spread in zip(*arrays, strict=True)
        ]

    def _allowed(self) -> Tensor:
        wanted = self.options.categories or CATEGORY_NAMES
        return torch.tensor([float(name in wanted) for name in CATEGORY_NAMES], device=self.device)

    def _new_tracker(self) -> Tracker:
        options = self.options
        return Tracker(options.min_hits, options.max_age, smoothing=options.smoothing)


def _one_object(place: Tensor, size: Tensor) -> Tensor:
    """(N, N) bool: whether find i may be find j again; places (N, 3) and sizes (N, 3) in metres, camera frame."""
    sight = place / place.norm(dim=-1, keepdim=True)
    apart = place[:, None] - place
    along = (apart * sight).sum(-1)
    across = (apart - along[..., None] * sight).norm(dim=-1)
    diagonal = size.norm(dim=-1)
    return (across < _DUPLICATE_ACROSS * diagonal) & (along.abs() < _DUPLICATE_ALONG * diagonal)


def _options(base: EstimatorOptions, changes: dict[str, Any]) -> EstimatorOptions:
    known = [f.name for f in fields(EstimatorOptions)]
    for name in changes:
        if name not in known:
            raise ValueError(f"unknown option {name!r}; {nearest(name, known)}")
    return replace(base, **changes)


def _with_memory(model: SeqPose, frames: int | None) -> SeqPose:
    """The same weights with a memory of another length; no weight depends on it."""
    if frames is None or frames == model.config.memory.frames:
        return model
    other = SeqPose(replace(model.config, memory=replace(model.config.memory, frames=frames)))
    other.load_state_dict(model.state_dict())
    return other
