# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.view``: a page in the browser that shows a running node and calls its services."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence

import rclpy
from rclpy.exceptions import NotInitializedException
from rclpy.executors import ExternalShutdownException
from rclpy.utilities import remove_ros_args

from seqpose_core.command_line import command_parser
from seqpose_ros.view.node import ViewNode

_PERIOD = 0.1  # seconds between updates of the page


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; also accepts ROS arguments. Returns the exit status."""
    given = sys.argv if arguments is None else ["seqpose_view", *arguments]
    parser = command_parser(__doc__)
    parser.add_argument("--node", default="/seqpose_node", help="name of the node (default: %(default)s)")
    parser.add_argument("--grasp-node", default="/grasp_node", help="node that publishes grasps (default: %(default)s)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8080, help="the next free one is taken (default: %(default)s)")
    parser.add_argument(
        "--up",
        default="-y",
        choices=["+x", "-x", "+y", "-y", "+z", "-z"],
        help="upward axis of the objects' frame: -y of a camera, +z of a world (default: %(default)s)",
    )
    options = parser.parse_args(remove_ros_args(list(given))[1:])
    try:
        from seqpose_ros.view.page import Page
    except ImportError as error:
        parser.exit(1, f"the page needs viser: pip install 'seqpose[view]' ({error})\n")
    rclpy.init(args=list(given))
    ended = (KeyboardInterrupt, ExternalShutdownException, NotInitializedException)
    with contextlib.suppress(*ended), contextlib.ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        node = ViewNode(options.node, options.grasp_node)
        stack.callback(node.destroy_node)
        page = Page(options.host, options.port, node.reset, node.select, node.clear_selection, options.up)
        stack.callback(page.close)
        node.answer = page.answer
        print(f"open {page.address}", flush=True)
        shown = 0.0
        while rclpy.ok():
            rclpy.spin_once(node, timeout_sec=_PERIOD)
            if node.changed and time.monotonic() - shown >= _PERIOD:
                node.changed, shown = False, time.monotonic()
                page.show(node.state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
