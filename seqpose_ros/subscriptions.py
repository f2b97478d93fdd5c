# SPDX-License-Identifier: Apache-2.0
"""Create a subscription, with an error that names the topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription


class SubscriptionError(RuntimeError):
    """A topic cannot be subscribed to: it has another type in this node, or its QoS is invalid."""


def subscribe(
    node: Node, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile, **options: Any
) -> Subscription:
    """``node.create_subscription``.

    :param options: its other arguments.
    :raises SubscriptionError: the topic is remapped to one that the node uses with another type (the error of DDS does
        not name either), or its QoS override is invalid.
    """
    name = node.resolve_topic_name(topic)
    used: list[Any] = [*node.publishers, *node.subscriptions]
    others = {entity.msg_type for entity in used if entity.topic_name == name} - {kind}
    if others:
        kinds = " and ".join(sorted(map(_type_name, {kind, *others})))
        raise SubscriptionError(f"the node would use {name} as {kinds}; change a remapping")
    try:
        return node.create_subscription(kind, topic, callback, qos, **options)
    except (ParameterException, RuntimeError, TypeError, ValueError) as error:  # RCLError is a RuntimeError
        raise SubscriptionError(f"{name} cannot be subscribed to: {error}; check qos_overrides.{name}") from error


def _type_name(kind: type) -> str:
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
