# SPDX-License-Identifier: Apache-2.0
"""EstimatorOptions: how an estimator runs and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from seqpose_core.config_io import nearest

Precision = Literal["fp32", "bf16"]
Runtime = Literal["default", "auto", "eager", "compiled", "openvino", "onnx", "tensorrt"]


@dataclass(frozen=True)
class EstimatorOptions:
    """How an estimator runs and what it reports.

    :param precision: ``fp32`` or ``bf16`` (autocast).
    :param runtime: ``eager`` (torch), ``compiled`` (torch.compile), ``openvino``, ``onnx`` (ONNX Runtime on CPU or
        CUDA), ``tensorrt`` (ONNX Runtime with TensorRT), ``auto``: the fastest on this machine by a short trial, or
        ``default``: ``openvino`` for a checkpoint on the CPU if it is installed, else ``eager``. An exported folder
        runs in the runtime that it was exported for.
    :param categories: names to report; empty = all of the model's.
    :param score_threshold: detections below it are dropped, 0..1; None = the threshold that the checkpoint gives each
        category. :param max_objects: at most this many per image,
        best first.
    :param memory_frames: past frames remembered; None = as trained, 0 = single-frame.
    :param min_hits: consecutive detections before a track gets its id.
    :param max_age: frames that a track is kept without a detection.
    :param max_frame_gap: seconds between two frames after which memory and tracks are reset.
    :param smoothing: 0..1, how far a track averages its poses over frames; 0 = each frame's own pose. The lag is
        smoothing / (1 - smoothing) frames.
    :raises ValueError: for a value outside its range or choices.
    """

    precision: Precision = "fp32"
    runtime: Runtime = "default"
    categories: tuple[str, ...] = ()
    score_threshold: float | None = None
    max_objects: int = 20
    memory_frames: int | None = None
    min_hits: int = 2
    max_age: int = 10
    max_frame_gap: float = 1.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(self.categories))
        for name, choices in (("precision", get_args(Precision)), ("runtime", get_args(Runtime))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(choices)}")
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            raise ValueError(f"score_threshold is {self.score_threshold}; it must lie in 0..1")
        if self.max_objects < 1:
            raise ValueError(f"max_objects is {self.max_objects}; it must be at least 1")
        if self.memory_frames is not None and self.memory_frames < 0:
            raise ValueError(f"memory_frames is {self.memory_frames}; it must be 0 or more")
        if not self.max_frame_gap > 0:
            raise ValueError(f"max_frame_gap is {self.max_frame_gap} s; it must be positive")

    def with_changes(self, changes: Mapping[str, Any]) -> EstimatorOptions:
        """The options with some values replaced. :raises ValueError: for an unknown name or a bad value."""
        known = [f.name for f in fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(f"unknown option {name!r}; {nearest(name, known)}")
        return replace(self, **changes)
