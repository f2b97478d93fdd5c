# SPDX-License-Identifier: Apache-2.0
"""Run a small node until a signal, and let it publish a last message before ROS is shut down."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

_SIGNAL_PERIOD = 0.2  # seconds: Python handles a signal only between two waits of an idle node


def run_node(name: str, create: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Create the node, spin it, and destroy it after SIGINT or SIGTERM.

    :param name: of the node, for the log before it exists.
    :param args: command line; None uses that of the process.
    :return: exit status: 1 if a parameter is invalid.
    """
    # rclpy's own handlers shut ROS down at once: nothing could be published any more.
    rclpy.init(args=sys.argv if args is None else [name, *args], signal_handler_options=SignalHandlerOptions.NO)
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()  # not an exception, which could interrupt the creation of the node or a callback

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        node = create()
    except (ParameterException, ValueError) as error:
        rclpy.logging.get_logger(name).fatal(f"bad parameter: {error}")
        rclpy.try_shutdown()
        return 1
    try:
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not stopped.is_set():
            executor.spin_once(_SIGNAL_PERIOD)
    except ExternalShutdownException:
        pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
