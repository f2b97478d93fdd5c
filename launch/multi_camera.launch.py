# SPDX-License-Identifier: Apache-2.0
"""Start one node per camera in one process, with one copy of the weights.

ros2 launch seqpose_ros multi_camera.launch.py cameras:="left right"

The node of camera `left` is /left/seqpose_node; it subscribes to /left/image_raw and /left/camera_info.
"""

from __future__ import annotations

from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from seqpose_ros.launch_arguments import LOG_LEVELS, argument, existing_params_file, installed_config


def generate_launch_description() -> LaunchDescription:
    """One process; every node configures and activates itself unless params_file sets autostart to false."""
    return LaunchDescription(
        [
            argument("cameras", "left right", "Namespaces of the cameras, separated by spaces."),
            argument("image", "image_raw", "Image topic within each namespace."),
            argument("camera_info", "camera_info", "CameraInfo topic within each namespace."),
            argument("params_file", installed_config("seqpose.yaml"), "YAML file with the parameters of all nodes."),
            argument("log_level", "info", "Lowest level that is logged.", LOG_LEVELS),
            OpaqueFunction(function=_node),
        ]
    )


def _node(context: LaunchContext) -> list[Node]:
    cameras = LaunchConfiguration("cameras").perform(context).split()
    if not cameras:
        raise ValueError("cameras is empty; give at least one namespace")
    return [
        Node(
            package="seqpose_ros",
            executable="seqpose_node",
            arguments=["--cameras", *cameras],
            parameters=[existing_params_file(context)],
            remappings=[
                ("image", LaunchConfiguration("image")),
                ("camera_info", LaunchConfiguration("camera_info")),
            ],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
            emulate_tty=True,
        )
    ]
