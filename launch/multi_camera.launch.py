# SPDX-License-Identifier: Apache-2.0
"""Start one node per camera in one process, with one copy of the weights.

ros2 launch seqpose_ros multi_camera.launch.py cameras:="left right"

The node of camera `left` is /left/seqpose_node; it subscribes to /left/image_raw and /left/camera_info.
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """One process; every node configures and activates itself unless params_file sets autostart to false."""
    params_file = PathJoinSubstitution([FindPackageShare("seqpose_ros"), "config", "seqpose.yaml"])
    return LaunchDescription(
        [
            _argument("cameras", "left right", "Namespaces of the cameras, separated by spaces."),
            _argument("image", "image_raw", "Image topic within each namespace."),
            _argument("camera_info", "camera_info", "CameraInfo topic within each namespace."),
            _argument("params_file", params_file, "YAML file with the parameters of all nodes."),
            _argument("log_level", "info", "Lowest level that is logged.", ["debug", "info", "warn", "error", "fatal"]),
            OpaqueFunction(function=_node),
        ]
    )


def _argument(name: str, default: object, description: str, choices: list[str] | None = None) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)


def _node(context: LaunchContext) -> list[Node]:
    params_file = Path(LaunchConfiguration("params_file").perform(context))
    if not params_file.is_file():  # launch_ros itself only warns
        raise FileNotFoundError(f"params_file {params_file} does not exist")
    cameras = LaunchConfiguration("cameras").perform(context).split()
    if not cameras:
        raise ValueError("cameras is empty; give at least one namespace")
    return [
        Node(
            package="seqpose_ros",
            executable="seqpose_node",
            arguments=["--cameras", *cameras],
            parameters=[str(params_file)],
            remappings=[
                ("image", LaunchConfiguration("image")),
                ("camera_info", LaunchConfiguration("camera_info")),
            ],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
            emulate_tty=True,
        )
    ]
