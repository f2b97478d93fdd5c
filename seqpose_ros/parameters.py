# SPDX-License-Identifier: Apache-2.0
"""The parameters of the node: one table with default, description, range, and whether they can change at run time."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import get_args

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from seqpose_core import EstimatorOptions, checkpoint
from seqpose_core.estimator_options import Precision, Runtime
from seqpose_core.weights import CheckpointError
from seqpose_ros import parameter_checks as checks
from seqpose_ros.images import MAX_IMAGE_PIXELS
from seqpose_ros.parameter_checks import AS_TRAINED, describe

_OPTIONS = EstimatorOptions()  # the node uses the defaults of the estimator


@dataclass(frozen=True)
class Settings:
    """Values of all parameters. ``live`` parameters may change while the node runs; the others are read-only."""

    checkpoint: str = field(
        default="seqpose-lite2",
        metadata=describe("Name of a bundled checkpoint, or path of a checkpoint folder or file."),
    )
    device: str = field(
        default="cpu",
        metadata=describe("Device of the model: cpu, cuda or cuda:<number>.", check=checks.check_device),
    )
    precision: str = field(
        default=_OPTIONS.precision,
        metadata=describe("Arithmetic of the model.", choices=get_args(Precision)),
    )
    runtime: str = field(
        default=_OPTIONS.runtime,
        metadata=describe(
            "Runtime of the model; default: openvino on the CPU if installed, else eager; auto: fastest in a trial.",
            choices=get_args(Runtime),
        ),
    )
    threads: int = field(
        default=1,
        metadata=describe(
            "CPU threads of the runtime, torch and OpenCV; more than 1 is slower if other programs use the cores.",
            limits=(1, 256),
        ),
    )
    categories: Sequence[str] = field(
        default=(),
        metadata=describe(
            "Names of the categories to report; empty reports all.", live=True, check=checks.check_categories
        ),
    )
    score_threshold: float = field(
        default=float(AS_TRAINED),
        metadata=describe(
            "Objects below this score, 0 to 1, are not reported; -1: the checkpoint's threshold of each category.",
            live=True,
            limits=(-1.0, 1.0),
            check=checks.check_threshold,
        ),
    )
    max_objects: int = field(
        default=_OPTIONS.max_objects,
        metadata=describe("Maximum number of objects per image, best scores first.", live=True, limits=(1, 100)),
    )
    memory_frames: int = field(
        default=AS_TRAINED,
        metadata=describe("Past frames in the memory: -1 as trained, 0 none (single-frame).", limits=(-1, 16)),
    )
    min_hits: int = field(
        default=_OPTIONS.min_hits,
        metadata=describe(
            "Consecutive detections until a track is confirmed and gets an id and a tf frame.",
            live=True,
            limits=(1, 100),
        ),
    )
    max_age: int = field(
        default=_OPTIONS.max_age,
        metadata=describe("Frames that a track is kept without a detection.", live=True, limits=(0, 1000)),
    )
    max_frame_gap: float = field(
        default=_OPTIONS.max_frame_gap,
        metadata=describe(
            "Longest gap between two images in seconds; a longer gap clears memory and tracks.",
            live=True,
            limits=(0.01, 60.0),
        ),
    )
    smoothing: float = field(
        default=_OPTIONS.smoothing,
        metadata=describe(
            "Smoothing s of a track; the lag is s / (1 - s) frames. 0 publishes the prediction of each frame.",
            live=True,
            limits=(0.0, 0.99),
        ),
    )
    target_frame: str = field(
        default="",
        metadata=describe(
            "Frame to publish objects in, by tf at the image stamp; empty: the camera frame.",
            check=checks.check_frame,
        ),
    )
    fixed_frame: str = field(
        default="",
        metadata=describe(
            "World frame for the ego-motion of the camera, by tf; empty: no ego-motion.",
            check=checks.check_frame,
        ),
    )
    tf_timeout: float = field(
        default=0.25,
        metadata=describe(
            "Longest wait of an image for transforms at its stamp, seconds; with slow tf, at least its period.",
            live=True,
            limits=(0.0, 2.0),
        ),
    )
    support_frame: str = field(
        default="",
        metadata=describe(
            "Frame with the plane z = support_height that objects stand on, z up, by tf; empty: no support plane.",
            check=checks.check_frame,
        ),
    )
    support_height: float = field(
        default=0.0,
        metadata=describe("Height of the support plane in support_frame; metres.", live=True, limits=(-10.0, 10.0)),
    )
    support_height_noise: float = field(
        default=0.01,
        metadata=describe("Standard deviation of support_height; metres.", live=True, limits=(0.0, 1.0)),
    )
    support_tilt_noise: float = field(
        default=1.0,
        metadata=describe(
            "Root mean square error of the plane's normal; degrees.",
            live=True,
            limits=(0.0, 45.0),
        ),
    )
    support_prior: float = field(
        default=0.8,
        metadata=describe(
            "Probability that an object of score 1 stands on the support plane; less where objects are stacked.",
            live=True,
            limits=(0.0, 1.0),
        ),
    )
    use_depth: bool = field(
        default=False, metadata=describe("Subscribe to depth, images registered to the colour images.")
    )
    publish_tf: bool = field(default=True, metadata=describe("Broadcast one tf frame per confirmed track.", live=True))
    tf_prefix: str = field(
        default="",
        metadata=describe(
            "Prefix of the tf child frame names; empty with --cameras: the namespace.", check=checks.check_prefix
        ),
    )
    object_axes: str = field(
        default="nocs",
        metadata=describe("Object axes: nocs (x front, y up) or rep103 (x front, z up).", choices=("nocs", "rep103")),
    )
    image_transport: str = field(
        default="raw",
        metadata=describe(
            "raw subscribes to <image>, compressed to <image>/compressed.", choices=("raw", "compressed")
        ),
    )
    max_image_pixels: int = field(
        default=MAX_IMAGE_PIXELS,
        metadata=describe("Larger images are refused before they are decoded; pixels.", limits=(1, 2**30)),
    )
    rectified: bool = field(
        default=False,
        metadata=describe("True: the images are rectified; use P of camera_info. False: use K and D."),
    )
    autostart: bool = field(
        default=True,
        metadata=describe("Configure and activate at start; false leaves both to a lifecycle manager."),
    )

    @property
    def tf_frames(self) -> tuple[str, ...]:
        """Frames whose transforms from the camera are looked up for every image."""
        return tuple(frame for frame in (self.fixed_frame, self.target_frame, self.support_frame) if frame)


_FIELDS = {f.name: f for f in dataclasses.fields(Settings)}


def descriptor(name: str) -> ParameterDescriptor:
    """The descriptor of one parameter, as ``ros2 param describe`` prints it."""
    meta = _FIELDS[name].metadata
    constraints = f"one of: {', '.join(meta['choices'])}" if meta["choices"] else ""
    message = ParameterDescriptor(
        name=name,
        description=meta["description"],
        read_only=not meta["live"],
        additional_constraints=constraints,
    )
    if meta["limits"] is not None:
        low, high = meta["limits"]
        if isinstance(_FIELDS[name].default, float):
            message.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            message.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    # An empty YAML list has no element type: check_categories checks it. A double may be given as an integer:
    # find_invalid checks its type and range.
    message.dynamic_typing = name == "categories" or isinstance(_FIELDS[name].default, float)
    return message


def declare(node: Node) -> dict[str, str]:
    """Declare every parameter with the value given at start.

    :return: probable misspellings: given name -> nearest parameter name. (Other unknown names are ignored, because a
        parameter file may contain the parameters of several nodes.)
    :raises rclpy.exceptions.ParameterException: a value is out of range or has the wrong type.
    """
    for name in _FIELDS:
        default = _FIELDS[name].default
        node.declare_parameter(name, [] if default == () else default, descriptor(name))
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public access to the given names
    guesses = {name: difflib.get_close_matches(name, _FIELDS, 1, 0.8) for name in set(given).difference(_FIELDS)}
    return {name: guess[0] for name, guess in guesses.items() if guess}


def read_settings(node: Node) -> Settings:
    """The current values.

    :raises ValueError: a value is invalid, or the checkpoint does not have one of the categories.
    """
    parameters = [node.get_parameter(name) for name in _FIELDS]
    reason = find_invalid(parameters)
    if reason is not None:
        raise ValueError(reason)
    settings = update_settings(Settings(), parameters)
    reason = find_unknown_categories(settings)
    if reason is not None:
        raise ValueError(reason)
    return settings


def update_settings(settings: Settings, parameters: Iterable[Parameter]) -> Settings:
    """``settings`` with the values of ``parameters``; parameters of other modules (``use_sim_time``) are ignored."""
    values = {p.name: p.value for p in parameters if p.name in _FIELDS}
    if "categories" in values:
        values["categories"] = tuple(name for name in values["categories"] or () if name)
    values |= {name: float(value) for name, value in values.items() if isinstance(_FIELDS[name].default, float)}
    return dataclasses.replace(settings, **values)


def find_invalid(parameters: Iterable[Parameter]) -> str | None:
    """The reason why a value is invalid, or None. rclpy itself checks types, ranges and read_only."""
    for parameter in (p for p in parameters if p.name in _FIELDS):
        meta = _FIELDS[parameter.name].metadata
        if isinstance(_FIELDS[parameter.name].default, float):
            low, high = meta["limits"]
            if type(parameter.value) not in (int, float) or not low <= parameter.value <= high:
                return f"{parameter.name} is {parameter.value!r}; it must be a number from {low:g} to {high:g}"
        if meta["choices"] and parameter.value not in meta["choices"]:
            return f"{parameter.name} is {parameter.value!r}; it must be one of {', '.join(meta['choices'])}"
        reason = meta["check"] and meta["check"](parameter.value)
        if reason:
            return f"{parameter.name} {reason}"
    return None


def find_removed(parameters: Iterable[Parameter]) -> str | None:
    """The reason why a parameter cannot be removed (``ros2 param delete``), or None: it could not be set again."""
    removed = [p.name for p in parameters if p.name in _FIELDS and p.type_ == Parameter.Type.NOT_SET]
    return f"{removed[0]} cannot be removed" if removed else None


def find_unknown_categories(settings: Settings) -> str | None:
    """The reason why the checkpoint cannot report the requested categories, or None."""
    if not settings.categories:
        return None
    try:
        known = [c.name for c in checkpoint.read_config(settings.checkpoint).categories]
    except CheckpointError:
        return None  # configuration loads the checkpoint and reports this error
    unknown = [name for name in settings.categories if name not in known]
    return f"categories has unknown {', '.join(map(repr, unknown))}; known are {', '.join(known)}" if unknown else None


def estimator_options(settings: Settings) -> EstimatorOptions:
    """The estimator's options, from the parameters of the same names."""
    values = {f.name: getattr(settings, f.name) for f in dataclasses.fields(EstimatorOptions)}
    as_trained = {name: None for name in ("memory_frames", "score_threshold") if values[name] == AS_TRAINED}
    return EstimatorOptions(**values | as_trained)
