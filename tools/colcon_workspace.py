# SPDX-License-Identifier: Apache-2.0
"""Build this repository in a ROS 2 workspace as a user does, and check the install folder.

    .venv/bin/python tools/colcon_workspace.py WORKSPACE

It runs a plain `colcon build` with the ROS wheels of this environment as the underlay. The wheels need
AMENT_PREFIX_PATH and ros_wheels.cmake; a ROS 2 distribution needs neither.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "seqpose_ros"
INSTALLED = (
    f"lib/{PACKAGE}/seqpose_node",
    f"lib/{PACKAGE}/evaluate_bag",
    f"lib/{PACKAGE}/planning_scene_node",
    f"lib/{PACKAGE}/grasp_node",
    f"share/{PACKAGE}/package.xml",
    f"share/{PACKAGE}/launch/seqpose.launch.py",
    f"share/{PACKAGE}/launch/grasp_demo.launch.py",
    f"share/{PACKAGE}/launch/multi_camera.launch.py",
    f"share/{PACKAGE}/launch/replay.launch.py",
    f"share/{PACKAGE}/config/seqpose.yaml",
    f"share/{PACKAGE}/config/fastdds.xml",
    f"share/{PACKAGE}/config/foxglove.json",
)
IMPORTS = """
import sys, seqpose_core, seqpose_ros.node, seqpose_ros.msg
prefix = sys.argv[1]
for module in (seqpose_core, seqpose_ros.node, seqpose_ros.msg):
    assert module.__file__.startswith(prefix), f"{module.__name__} is {module.__file__}, not in {prefix}"
seqpose_core.PoseEstimator.from_pretrained("seqpose-lite2")
"""


def copy_sources(destination: Path) -> None:
    """Copy the files that git tracks or would add: no environment, no build output."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(destination, ignore_errors=True)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def build(workspace: Path) -> None:
    """Run `colcon build` in the workspace."""
    bin_folder = Path(sys.prefix, "bin")
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    # By default colcon also passes -l, which leaves one job while other programs use the cores.
    jobs = {"MAKEFLAGS": f"-j{os.cpu_count() or 1}"}
    subprocess.run(
        [
            *(sys.executable, "-m", "colcon", "build", "--event-handlers", "console_cohesion-"),
            "--cmake-args",
            f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'tools' / 'ros_wheels.cmake'}",
            f"-DPython3_EXECUTABLE={sys.executable}",
        ],
        cwd=workspace,
        env={**os.environ, **jobs, "AMENT_PREFIX_PATH": sys.prefix, "PATH": path},
        check=True,
    )


def check(workspace: Path) -> None:
    """Check the installed files, and use packages and executables with only the workspace's setup.bash sourced.

    :raises FileNotFoundError: a file is not installed.
    :raises CalledProcessError: a package is imported from elsewhere, or a checkpoint or an executable fails.
    """
    prefix = workspace / "install" / PACKAGE
    for name in INSTALLED:
        file = prefix / name
        if not file.is_file():
            raise FileNotFoundError(f"colcon did not install {file}")
    command = f"""
        set -e
        source '{workspace}/install/setup.bash'
        PATH='{sys.prefix}/bin':$PATH
        python -c "$0" '{prefix}'
        '{prefix}/lib/{PACKAGE}/evaluate_bag' --help > /dev/null
    """
    # In another folder, so that nothing is imported from the checkout.
    subprocess.run(["bash", "-c", command, IMPORTS], cwd=workspace.anchor, check=True)


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Build this repository in a ROS 2 workspace and check the result.")
    parser.add_argument("workspace", type=Path, help="folder of the workspace, created if needed")
    workspace: Path = parser.parse_args().workspace.resolve()
    copy_sources(workspace / "src" / PACKAGE)
    build(workspace)
    check(workspace)
    print(f"{PACKAGE} is installed in {workspace / 'install'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
