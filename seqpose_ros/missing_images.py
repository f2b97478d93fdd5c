# SPDX-License-Identifier: Apache-2.0
"""Explain why no images arrive: publishers of another type or with an incompatible QoS, the other transport, size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

IMAGE, COMPRESSED, CAMERA_INFO = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo"))

DEFAULT_SEGMENT = 512 * 1024  # bytes of the shared-memory segment of Fast DDS

#: Returns the publishers of a topic (``Node.get_publishers_info_by_topic``).
Publishers = Callable[[str], Sequence[Any]]


def explain_topic(topic: str, expected: str, publishers: Publishers, qos: QoSProfile) -> str:
    """The topic with its number of publishers, and the reason if none of them can be received.

    :param expected: type of the subscription, for example ``sensor_msgs/msg/Image``. :param qos: of the subscription.
    """
    infos = publishers(topic)
    text = f"{topic} ({len(infos)} publishers)"
    usable = [info for info in infos if info.topic_type == expected]
    if infos and not usable:
        return f"{text}, which has the type {infos[0].topic_type} instead of {expected}"
    reasons = [reason for reason in (_incompatibility(info, qos) for info in usable) if reason]
    if usable and len(reasons) == len(usable):
        return f"{text}, whose QoS is incompatible ({reasons[0]})"
    return text


def suggest_transport(image: str, compressed: bool, publishers: Publishers) -> str:
    """The parameter and remapping that would receive the images that are published under a related name, or "".

    :param image: the topic that ``image`` is remapped to. :param compressed: whether image_transport is compressed.
    """
    base = image.removesuffix("/compressed")
    if compressed:
        if base != image and _publishes(publishers, image, COMPRESSED):
            return f"remap image to {base}: image_transport compressed appends /compressed"
        if _publishes(publishers, image, IMAGE):
            return f"{image} has raw images: set image_transport to raw"
        return ""
    for topic in (image, f"{image}/compressed"):
        if _publishes(publishers, topic, COMPRESSED):
            remap = f" and remap image to {base}" if topic == image != base else ""
            return f"{topic} has compressed images: set image_transport to compressed{remap}"
    return ""


def explain_size(camera_info: Any) -> str:
    """Why raw images of a discovered publisher may not arrive, or "" if they are small.

    :param camera_info: sensor_msgs/CameraInfo, or None if none was received.
    """
    size = ""
    if camera_info is not None:
        size_bytes = 3 * camera_info.width * camera_info.height
        if size_bytes < DEFAULT_SEGMENT:
            return ""
        size = f" (about {1e-6 * size_bytes:.1f} MB for {camera_info.width}x{camera_info.height} pixels)"
    return (
        f"if the camera publishes, its images{size} may be larger than the shared-memory segment of DDS; "
        "see Large images in docs/reliability.md"
    )


def _publishes(publishers: Publishers, topic: str, kind: str) -> bool:
    return any(info.topic_type == kind for info in publishers(topic))


def _incompatibility(info: Any, qos: QoSProfile) -> str:
    compatibility, reason = qos_check_compatible(info.qos_profile, qos)
    return str(reason).strip() or "unknown policy" if compatibility == QoSCompatibility.ERROR else ""
