# SPDX-License-Identifier: Apache-2.0
"""PoseEstimator: streaming inference on plain images."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqpose_core.camera import Camera
from seqpose_core.categories import Category
from seqpose_core.config_io import nearest
from seqpose_core.depth_fusion import check_depth, fuse_depth
from seqpose_core.estimator_options import EstimatorOptions
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.memory import FrameMotion, QueryMemory
from seqpose_core.model.pose_head import ObjectPrediction, covariance
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.model.step_graph import StepInput, empty_memory
from seqpose_core.objects import ObjectPose
from seqpose_core.preprocessing import fit_image
from seqpose_core.runtime.choose import build_engine
from seqpose_core.runtime.engine import Engine
from seqpose_core.runtime.exported import is_exported, open_exported, read_info
from seqpose_core.runtime.network import Network, with_memory
from seqpose_core.support_plane import SupportPlane, fuse_support_plane
from seqpose_core.tracking import Tracker

_LOG = logging.getLogger(__name__)
#: Options that are fixed when the estimator is built.
_FIXED = ("precision", "runtime", "memory_frames")
#: Log Laplace scale whose variance 2b² is π²/3, that of an angle uniform on the circle.
_UNIFORM_YAW_LOG_SCALE = math.log(math.pi / math.sqrt(6.0))
#: Two detections of one category are the same object if they are closer than this, in box diagonals, across the line
#: of sight and along it. Depth is the least certain coordinate, so one object is easily detected at two depths.
_DUPLICATE_ACROSS, _DUPLICATE_ALONG = 0.3, 2.0


class NonFiniteError(RuntimeError):
    """The network returned NaN or infinity; memory and tracks were reset."""


class PoseEstimator:
    """Streaming inference on the images of one camera, with a short memory. Use one estimator per camera."""

    def __init__(
        self, model: SeqPose | Engine, options: EstimatorOptions | None = None, *, device: str = "cpu", **changes: Any
    ) -> None:
        """:param model: a network, or an engine that is already loaded (``device`` is then not used).

        :param options: None = the defaults. :param changes: fields of :class:`EstimatorOptions` to change in it.
        :raises ValueError: for an unknown option, a value outside its range, or a category the model does not have.
        :raises seqpose_core.runtime.engine.RuntimeUnavailableError: if the runtime cannot be used here.
        """
        self.options = options = (options or EstimatorOptions()).with_changes(changes)
        if isinstance(model, SeqPose):
            model = with_memory(model, options.memory_frames)
            model = build_engine(model, options.runtime, torch.device(device), options.precision)
        self._engine: Engine = model
        self._symmetric = torch.tensor([c.symmetric for c in self.categories], device=self._engine.device)
        self._threshold = self._thresholds(self.options)
        self._reported = self._reported_categories(self.options)
        self._tracker = Tracker(self.options.min_hits, self.options.max_age, smoothing=self.options.smoothing)
        self._memory: QueryMemory | None = None
        self._stamp: float | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: str = "cpu",
        allow_download: bool = False,
        options: EstimatorOptions | None = None,
        **changes: Any,
    ) -> PoseEstimator:
        """An estimator of a bundled checkpoint name, a checkpoint folder or file, an exported folder, or a hub id.

        :param options, changes: as in the constructor.
        :raises seqpose_core.checkpoint.CheckpointError: if the checkpoint cannot be loaded.
        :raises ValueError: for a bad option.
        """
        options = (options or EstimatorOptions()).with_changes(changes)
        if is_exported(name_or_path):
            engine = _open_exported(Path(name_or_path).expanduser(), options, torch.device(device))
        else:
            network = Network.of_checkpoint(name_or_path, options.memory_frames, allow_download)
            engine = build_engine(network, options.runtime, torch.device(device), options.precision)
        return cls(engine, options)

    @property
    def model(self) -> SeqPose | None:
        """The model in torch; None in other runtimes."""
        return getattr(self._engine, "model", None)

    @property
    def runtime(self) -> str:
        """The runtime of the network: ``eager``, ``compiled``, ``openvino``, ``onnx`` or ``tensorrt``."""
        return self._engine.runtime

    @property
    def config(self) -> SeqPoseConfig:
        """The model's configuration."""
        return self._engine.config

    @property
    def engine(self) -> Engine:
        """The loaded network; it keeps no state, so that estimators of several cameras can share it."""
        return self._engine

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self._engine.device

    @property
    def categories(self) -> tuple[Category, ...]:
        """The model's categories."""
        return self.config.categories

    @property
    def memory_queries(self) -> int:
        """Number of valid queries in the memory."""
        return 0 if self._memory is None else int(self._memory.valid.sum())

    def reset(self) -> None:
        """Clear memory and tracks. Track ids continue, so that no id is given to a second object."""
        self._memory, self._stamp = None, None
        self._tracker.reset()

    def configure(self, options: EstimatorOptions | None = None, **changes: Any) -> None:
        """Change options that decide what is reported; memory and tracks are kept.

        :param options: None = the current ones. :param changes: fields of :class:`EstimatorOptions` to change in it.
        :raises ValueError: for an unknown or bad option, or one that is fixed at construction.
        """
        options = (options or self.options).with_changes(changes)
        for name in _FIXED:
            if getattr(options, name) != getattr(self.options, name):
                raise ValueError(f"{name} is fixed when the estimator is built; build another one to change it")
        reported = self._reported_categories(options)
        self._tracker.configure(options.min_hits, options.max_age, options.smoothing)
        self.options, self._reported, self._threshold = options, reported, self._thresholds(options)

    def step(
        self,
        image: np.ndarray,
        camera: Camera,
        stamp: float | None = None,
        camera_pose: np.ndarray | None = None,
        *,
        support_plane: SupportPlane | None = None,
        depth: np.ndarray | None = None,
    ) -> list[ObjectPose]:
        """Objects in one frame, best score first, in the optical frame of ``camera``.

        :param image: (H, W, 3) uint8 RGB, any size; it is rectified if the camera has distortion.
        :param stamp: seconds. One before the last, or more than ``max_frame_gap`` after it, resets memory and tracks.
        :param camera_pose: (4, 4) world from camera, for any fixed world; None where unknown.
        :param support_plane: plane that objects stand on, in the camera frame; None: the poses are the network's own.
        :param depth: (H, W) floats along z, metres, registered to the image; 0, NaN and infinity are unknown. None: as
            for ``support_plane``.
        :raises ValueError: for an image of another shape or type, or an image or depth not of the camera's size.
        :raises NonFiniteError: if the network returned NaN or infinity; memory and tracks were reset.
        """
        pixels, intrinsics = self._prepare(image, camera)
        if depth is not None:
            check_depth(depth, camera)
        self._reset_after_gap(stamp)
        prediction = self._predict(pixels, intrinsics, stamp, camera_pose)
        objects = self._select(prediction)
        self._check_finite(prediction, objects)
        if depth is not None:
            objects = fuse_depth(objects, depth, camera)
        if support_plane is not None:
            objects = fuse_support_plane(objects, support_plane)
        return self._tracker.update(objects, stamp, camera_pose)

    def _check_finite(self, prediction: ObjectPrediction, objects: list[ObjectPose]) -> None:
        tensors = [prediction.logits]
        if self._memory is not None:
            tensors += [self._memory.embedding, self._memory.reference]
        finite = all(bool(tensor.isfinite().all()) for tensor in tensors) and all(
            np.isfinite(array).all() for o in objects for array in (o.rotation, o.translation, o.size, o.covariance)
        )
        if not finite:
            self.reset()
            raise NonFiniteError("the network returned NaN or infinite values; memory and tracks were reset")

    def _prepare(self, image: np.ndarray, camera: Camera) -> tuple[Tensor, Tensor]:
        """The network's input (1, H, W, 3) uint8 and its intrinsics (1, 3, 3)."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"image has shape {image.shape} and type {image.dtype}; it must be (H, W, 3) uint8 RGB")
        config = self.config
        pixels, intrinsics = fit_image(image, camera, config.image_width, config.image_height)
        device = self._engine.device
        return torch.from_numpy(pixels)[None].to(device), torch.from_numpy(intrinsics)[None].to(device)

    def _reset_after_gap(self, stamp: float | None) -> None:
        if stamp is None:
            return
        if self._stamp is not None and not 0 <= stamp - self._stamp <= self.options.max_frame_gap:
            _LOG.info("stamp %.3f follows %.3f: resetting memory and tracks", stamp, self._stamp)
            self.reset()
        self._stamp = stamp

    @torch.inference_mode()
    def _predict(
        self, images: Tensor, intrinsics: Tensor, stamp: float | None, camera_pose: np.ndarray | None
    ) -> ObjectPrediction:
        """One step of the network; updates the memory."""
        pose = stamps = None
        if camera_pose is not None:
            pose = torch.from_numpy(np.asarray(camera_pose, np.float64))[None].to(images.device)
        if stamp is not None:
            stamps = torch.tensor([stamp], dtype=torch.float64, device=images.device)
        memory = self._memory or empty_memory(self.config, device=images.device)
        frame = FrameMotion.from_optional(pose, stamps, memory)
        prediction, newest = self._engine(StepInput.of_frame(images, intrinsics, memory, frame))
        self._memory = memory.push(newest, frame)
        return prediction

    @torch.inference_mode()
    def _select(self, prediction: ObjectPrediction) -> list[ObjectPose]:
        """Detections to report: requested categories above the threshold, without duplicates."""
        score, label = (prediction.logits[0].sigmoid() * self._reported).max(-1)
        prediction = prediction.of_category(label[None])
        order = score.argsort(descending=True, stable=True)[: self.options.max_objects]
        # An invalid query scores exactly 0 and is never reported.
        order = order[(score[order] >= self._threshold[label[order]]) & (score[order] > 0)]
        position, size = prediction.translation[0, order], prediction.size[0, order]
        duplicate = _same_object(position, size) & (label[order][:, None] == label[order])
        order = order[~duplicate.tril(-1).any(-1)]  # keep the best of each group

        # The yaw of a symmetric object is a convention, not a measurement: its variance is that of a uniform angle.
        symmetric = self._symmetric[label[order]]
        kept = prediction.select(order)
        log_scale = kept.log_scale.clone()
        log_scale[..., 4] = torch.where(symmetric, _UNIFORM_YAW_LOG_SCALE, log_scale[..., 4])
        if kept.mode_logits is not None:  # modes differ in yaw, which is counted already
            others = kept.mode_logits < kept.mode_logits.amax(-1, keepdim=True)
            kept = replace(kept, mode_logits=kept.mode_logits.masked_fill(symmetric[:, None] & others, -1e4))
        kept = replace(kept, log_scale=log_scale)
        poses = (kept.rotation, kept.translation, kept.size, covariance(kept))
        columns = (score[order], label[order], *(c[0] for c in poses))
        arrays = [c.double().cpu().numpy() for c in columns]
        objects = []
        for value, index, rotation, translation, extent, spread in zip(*arrays, strict=True):
            category = self.categories[int(index)]
            objects.append(
                ObjectPose(category.name, float(value), rotation, translation, extent, spread, category_info=category)
            )
        return objects

    def _thresholds(self, options: EstimatorOptions) -> Tensor:
        """(C,) lowest score that is reported."""
        chosen = options.score_threshold
        values = [c.score_threshold if chosen is None else chosen for c in self.categories]
        return torch.tensor(values, device=self._engine.device)

    def _reported_categories(self, options: EstimatorOptions) -> Tensor:
        """(C,) 1 for categories to report, else 0."""
        names = [c.name for c in self.categories]
        for name in options.categories:
            if name not in names:
                raise ValueError(f"unknown category {name!r}; {nearest(name, names)}")
        reported = options.categories or names
        return torch.tensor([float(name in reported) for name in names], device=self.device)


def _same_object(position: Tensor, size: Tensor) -> Tensor:
    """(N, N) bool: whether detections i and j may be one object; positions and sizes (N, 3), metres, camera frame."""
    sight = position / position.norm(dim=-1, keepdim=True)
    offset = position[:, None] - position
    along = (offset * sight).sum(-1)
    across = (offset - along[..., None] * sight).norm(dim=-1)
    diagonal = size.norm(dim=-1)
    return (across < _DUPLICATE_ACROSS * diagonal) & (along.abs() < _DUPLICATE_ALONG * diagonal)


def _open_exported(folder: Path, options: EstimatorOptions, device: torch.device) -> Engine:
    """The engine of an exported folder. Its runtime and memory length are those of the export."""
    runtime = read_info(folder).runtime
    if options.runtime not in ("default", "auto", runtime) and (runtime, options.runtime) != ("onnx", "tensorrt"):
        raise ValueError(f"{folder} was exported for runtime {runtime}; it cannot run {options.runtime}")
    engine = open_exported(folder, device, options.precision, tensorrt=options.runtime == "tensorrt")
    frames = engine.config.memory.frames
    if options.memory_frames not in (None, frames):
        raise ValueError(f"{folder} was exported with memory_frames {frames}; it cannot be {options.memory_frames}")
    _LOG.info("SeqPose runs %s in %s on %s, as exported", runtime, options.precision, device)
    return engine
