# SPDX-License-Identifier: Apache-2.0
"""Start seqpose_node on one camera.

ros2 launch seqpose_ros seqpose.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
"""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

# Arguments that are parameters of the node: those given stand over params_file, the others are left to it.
PARAMETERS = {
    "checkpoint": str,
    "device": str,
    "image_transport": str,
    "autostart": bool,
    "use_sim_time": bool,
}


def generate_launch_description() -> LaunchDescription:
    """One lifecycle node; with ``autostart`` it configures and activates itself."""
    params_file = PathJoinSubstitution([FindPackageShare("seqpose_ros"), "config", "seqpose.yaml"])
    switch = ["", "true", "false"]
    return LaunchDescription(
        [
            _argument("namespace", "", "Namespace of the node and its topics."),
            _argument("node_name", "seqpose_node", "Name of the node."),
            _argument("image", "/camera/image_raw", "Image topic; compressed images are at <image>/compressed."),
            _argument("camera_info", "/camera/camera_info", "CameraInfo topic of the image."),
            _argument("params_file", params_file, "YAML file of the node's parameters."),
            _argument("checkpoint", "", "Bundled checkpoint, or a folder or file of one; empty: as params_file."),
            _argument("device", "", "cpu, cuda or cuda:<number>; empty: as params_file."),
            _argument("image_transport", "", "Form of the images; empty: as params_file.", ["", "raw", "compressed"]),
            _argument("autostart", "", "false: a lifecycle manager configures and activates the node.", switch),
            _argument("use_sim_time", "", "true: time comes from /clock, as of a bag played with --clock.", switch),
            _argument(
                "log_level",
                "info",
                "Least level that is logged.",
                ["debug", "info", "warn", "error", "fatal"],
            ),
            OpaqueFunction(function=_node),
        ]
    )


def _argument(name: str, default: object, description: str, choices: list[str] | None = None) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)


def _node(context: LaunchContext) -> list[LifecycleNode]:
    given = [name for name in PARAMETERS if LaunchConfiguration(name).perform(context)]
    return [
        LifecycleNode(
            package="seqpose_ros",
            executable="seqpose_node",
            name=LaunchConfiguration("node_name"),
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                LaunchConfiguration("params_file"),
                {n: ParameterValue(LaunchConfiguration(n), value_type=PARAMETERS[n]) for n in given},
            ],
            remappings=[
                ("image", LaunchConfiguration("image")),
                ("camera_info", LaunchConfiguration("camera_info")),
            ],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
            emulate_tty=True,
        )
    ]
