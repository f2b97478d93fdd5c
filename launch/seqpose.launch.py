# SPDX-License-Identifier: Apache-2.0
"""Start seqpose_node for one camera.

ros2 launch seqpose_ros seqpose.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
"""

from __future__ import annotations

from launch.actions import OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription
from seqpose_ros.launch_arguments import LOG_LEVELS, SWITCH, argument, existing_params_file, installed_config

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
    optional_switch = ["", *SWITCH]
    return LaunchDescription(
        [
            argument("namespace", "", "Namespace of the node and its topics."),
            argument("node_name", "seqpose_node", "Name of the node."),
            argument("image", "/camera/image_raw", "Image topic; compressed images are on <image>/compressed."),
            argument("camera_info", "/camera/camera_info", "CameraInfo topic of the image."),
            argument("params_file", installed_config("seqpose.yaml"), "YAML file with node parameters."),
            argument("checkpoint", "", "Bundled checkpoint, or path of a folder or file; empty: from params_file."),
            argument("device", "", "cpu, cuda or cuda:<number>; empty: from params_file."),
            argument(
                "image_transport", "", "raw or compressed images; empty: from params_file.", ["", "raw", "compressed"]
            ),
            argument("autostart", "", "false: a lifecycle manager configures and activates the node.", optional_switch),
            argument("use_sim_time", "", "true: use /clock, e.g. of a bag played with --clock.", optional_switch),
            argument("log_level", "info", "Lowest level that is logged.", LOG_LEVELS),
            argument("rviz", "false", "true: also start rviz2 with config/seqpose.rviz.", SWITCH),
            OpaqueFunction(function=_node),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", installed_config("seqpose.rviz")],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )


def _node(context: LaunchContext) -> list[LifecycleNode]:
    given = [name for name in PARAMETERS if LaunchConfiguration(name).perform(context)]
    return [
        LifecycleNode(
            package="seqpose_ros",
            executable="seqpose_node",
            name=LaunchConfiguration("node_name"),
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                existing_params_file(context),
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
