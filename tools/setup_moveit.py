# SPDX-License-Identifier: Apache-2.0
"""Generate the messages of moveit_msgs that the planning scene node publishes, in the environment `.venv`.

    python3 -m tools.setup_moveit

It installs the wheels of the `moveit` extra and builds the packages under overlay/moveit. A ROS 2 distribution has all
of them: `sudo apt install ros-$ROS_DISTRO-moveit-msgs`.
"""

from __future__ import annotations

import sys

from tools.setup_environment import LOG, ROOT, VENV, SetupError, Step, build_interface_package, digest, up_to_date

PACKAGES = tuple(
    f"overlay/moveit/{name}" for name in ("object_recognition_msgs", "octomap_msgs", "moveit_msgs")
)  # in the order of their dependencies
VERIFY = 'from moveit_msgs.msg import PlanningScene; print("moveit_msgs imports")'


def install() -> bool:
    """Install the wheels and build the messages. Returns False if they are up to date.

    :raises SetupError: a command failed.
    """
    stamp = VENV / ".moveit"
    sources = [ROOT / name for name in (*PACKAGES, "constraints.txt", "tools/ros_wheels.cmake")]
    state = digest(sources)
    if up_to_date(stamp, state):
        return False
    pip = (VENV / "bin" / "pip", "install", "--disable-pip-version-check", "--progress-bar", "off")
    with Step("shape_msgs     ") as step:
        step.run(*pip, "--constraint", "constraints.txt", "ros-jazzy-shape-msgs", "ros-jazzy-trajectory-msgs")
    for package in PACKAGES:
        build_interface_package(package)
    with Step("imports        ") as step:
        step.run(VENV / "bin" / "python", "-c", VERIFY)
    stamp.write_text(state)
    return True


def main() -> int:
    """Run the command; returns the exit status."""
    LOG.parent.mkdir(exist_ok=True)
    try:
        install()
    except SetupError as error:
        print(f"\nset-up failed: {error}\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
