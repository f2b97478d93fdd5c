# SPDX-License-Identifier: Apache-2.0
"""Start seqpose_node for one camera.

ros2 launch seqpose_ros seqpose.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

# Arguments that are node parameters. Given ones override params_file.
PARAMETERS = {
    "checkpoint": str,
    "device": str,
    "image_transport": str,
    "autostart": bool,
    "use_sim_time": bool,
}


def generate_launch_description() -> LaunchDescription:
    """One lifecycle node; ``autostart`` configures and activates it."""
    params_file = PathJoinSubstitution([FindPackageShare("seqpose_ros"), "config", "seqpose.yaml"])
    switch = ["", "true", "false"]
    return LaunchDescription(
        [
            _argument("namespace", "", "Namespace of the node and its topics."),
            _argument("node_name", "seqpose_node", "Name of the node."),
            _argument("image", "/camera/image_raw", "Image topic; compressed images are on <image>/compressed."),
            _argument("camera_info", "/camera/camera_info", "CameraInfo topic of the image."),
            _argument("params_file", params_file, "YAML file with node parameters."),
            _argument("checkpoint", "", "Bundled checkpoint, or path of a folder or file; empty: from params_file."),
            _argument("device", "", "cpu, cuda or cuda:<number>; empty: from params_file."),
            _argument(
                "image_transport", "", "raw or compressed images; empty: from params_file.", ["", "raw", "compressed"]
            ),
            _argument("autostart", "", "false: a lifecycle manager configures and activates the node.", switch),
            _argument("use_sim_time", "", "true: use /clock, e.g. of a bag played with --clock.", switch),
            _argument(
                "log_level",
                "info",
                "Lowest level that is logged.",
                ["debug", "info", "warn", "error", "fatal"],
            ),
            _argument("rviz", "false", "true: also start rviz2 with config/seqpose.rviz.", ["true", "false"]),
            OpaqueFunction(function=_node),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", PathJoinSubstitution([FindPackageShare("seqpose_ros"), "config", "seqpose.rviz"])],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )


def _argument(name: str, default: object, description: str, choices: list[str] | None = None) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)


def _node(context: LaunchContext) -> list[LifecycleNode]:
    params_file = Path(LaunchConfiguration("params_file").perform(context))
    if not params_file.is_file():  # launch_ros itself only warns
        raise FileNotFoundError(f"params_file {params_file} does not exist")
    given = [name for name in PARAMETERS if LaunchConfiguration(name).perform(context)]
    return [
        LifecycleNode(
            package="seqpose_ros",
            executable="seqpose_node",
            name=LaunchConfiguration("node_name"),
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                str(params_file),
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
