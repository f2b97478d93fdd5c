# SPDX-License-Identifier: Apache-2.0
"""Builds this repository as a user does in a ROS 2 workspace, and checks what stands in the install folder.

    .venv/bin/python tools/colcon_workspace.py WORKSPACE

A plain `colcon build`, with the ROS wheels of this environment as the underlay: that alone is why the build
gets AMENT_PREFIX_PATH and ros_wheels.cmake; on a machine with a ROS 2 distribution neither is needed.
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
    f"share/{PACKAGE}/package.xml",
    f"share/{PACKAGE}/launch/seqpose.launch.py",
    f"share/{PACKAGE}/config/seqpose.yaml",
    f"share/{PACKAGE}/config/fastdds.xml",
)
IMPORTS = """
import sys, seqpose_core, seqpose_ros.node, seqpose_ros.msg
prefix = sys.argv[1]
for module in (seqpose_core, seqpose_ros.node, seqpose_ros.msg):
    assert module.__file__.startswith(prefix), f"{module.__name__} is {module.__file__}, not in {prefix}"
seqpose_core.PoseEstimator.from_pretrained("seqpose-nano")
"""


def copy_sources(destination: Path) -> None:
    """Copy what git knows of, or would: no environment, no output."""
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
    subprocess.run(
        [
            *(sys.executable, "-m", "colcon", "build", "--event-handlers", "console_cohesion-"),
            "--cmake-args",
            f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'tools' / 'ros_wheels.cmake'}",
            f"-DPython3_EXECUTABLE={sys.executable}",
        ],
        cwd=workspace,
        env={**os.environ, "AMENT_PREFIX_PATH": sys.prefix, "PATH": path},
        check=True,
    )


def check(workspace: Path) -> None:
    """Look for the files, then use packages and executables with nothing but the workspace's own set-up.

    :raise FileNotFoundError: a file is not installed.
    :raise CalledProcessError: a package is imported from elsewhere, a checkpoint or an executable fails.
    """
    prefix = workspace / "install" / PACKAGE
    for name in INSTALLED:
        file = prefix / name
        if not file.is_file():
            raise FileNotFoundError(f"colcon installed no {file}")
    command = f"""
        set -e
        source '{workspace}/install/setup.bash'
        PATH='{sys.prefix}/bin':$PATH
        python -c "$0" '{prefix}'
        '{prefix}/lib/{PACKAGE}/evaluate_bag' --help > /dev/null
    """
    # From elsewhere, so that nothing is imported from the checkout by accident.
    subprocess.run(["bash", "-c", command, IMPORTS], cwd=workspace.anchor, check=True)


def main() -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Build this repository in a ROS 2 workspace, and check.")
    parser.add_argument("workspace", type=Path, help="folder of the workspace, made if absent")
    workspace: Path = parser.parse_args().workspace.resolve()
    copy_sources(workspace / "src" / PACKAGE)
    build(workspace)
    check(workspace)
    print(f"{PACKAGE} is built in {workspace / 'install'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
