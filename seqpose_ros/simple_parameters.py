# SPDX-License-Identifier: Apache-2.0
"""Read-only parameters of the grasp and planning scene nodes: fields of a dataclass with descriptions and ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.node import Node

T = TypeVar("T")


def parameter(
    default: Any, description: str, limits: tuple[float, float] | None = None, choices: Sequence[str] = ()
) -> Any:
    """A dataclass field that is a parameter. ``limits`` (lowest, highest) are for floats, ``choices`` for strings."""
    metadata = {"description": description, "limits": limits, "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=metadata)


def declare_fields(node: Node, kind: type[T]) -> T:
    """Declare every field of the dataclass as a read-only parameter; returns the values given at start.

    :raises rclpy.exceptions.ParameterException: a value has the wrong type or is out of range.
    :raises ValueError: a value is not one of the choices.
    """
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        limits, choices = field.metadata["limits"], field.metadata["choices"]
        descriptor = ParameterDescriptor(
            description=field.metadata["description"],
            read_only=True,
            additional_constraints=f"one of: {', '.join(choices)}" if choices else "",
        )
        if limits is not None:
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
        value = node.declare_parameter(field.name, field.default, descriptor).value
        if choices and value not in choices:
            raise ValueError(f"{field.name} is {value!r}; it must be one of {', '.join(choices)}")
        values[field.name] = value
    return kind(**values)
