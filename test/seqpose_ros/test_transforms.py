# SPDX-License-Identifier: Apache-2.0
"""A node that is configured and cleaned up several times, and the jumps of its clock."""

from __future__ import annotations

import subprocess
import sys

from geometry_msgs.msg import TransformStamped
from rclpy.parameter import Parameter
from ros_rig import STAMP, Client, header
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from seqpose_ros.errors import InputError
from seqpose_ros.transforms import TransformLookup

_REPEATED_CONFIGURATION = """
import gc, rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter
from seqpose_ros.transforms import TransformLookup

rclpy.init()
node = Node("camera")
for _ in range(20):
    TransformLookup(node).close()
    gc.collect()
print([name for name, _ in node.get_service_names_and_types_by_node("camera", "/") if "tf2" in name])
node.set_parameters([Parameter("use_sim_time", value=True)])
"""


def test_a_jump_of_the_clock_after_repeated_configuration_does_not_crash_the_process(private_domain: None) -> None:
    done = subprocess.run([sys.executable, "-c", _REPEATED_CONFIGURATION], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_jump_of_the_clock_clears_the_moving_transforms_until_the_lookup_is_closed(client: Client) -> None:
    lookup = TransformLookup(client.node)
    publisher = client.tf_publisher()
    at = header(STAMP, "world")

    def is_known() -> bool:
        try:
            lookup.lookup("world", "camera", at.stamp)
        except InputError:
            return False
        return True

    transform = TransformStamped(header=Header(stamp=at.stamp, frame_id="world"), child_frame_id="camera")
    transform.transform.rotation.w = 1.0
    publisher.publish(TFMessage(transforms=[transform]))
    client.until(is_known, "the transform")
    client.node.set_parameters([Parameter("use_sim_time", value=True)])
    assert not is_known()
    publisher.publish(TFMessage(transforms=[transform]))
    client.until(is_known, "the transform")
    lookup.close()
    client.node.set_parameters([Parameter("use_sim_time", value=False)])
    assert is_known()  # no callback any more
