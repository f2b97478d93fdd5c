# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: one table with default, description, range and whether they change at run time."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from seqpose_core import CATEGORY_NAMES, EstimatorOptions

#: memory_frames of a checkpoint as it was trained.
AS_TRAINED = -1

_OPTIONS = EstimatorOptions()  # the node's defaults are the estimator's


def _refuse_categories(value: Any) -> str | None:
    if value is None:  # what rcl makes of an empty list in YAML
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        return f"is {value!r}; it must be a list of names"
    unknown = [v for v in value if v and v not in CATEGORY_NAMES]
    return f"has unknown {', '.join(map(repr, unknown))}; known are {', '.join(CATEGORY_NAMES)}" if unknown else None


def _refuse_device(value: Any) -> str | None:
    return None if re.fullmatch(r"cpu|cuda(:\d+)?", value) else f"is {value!r}; it must be cpu, cuda or cuda:<number>"


def _refuse_frame(value: Any) -> str | None:
    # tf2 frame ids carry no leading slash (REP 105 era names do not resolve).
    return f"is {value!r}; a tf2 frame id has no leading slash" if value.startswith("/") else None


def _refuse_prefix(value: Any) -> str | None:
    return (
        None if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_/]*|", value) else f"is {value!r}; use letters, digits, _ and /"
    )


def _rule(
    description: str,
    *,
    live: bool = False,
    limits: tuple[float, float] | None = None,
    choices: Sequence[str] = (),
    refuse: Callable[[Any], str | None] | None = None,
) -> dict[str, Any]:
    return {
        "description": description,
        "live": live,
        "limits": limits,
        "choices": tuple(choices),
        "refuse": refuse,
    }


@dataclass(frozen=True)
class Settings:
    """Values of all parameters. ``live`` ones may change while the node runs; the others are read only."""

    checkpoint: str = field(
        default="seqpose-nano", metadata=_rule("Bundled checkpoint by name, or a folder or file of one.")
    )
    device: str = field(
        default="cpu",
        metadata=_rule("Where the model runs: cpu, cuda or cuda:<number>.", refuse=_refuse_device),
    )
    precision: str = field(default="fp32", metadata=_rule("Arithmetic of the model.", choices=("fp32", "bf16")))
    runtime: str = field(default="eager", metadata=_rule("Engine that runs the model.", choices=("eager", "compiled")))
    categories: Sequence[str] = field(
        default=(),
        metadata=_rule("Names of the categories to report; empty reports all.", live=True, refuse=_refuse_categories),
    )
    score_threshold: float = field(
        default=_OPTIONS.score_threshold,
        metadata=_rule("Objects below this confidence are not reported.", live=True, limits=(0.0, 1.0)),
    )
    max_objects: int = field(
        default=_OPTIONS.max_objects,
        metadata=_rule("At most this many objects an image, best first.", live=True, limits=(1, 100)),
    )
    memory_frames: int = field(
        default=AS_TRAINED,
        metadata=_rule(
            "Past frames the model remembers: -1 as it was trained, 0 none (single frames).", limits=(-1, 16)
        ),
    )
    min_hits: int = field(
        default=_OPTIONS.min_hits,
        metadata=_rule("Sightings that confirm a track and give it its id and tf frame.", live=True, limits=(1, 100)),
    )
    max_age: int = field(
        default=_OPTIONS.max_age,
        metadata=_rule("Frames that a track survives unseen.", live=True, limits=(0, 1000)),
    )
    max_frame_gap: float = field(
        default=_OPTIONS.max_frame_gap,
        metadata=_rule(
            "A longer gap between two images, in seconds, forgets memory and tracks.",
            live=True,
            limits=(0.01, 60.0),
        ),
    )
    smoothing: float = field(
        default=_OPTIONS.smoothing,
        metadata=_rule(
            "How far a track averages its readings: 0 takes each frame's own.", live=True, limits=(0.0, 1.0)
        ),
    )
    target_frame: str = field(
        default="",
        metadata=_rule(
            "Frame to publish objects in, by tf at the image's time; empty: the camera's.",
            refuse=_refuse_frame,
        ),
    )
    fixed_frame: str = field(
        default="",
        metadata=_rule(
            "World frame that tells the model how the camera moves, by tf; empty: no ego-motion.",
            refuse=_refuse_frame,
        ),
    )
    publish_tf: bool = field(
        default=True, metadata=_rule("Broadcast one tf frame for each confirmed track.", live=True)
    )
    tf_prefix: str = field(default="", metadata=_rule("Put before the child frame names of tf.", refuse=_refuse_prefix))
    object_axes: str = field(
        default="nocs",
        metadata=_rule(
            "Objects' own axes: nocs (x front, y up) or rep103 (x front, z up).", choices=("nocs", "rep103")
        ),
    )
    image_transport: str = field(
        default="raw",
        metadata=_rule("raw subscribes to <image>, compressed to <image>/compressed.", choices=("raw", "compressed")),
    )
    rectified: bool = field(
        default=False,
        metadata=_rule("True: images are rectified: intrinsics are camera_info's P. False: K and D."),
    )
    autostart: bool = field(
        default=True,
        metadata=_rule("Configure and activate at start; false leaves that to a lifecycle manager."),
    )


