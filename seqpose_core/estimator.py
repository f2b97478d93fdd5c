# SPDX-License-Identifier: Apache-2.0
"""PoseEstimator: streaming inference on plain images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqpose_core.camera import Camera
from seqpose_core.categories import Category
from seqpose_core.config_io import nearest
from seqpose_core.depth_fusion import check_depth, fuse_depth
from seqpose_core.estimator_options import EstimatorOptions
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.objects import ObjectPose
from seqpose_core.preprocessing import fit_image
from seqpose_core.runtime.choose import build_engine
from seqpose_core.runtime.engine import Engine, StepArrays
from seqpose_core.runtime.exported import is_exported, open_exported, read_info
from seqpose_core.runtime.network import Network, with_memory
from seqpose_core.selection import select_objects
from seqpose_core.stream_memory import StreamMemory
from seqpose_core.support_plane import SupportPlane, fuse_support_plane
from seqpose_core.tracking import Tracker, check_camera_pose

if TYPE_CHECKING:  # torch takes seconds to import
    from seqpose_core.model.seqpose import SeqPose

_LOG = logging.getLogger(__name__)
#: Options that are fixed when the estimator is built.
_FIXED = ("precision", "runtime", "memory_frames")


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
        if not isinstance(model, Engine):
            model = with_memory(model, options.memory_frames)
            model = build_engine(model, options.runtime, device, options.precision)
        self._engine: Engine = model
        self._threshold = self._thresholds(self.options)
        self._reported = self._reported_categories(self.options)
        self._tracker = Tracker(self.options.min_hits, self.options.max_age, smoothing=self.options.smoothing)
        self._memory: StreamMemory | None = None
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
            engine = _open_exported(Path(name_or_path).expanduser(), options, device)
        else:
            network = Network.of_checkpoint(name_or_path, options.memory_frames, allow_download)
            engine = build_engine(network, options.runtime, device, options.precision)
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
    def device(self) -> str:
        """The device of the network: ``cpu`` or ``cuda:<number>``."""
        return self._engine.device

    @property
    def categories(self) -> tuple[Category, ...]:
        """The model's categories."""
        return self.config.categories

    @property
    def memory_queries(self) -> int:
        """Number of valid queries in the memory."""
        memory = self._memory  # read once: another thread may reset it
        return 0 if memory is None else int(memory.valid.sum())

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
        :raises ValueError: for an image of another shape or type, an image or depth not of the camera's size, or a
            camera pose that is not a finite (4, 4) matrix; memory and tracks have not changed.
        :raises NonFiniteError: if the network returned NaN or infinity; memory and tracks were reset.
        """
        pixels, intrinsics = self.fit(image, camera)
        if depth is not None:
            check_depth(depth, camera)
        check_camera_pose(camera_pose)
        outputs = self._engine(self.prepare(pixels, intrinsics, stamp, camera_pose))
        objects = self.select({name: array[0] for name, array in outputs.items()}, stamp, camera_pose)
        if depth is not None:
            objects = fuse_depth(objects, depth, camera)
        if support_plane is not None:
            objects = fuse_support_plane(objects, support_plane)
        return self.track(objects, stamp, camera_pose)

    def fit(self, image: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """The network's image (H, W, 3) uint8 and its intrinsics (3, 3); part of :meth:`step`, which raises as it."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"image has shape {image.shape} and type {image.dtype}; it must be (H, W, 3) uint8 RGB")
        return fit_image(image, camera, self.config.image_width, self.config.image_height)

    def prepare(
        self, pixels: np.ndarray, intrinsics: np.ndarray, stamp: float | None, camera_pose: np.ndarray | None
    ) -> StepArrays:
        """The inputs of the network for the next frame, with a batch axis of 1; the first part of :meth:`step`."""
        self._reset_after_gap(stamp)
        if self._memory is None:
            memory = self.config.memory
            self._memory = StreamMemory(memory.frames * memory.top_k, self.config.decoder.width)
        inputs = {"image": pixels, "intrinsics": intrinsics, **self._memory.inputs(stamp, camera_pose)}
        return StepArrays(**{name: array[None] for name, array in inputs.items()})

    def select(
        self, outputs: Mapping[str, np.ndarray], stamp: float | None, camera_pose: np.ndarray | None
    ) -> list[ObjectPose]:
        """Update the memory and select the objects to report; the part of :meth:`step` that follows the network.

        :param outputs: of the network, without batch axis.
        :raises NonFiniteError: if they are not finite; memory and tracks were reset.
        """
        assert self._memory is not None
        self._memory.push(outputs, stamp, camera_pose)
        memory = self._memory
        finite = all(np.isfinite(array).all() for array in (outputs["logits"], memory.embedding, memory.reference))
        objects = []
        if finite:
            limit = self.options.max_objects
            objects = select_objects(outputs, self.categories, self._reported, self._threshold, limit)
            arrays = (array for o in objects for array in (o.rotation, o.translation, o.size, o.covariance))
            finite = all(np.isfinite(array).all() for array in arrays)
        if not finite:
            self.reset()
            raise NonFiniteError("the network returned NaN or infinite values; memory and tracks were reset")
        return objects

    def track(self, objects: list[ObjectPose], stamp: float | None, camera_pose: np.ndarray | None) -> list[ObjectPose]:
        """The objects with track ids; the last part of :meth:`step`."""
        return self._tracker.update(objects, stamp, camera_pose)

    def _reset_after_gap(self, stamp: float | None) -> None:
        if stamp is None:
            return
        if self._stamp is not None and not 0 <= stamp - self._stamp <= self.options.max_frame_gap:
            _LOG.info("stamp %.3f follows %.3f: resetting memory and tracks", stamp, self._stamp)
            self.reset()
        self._stamp = stamp

    def _thresholds(self, options: EstimatorOptions) -> np.ndarray:
        """(C,) lowest score that is reported."""
        chosen = options.score_threshold
        values = [c.score_threshold if chosen is None else chosen for c in self.categories]
        return np.array(values)

    def _reported_categories(self, options: EstimatorOptions) -> np.ndarray:
        """(C,) bool: whether a category is reported."""
        names = [c.name for c in self.categories]
        for name in options.categories:
            if name not in names:
                raise ValueError(f"unknown category {name!r}; {nearest(name, names)}")
        reported = options.categories or names
        return np.array([name in reported for name in names])


def _open_exported(folder: Path, options: EstimatorOptions, device: str) -> Engine:
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
