# SPDX-License-Identifier: Apache-2.0
"""Select the image topic of a bag and its camera_info topic."""

from __future__ import annotations

from seqpose_ros.bags.reader import BagError, BagReader, Topic

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPE = "sensor_msgs/msg/CameraInfo"


def select_image(reader: BagReader, topic: str | None) -> Topic:
    """The named image topic, or the only one.

    :raises BagError: there is no topic of that name, or there are several image topics and none is named.
    """
    found = _of_type(reader, IMAGE_TYPES)
    selected = [t for t in found if topic in (None, t.topic)]
    if len(selected) != 1:
        raise _selection_error(reader, "image", IMAGE_TYPES, found, topic, "--image-topic")
    return _readable(reader, selected[0])


def select_camera_info(reader: BagReader, image: Topic, topic: str | None) -> Topic:
    """The named camera_info topic, or else the one in the namespace of the images, or the only one.

    :raises BagError: there is no topic of that name; there are several and none is in the namespace of the images; or
        the only one belongs to another image topic.
    """
    found = _of_type(reader, (INFO_TYPE,))
    if topic is not None:
        selected = [t for t in found if t.topic == topic]
    else:
        selected = [t for t in found if _namespace(t.topic) == image_namespace(image.topic)] or found
    if len(selected) != 1:
        raise _selection_error(reader, "camera_info", (INFO_TYPE,), found, topic, "--camera-info-topic")
    if topic is None and _namespace(selected[0].topic) != image_namespace(image.topic):
        for other in _of_type(reader, IMAGE_TYPES):
            if image_namespace(other.topic) == _namespace(selected[0].topic):
                raise BagError(
                    f"{reader.path} has no camera_info for {image.topic}; {selected[0].topic} belongs to "
                    f"{other.topic}. If it is the right one, name it with --camera-info-topic"
                )
    return _readable(reader, selected[0])


def image_namespace(topic: str) -> str:
    """Namespace of an image topic; image_transport appends the name of the transport."""
    for transport in ("/compressed", "/compressedDepth", "/theora", "/ffmpeg", "/zstd"):
        topic = topic.removesuffix(transport)
    return _namespace(topic)


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0]


def _of_type(reader: BagReader, types: tuple[str, ...]) -> list[Topic]:
    return [t for t in reader.connections if t.msgtype in types]


def _readable(reader: BagReader, topic: Topic) -> Topic:
    if topic.encoding != "cdr":
        raise BagError(
            f"{topic.topic} of {reader.path} is encoded as {topic.encoding or 'nothing'}; only cdr, the encoding of "
            "ROS 2, is read"
        )
    return topic


def _selection_error(
    reader: BagReader, what: str, types: tuple[str, ...], found: list[Topic], topic: str | None, option: str
) -> BagError:
    topics = ", ".join(t.topic for t in found) or "none"
    needed = f"name one with {option}" if topic is None else f"{topic} is not among them"
    if not found:
        needed = f"one of type {' or '.join(types)} is needed"
    return BagError(f"the {what} topics of {reader.path} are: {topics}; {needed}")