_FIELDS = {f.name: f for f in dataclasses.fields(Settings)}


def descriptor(name: str) -> ParameterDescriptor:
    """What ``ros2 param describe`` tells of one parameter."""
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
    # An empty list in YAML carries no element type: the type of this one is checked by its own rule.
    message.dynamic_typing = name == "categories"
    return message


def declare(node: Node) -> dict[str, str]:
    """Declare every parameter, with the values given at start.

    :return: given names that are no parameter but near to one, with that one. (A file for many nodes may
        carry other nodes' names: an unknown name alone means nothing.)
    :raises rclpy.exceptions.ParameterException: for a value outside its range or of another type.
    """
    for name in _FIELDS:
        default = _FIELDS[name].default
        node.declare_parameter(name, [] if default == () else default, descriptor(name))
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public way to the names that were given
    guesses = {name: difflib.get_close_matches(name, _FIELDS, 1, 0.8) for name in set(given).difference(_FIELDS)}
    return {name: guess[0] for name, guess in guesses.items() if guess}


def read(node: Node) -> Settings:
    """The present values.

    :raises ValueError: if a value breaks a rule of its own.
    """
    parameters = [node.get_parameter(name) for name in _FIELDS]
    reason = refusal(parameters)
    if reason is not None:
        raise ValueError(reason)
    return changed(Settings(), parameters)


def changed(settings: Settings, parameters: Iterable[Parameter]) -> Settings:
    """``settings`` with the values of those ``parameters`` that are the node's own."""
    values = {p.name: p.value for p in parameters if p.name in _FIELDS}
    if "categories" in values:
        values["categories"] = tuple(name for name in values["categories"] or () if name)
    return dataclasses.replace(settings, **values)


def refusal(parameters: Iterable[Parameter]) -> str | None:
    """Why these values cannot be had, or None. Types, ranges and read_only are refused by rclpy itself."""
    for parameter in parameters:
        if parameter.name not in _FIELDS:
            continue
        meta = _FIELDS[parameter.name].metadata
        if meta["choices"] and parameter.value not in meta["choices"]:
            return f"{parameter.name} is {parameter.value!r}; it must be one of {', '.join(meta['choices'])}"
        reason = meta["refuse"] and meta["refuse"](parameter.value)
        if reason:
            return f"{parameter.name} {reason}"
    return None


def estimator_options(settings: Settings) -> dict[str, Any]:
    """The options of :class:`seqpose_core.PoseEstimator` that the parameters carry."""
    return {
        "precision": settings.precision,
        "runtime": settings.runtime,
        "categories": settings.categories,
        "score_threshold": settings.score_threshold,
        "max_objects": settings.max_objects,
        "memory_frames": None if settings.memory_frames == AS_TRAINED else settings.memory_frames,
        "min_hits": settings.min_hits,
        "max_age": settings.max_age,
        "max_frame_gap": settings.max_frame_gap,
        "smoothing": settings.smoothing,
    }
