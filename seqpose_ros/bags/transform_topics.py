# SPDX-License-Identifier: Apache-2.0
"""Select the tf topics of a bag: each robot of a recording may have its own, in its namespace."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from seqpose_ros.bags.reader import Topic

TF_TYPE = "tf2_msgs/msg/TFMessage"
_NAMES = ("tf", "tf_static")


def select_transforms(topics: Sequence[Topic], image_topic: str) -> list[Topic]:
    """The topics named tf and tf_static that share the longest namespace with the images; /tf shares the empty one.

    Frames of the trees of two robots often have equal names, so trees are not merged. A name is left out if several of
    its topics share the same namespace with the images. If no topic has these names, all topics of type TFMessage
    are returned.

    :param image_topic: name of the topic.
    """
    found = [topic for topic in topics if topic.msgtype == TF_TYPE]
    named = [[topic for topic in found if topic.topic.rpartition("/")[2] == name] for name in _NAMES]
    if not any(named):
        return found
    return [topic for group in named for topic in _nearest(group, image_topic)]


def is_static(topic: str) -> bool:
    """Whether the transforms of a topic are static."""
    return topic.endswith("tf_static")


def _nearest(topics: Sequence[Topic], image_topic: str) -> list[Topic]:
    if not topics:
        return []
    best = max(_rank(topic, image_topic) for topic in topics)
    nearest = [topic for topic in topics if _rank(topic, image_topic) == best]
    return nearest if len({topic.topic for topic in nearest}) == 1 else []


def _rank(topic: Topic, image_topic: str) -> tuple[int, bool]:
    """Number of namespaces that are shared with the images, and whether the topic has no other ones."""
    own, images = topic.topic.strip("/").split("/")[:-1], image_topic.strip("/").split("/")[:-1]
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(own, images, strict=False)))
    return shared, shared == len(own)
