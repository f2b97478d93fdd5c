# SPDX-License-Identifier: Apache-2.0
"""Arguments that the launch files share. Needs the launch package of a ROS 2 distribution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext

SWITCH = ["true", "false"]
LOG_LEVELS = ["debug", "info", "warn", "error", "fatal"]


def argument(name: str, default: object, description: str, choices: list[str] | None = None) -> DeclareLaunchArgument:
    """A launch argument.

    :param default: a string or substitution; None: the argument must be given.
    """
    return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)


def installed_config(file: str) -> PathJoinSubstitution:
    """Path of an installed file of ``config/``."""
    return PathJoinSubstitution([FindPackageShare("seqpose_ros"), "config", file])


def existing_params_file(context: LaunchContext) -> str:
    """The value of the argument ``params_file``.

    :raises FileNotFoundError: the file does not exist; launch_ros itself only warns.
    """
    path = LaunchConfiguration("params_file").perform(context)
    if not Path(path).is_file():
        raise FileNotFoundError(f"params_file {path} does not exist")
    return str(path)
