# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.bags.player BAG``: replay a bag (MCAP or sqlite3) over DDS at its recorded rate.

Messages are published as the recorded bytes. ``--restamp`` moves all header stamps to the time of the replay by the
same offset, so that latency can be measured from them and tf stays consistent with the images.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from seqpose_core.command_line import command_parser
from seqpose_ros.bags.reader import BagReader
from seqpose_ros.stamps import stamp_nanoseconds

MATCH_TIMEOUT = 30.0  # seconds to wait for the subscriptions of --wait-for


@dataclass(frozen=True)
class Timeline:
    """Maps recorded time to replay time (both ns): ``origin`` is played at ``start``, later times at ``rate``."""

    origin: int
    start: int
    rate: float

    def replayed(self, recorded: int) -> int:
        """Replay time of a recorded time, nanoseconds."""
        return self.start + round((recorded - self.origin) / self.rate)


def restamp(message: Any, timeline: Timeline) -> Any:
    """Map every header stamp inside a message to replay time, in place."""
    if isinstance(message, Header):
        stamp = timeline.replayed(stamp_nanoseconds(message.stamp))
        message.stamp.sec, message.stamp.nanosec = divmod(stamp, 10**9)
    elif hasattr(message, "get_fields_and_field_types"):
        for name, kind in message.get_fields_and_field_types().items():
            if "/" in kind:  # a message or a sequence of messages
                restamp(getattr(message, name), timeline)
    elif isinstance(message, (list, tuple)):
        for item in message:
            restamp(item, timeline)
    return message


def play(
    node: Node,
    bag: Path,
    rate: float = 1.0,
    topics: Sequence[str] = (),
    clock: bool = False,
    move_stamps: bool = False,
    wait_for: Sequence[str] = (),
    wait_timeout: float = MATCH_TIMEOUT,
    excluded: Sequence[str] = (),
) -> dict[str, Any]:
    """Publish the messages of the bag in recorded order, each at its replay time.

    :param topics: topics to play; empty plays all topics whose message type is installed.
    :param clock: publish the recorded (or restamped) time on /clock before each message, in place of a recorded /clock.
    :param wait_for: topics that must have a subscription before the first message.
    :param wait_timeout: seconds to wait for these subscriptions.
    :param excluded: topics that are not played; a name with a slash at its end stands for all topics below it.
    :return: ``sent`` messages by topic, the ``timeline``, and the worst lateness in ``late_ms``.
    :raises TimeoutError: a topic of ``wait_for`` got no subscription.
    :raises BagError: the bag cannot be read. A damaged bag is played up to the damage.
    """
    with BagReader(bag) as reader:
        left_out = (*excluded, "/clock") if clock else excluded
        publishers: dict[str, Publisher] = {}
        kinds: dict[str, type] = {}
        for connection in reader.connections:
            kind = message_class(connection.msgtype)
            if (topics and connection.topic not in topics) or _matches(connection.topic, left_out):
                continue
            if kind is None:
                node.get_logger().warning(f"{connection.topic}: {connection.msgtype} is not installed; not played")
                continue
            kinds[connection.topic] = kind
            publishers[connection.topic] = node.create_publisher(kind, connection.topic, _qos(connection.topic))
        clock_publisher = node.create_publisher(Clock, "/clock", 10) if clock else None
        _wait_for_subscriptions(publishers, wait_for, wait_timeout)
        connections = [c for c in reader.connections if c.topic in publishers]
        sent = dict.fromkeys(publishers, 0)
        late = 0.0
        timeline = Timeline(reader.start_time, time.time_ns(), rate)
        for connection, recorded, raw in reader.messages(connections):
            data: Any = bytes(raw)
            if move_stamps:
                try:
                    data = restamp(deserialize_message(data, kinds[connection.topic]), timeline)
                except Exception as error:  # rclpy raises what the middleware's type support does
                    node.get_logger().warning(f"{connection.topic}: skipped a message: {error}")
                    continue
            due = timeline.replayed(recorded)
            ahead = (due - time.time_ns()) * 1e-9
            if ahead > 0:
                time.sleep(ahead)
            late = max(late, -ahead)
            if clock_publisher is not None:
                seconds, nanoseconds = divmod(due if move_stamps else recorded, 10**9)
                message = Clock()
                message.clock.sec, message.clock.nanosec = seconds, nanoseconds
                clock_publisher.publish(message)
            publishers[connection.topic].publish(data)
            sent[connection.topic] += 1
        for text in reader.damage:
            node.get_logger().warning(text)
    return {"sent": sent, "timeline": vars(timeline), "late_ms": round(1e3 * late, 3)}


def message_class(name: str) -> type | None:
    """The Python class of ``package/msg/Name``, or None if the package is not installed."""
    package, _, kind = name.rpartition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError, TypeError, ValueError):  # the last two: not a name of a package
        return None


def _qos(topic: str) -> QoSProfile:
    if topic.endswith("/tf_static"):
        return QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    return QoSProfile(depth=100 if topic.endswith("/tf") else 10)


def _wait_for_subscriptions(publishers: dict[str, Publisher], wait_for: Sequence[str], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    for topic in wait_for:
        if topic not in publishers:
            raise ValueError(f"--wait-for {topic}: the bag plays {', '.join(sorted(publishers))}")
        while publishers[topic].get_subscription_count() == 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no node subscribed to {topic} within {timeout:.0f} s")
            time.sleep(0.01)


def _matches(topic: str, names: Sequence[str]) -> bool:
    """Whether ``names`` has the topic, or a name with a slash at its end that the topic begins with."""
    return any(topic == name or (name.endswith("/") and topic.startswith(name)) for name in names)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; also accepts ROS arguments (``--ros-args -r /a:=/b``)."""
    parser = command_parser(__doc__)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--rate", type=float, default=1.0, help="times the recorded speed (default 1)")
    parser.add_argument("--topics", nargs="+", default=[], help="topics to play (default all)")
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="TOPIC", help="topics not to play; /name/ excludes all below it"
    )
    parser.add_argument("--clock", action="store_true", help="publish /clock, for nodes with use_sim_time")
    parser.add_argument("--restamp", action="store_true", help="move header stamps to the time of the replay")
    parser.add_argument(
        "--wait-for", nargs="+", default=[], metavar="TOPIC", help="wait for a subscription to these topics"
    )
    parser.add_argument(
        "--wait-timeout", type=float, default=MATCH_TIMEOUT, help="seconds to wait for them (default %(default)s)"
    )
    parser.add_argument("--report", type=Path, help="write the number of sent messages and the timing as JSON")
    options = parser.parse_args(remove_ros_args(sys.argv if arguments is None else ["", *arguments])[1:])
    if not options.bag.exists():
        parser.error(f"there is no bag {options.bag}")
    if not 0 < options.rate < math.inf:
        parser.error(f"--rate is {options.rate}; it must be more than 0 and finite")
    rclpy.init(args=None if arguments is None else list(arguments))
    node = Node("seqpose_player")
    try:
        report = play(
            node,
            options.bag,
            options.rate,
            options.topics,
            options.clock,
            options.restamp,
            options.wait_for,
            options.wait_timeout,
            options.exclude,
        )
    except (TimeoutError, ValueError) as error:
        node.get_logger().fatal(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    if options.report is not None:
        options.report.write_text(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
