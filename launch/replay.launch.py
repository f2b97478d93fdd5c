# SPDX-License-Identifier: Apache-2.0
"""Evaluate a recorded bag: play it to the node in real time and write the report; then everything ends.

ros2 launch seqpose_ros replay.launch.py bag:=/data/my_bag out:=/data/report
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import ExecuteProcess, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from launch import Action, LaunchContext, LaunchDescription
from seqpose_ros.launch_arguments import SWITCH, argument, installed_config


def generate_launch_description() -> LaunchDescription:
    """evaluate_bag with --realtime; ``rviz`` shows the outputs of the node while it runs."""
    return LaunchDescription(
        [
            argument("bag", None, "Folder of the bag, or its .mcap or .db3 file."),
            argument("out", None, "Folder for report.json, and the HTML report."),
            argument("checkpoint", "seqpose-lite2", "Bundled checkpoint, or path of a folder or file."),
            argument("rate", "1.0", "Factor on the recorded speed."),
            argument("fixed_frame", "", "World frame for ego-motion from the tf of the bag; empty: none."),
            argument("rviz", "false", "true: also start rviz2.", SWITCH),
            OpaqueFunction(function=_processes),
        ]
    )


def _processes(context: LaunchContext) -> list[Action]:
    bag = Path(LaunchConfiguration("bag").perform(context))
    if not bag.exists():
        raise FileNotFoundError(f"bag {bag} does not exist")
    fixed_frame = LaunchConfiguration("fixed_frame").perform(context)
    arguments = [str(bag), "--realtime", "--same-domain", "--report"]
    for name in ("out", "checkpoint", "rate"):
        arguments += [f"--{name}", LaunchConfiguration(name).perform(context)]
    if fixed_frame:
        arguments += ["--fixed-frame", fixed_frame]
    profile = installed_config("fastdds.xml")
    return [
        # Raw images need a larger shared-memory segment, also in rviz2. (Up to Jazzy; since Kilted.)
        SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
        SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
        # Not a Node action, which appends --ros-args: evaluate_bag is not a node.
        ExecuteProcess(
            cmd=[ExecutableInPackage("evaluate_bag", "seqpose_ros"), *arguments],
            output="screen",
            emulate_tty=True,
            on_exit=Shutdown(reason="the evaluation has ended"),
        ),
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", installed_config("seqpose.rviz")],
            condition=IfCondition(LaunchConfiguration("rviz")),
        ),
    ]
