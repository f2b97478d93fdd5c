# SPDX-License-Identifier: Apache-2.0
"""Types for deserializing the messages of a topic: from the definition in the bag, otherwise built-in ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from seqpose_ros.bags.storage import Connection

# vision_msgs 4, which rosbags does not have.
_VISION_MSGS = {
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "ObjectHypothesis": "string class_id\nfloat64 score\n",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n",
    "Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox3D bbox\n"
        "string id\n"
    ),
    "Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections\n",
}
_IDL_SEPARATOR = "=" * 80 + "\n"


@lru_cache
def typestore_of(connection: Connection) -> Typestore:
    """The types that deserialize the messages of a connection: its type and the types that it contains.

    :raises ValueError: the definition in the bag cannot be parsed, or neither the bag nor the built-in types have one.
    """
    types = dict(_builtin_types())
    if connection.definition.strip():
        try:
            types.update(_parse(connection))
        except Exception as error:  # the parsers raise many kinds of exceptions
            reason = " ".join(str(error).split())[:200]  # the parsers quote the definition
            text = f"its definition of {connection.msgtype} cannot be parsed: {type(error).__name__}: {reason}"
            raise ValueError(text) from error
    needed, waiting = {}, [connection.msgtype]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        if name not in types:
            raise ValueError(f"it has no definition of {name}, and there is no built-in one")
        needed[name] = types[name]
        waiting += [used for field in types[name][1] for used in _used_types(field[1])]
    store = get_typestore(Stores.EMPTY)
    store.register(needed)
    return store


def _parse(connection: Connection) -> dict[str, Any]:
    text = connection.definition
    if connection.definition_format == "ros2msg":
        return dict(get_types_from_msg(text, connection.msgtype))
    if connection.definition_format not in ("ros2idl", "omgidl"):
        raise ValueError(f"the format {connection.definition_format!r} is not supported")
    types: dict[str, Any] = {}
    parts = text.split(_IDL_SEPARATOR)[1:] if text.startswith(f"{_IDL_SEPARATOR}IDL: ") else [f"IDL\n{text}"]
    for part in parts:
        types.update(get_types_from_idl(part.partition("\n")[2]))
    return types


@lru_cache
def _builtin_types() -> dict[str, Any]:
    types = dict(get_typestore(Stores.ROS2_JAZZY).fielddefs)
    for name, text in _VISION_MSGS.items():
        types.update(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    return types


def _used_types(field: Any) -> Iterator[str]:
    """Names of the message types inside a field: ``(kind, name)``, or ``(kind, (element, length))``."""
    _, detail = field
    if isinstance(detail, str):
        yield detail
    elif isinstance(detail[0], tuple):
        yield from _used_types(detail[0])
