# SPDX-License-Identifier: Apache-2.0
"""A recorded bag through the complete pipeline: node, planning scene, selected object, ranked grasps.

ros2 launch seqpose_ros grasp_demo.launch.py category:=bottle
"""

from __future__ import annotations

import sys
from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

import seqpose_ros
from launch import LaunchDescription

BUNDLED_BAG = Path(seqpose_ros.__file__).parent / "data" / "demo_bag"


def generate_launch_description() -> LaunchDescription:
    """The player, seqpose_node, planning_scene_node and grasp_node."""
    image, camera_info = LaunchConfiguration("image"), LaunchConfiguration("camera_info")
    topic = [image, "/compressed"]
    player = [
        sys.executable,
        "-m",
        "seqpose_ros.bags.player",
        LaunchConfiguration("bag"),
        "--restamp",
        "--wait-timeout",
        "180",
    ]
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", default_value=str(BUNDLED_BAG), description="Bag with compressed images."),
            DeclareLaunchArgument("image", default_value="/camera/image_raw", description="Its image topic."),
            DeclareLaunchArgument("camera_info", default_value="/camera/camera_info", description="Its CameraInfo."),
            DeclareLaunchArgument("rate", default_value="1.0", description="Factor on the recorded speed."),
            DeclareLaunchArgument("category", default_value="bottle", description="Category that is grasped."),
            LifecycleNode(
                package="seqpose_ros",
                executable="seqpose_node",
                name="seqpose_node",
                namespace="",
                parameters=[{"image_transport": "compressed"}],
                remappings=[("image", image), ("camera_info", camera_info)],
                output="screen",
            ),
            Node(package="seqpose_ros", executable="planning_scene_node", name="planning_scene_node", output="screen"),
            Node(
                package="seqpose_ros",
                executable="grasp_node",
                name="grasp_node",
                parameters=[{"select_category": LaunchConfiguration("category")}],
                output="screen",
            ),
            ExecuteProcess(
                cmd=[*player, "--rate", LaunchConfiguration("rate"), "--wait-for", topic, camera_info], output="screen"
            ),
        ]
    )
