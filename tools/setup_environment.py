# SPDX-License-Identifier: Apache-2.0
"""Create the environment `.venv` of this checkout: Python packages, ROS 2 wheels, generated messages.

    python3 tools/setup_environment.py [--renderer]

Each step stores a digest of its inputs and is skipped while the digest is unchanged. The full output is written to
out/setup.log.
"""

from __future__ import annotations

import argparse
import ctypes
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = ROOT / "out" / "setup.log"
PYTHON_RANGE = ((3, 10), (3, 12))
INTERFACE_PACKAGES = ("overlay/tf2_msgs", "overlay/vision_msgs", "overlay/tf2_ros_py", ".")
INTERFACE_SOURCES = (
    "CMakeLists.txt",
    "constraints.txt",
    "msg",
    "overlay/COLCON_IGNORE",
    "overlay/tf2_msgs",
    "overlay/tf2_ros_py",
    "overlay/vision_msgs",
    "package.xml",
    "srv",
    "tools/ros_wheels.cmake",
    "seqpose_ros/__init__.py",
)
# Starts of the output lines that report the progress of pip, CMake and make.
PROGRESS_PREFIXES = ("Collecting ", "Downloading ", "Building ", "Installing ", "-- ", "[")
VERIFY = """
import cv2, scipy, torch, transformers, rclpy, rosbags, tf2_ros
import sensor_msgs.msg, tf2_msgs.msg, vision_msgs.msg, seqpose_ros.msg, seqpose_core
print(f"torch {torch.__version__}, transformers {transformers.__version__}, rclpy and all messages import")
"""


class SetupError(Exception):
    """The set-up cannot continue; the message states what to install or change."""


def check_python() -> None:
    """Check that the ROS wheels and the pinned packages support this Python.

    :raises SetupError: they do not.
    """
    lowest, highest = PYTHON_RANGE
    if not lowest <= sys.version_info[:2] <= highest:
        wanted = "{}.{} to {}.{}".format(*lowest, *highest)
        raise SetupError(
            f"{sys.executable} is Python {sys.version.split()[0]}; it must be {wanted}. "
            "Select another one with `make PYTHON=python3.11 ...`"
        )


def check_environment() -> None:
    """Check that an existing environment was created by this Python.

    :raises SetupError: it was created by another version.
    """
    config = VENV / "pyvenv.cfg"
    version = sys.version.split()[0]
    if config.exists() and f"version = {version}" not in config.read_text():
        raise SetupError(
            f"{VENV} was created by another Python than {sys.executable} ({version}); remove it with `make distclean`"
        )


def missing_system_packages(renderer: bool) -> list[str]:
    """Names of the required Debian and Ubuntu packages that are not installed.

    :param renderer: whether the packages of the renderer are required as well.
    """
    missing = []
    if not all(shutil.which(tool) for tool in ("gcc", "g++", "make")):
        missing.append("build-essential")
    minor = f"python3.{sys.version_info[1]}"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing.append(f"{minor}-dev")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing.append(f"{minor}-venv")
    if renderer:
        libraries = {"libegl1": "libEGL.so.1", "libgl1": "libGL.so.1"}
        missing += [package for package, library in libraries.items() if not _loads(library)]
        drivers = ("/usr/lib/*/dri/swrast_dri.so", "/usr/lib/*/libgallium*.so")
        if not any(glob.glob(driver) for driver in drivers):
            missing.append("libgl1-mesa-dri")
    return missing


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def check_system(renderer: bool) -> None:
    """Check the system packages.

    :raises SetupError: packages are missing; the message has the command that installs them.
    """
    missing = missing_system_packages(renderer)
    if missing:
        line = "sudo apt install " + " ".join(missing)
        raise SetupError(f"system packages are missing; install them with\n\n    {line}")


def digest(paths: list[Path]) -> str:
    """A digest of the names and contents of files, and of the files inside folders."""
    sum_ = hashlib.sha256(sys.version.encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                sum_.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return sum_.hexdigest()


class Step:
    """One step of the set-up: it runs commands, logs their output and shows the progress in one line."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.note = "working"
        self.done = threading.Event()

    def __enter__(self) -> Step:
        self.display = threading.Thread(target=self._show_progress, daemon=True)
        self.display.start()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.done.set()
        self.display.join()
        self._show("done" if kind is None else "failed", last=True)

    def run(self, *command: str | Path, env: dict[str, str] | None = None) -> None:
        """Run a command and show its latest progress line next to the title of the step.

        :raises SetupError: the command failed; the message has the end of its output.
        """
        tail: list[str] = []
        with open(LOG, "a", encoding="utf-8") as log:
            log.write("\n$ " + " ".join(map(str, command)) + "\n")
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=ROOT,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                log.flush()
                tail = [*tail[-14:], line.rstrip()]
                if line.lstrip().startswith(PROGRESS_PREFIXES):
                    self.note = line.strip()
        if process.wait() != 0:
            raise SetupError(
                f"{self.title}: `{command[0]}` exited with {process.returncode} (all output: {LOG})\n\n    "
                + "\n    ".join(tail)
            )

    def _show_progress(self) -> None:
        # In a terminal the line is rewritten twice per second; otherwise a new line is printed every 20 s.
        interval = 0.5 if sys.stdout.isatty() else 20.0
        while not self.done.wait(interval):
            self._show(self.note)

    def _show(self, text: str, last: bool = False) -> None:
        line = f"  {self.title} {time.monotonic() - self.started:4.0f} s  {text}"
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{line[:width]:<{width}}", end="\n" if last else "", flush=True)
        else:
            print(line[:110], flush=True)


def up_to_date(stamp: Path, state: str) -> bool:
    return stamp.exists() and stamp.read_text() == state


def install_packages() -> bool:
    """Create the environment and install the packages of pyproject.toml at the versions of constraints.txt."""
    stamp = VENV / ".packages"
    state = digest([ROOT / "pyproject.toml", ROOT / "constraints.txt"])
    if up_to_date(stamp, state):
        return False
    check_environment()
    if not (VENV / "bin" / "pip").exists():
        with Step("environment    ") as step:
            step.run(sys.executable, "-m", "venv", VENV)
    with Step("Python packages") as step:
        step.run(
            VENV / "bin" / "pip",
            "install",
            "--disable-pip-version-check",
            "--no-compile",  # 0.4 GB; modules are compiled when they are first imported
            "--progress-bar",
            "off",
            "--constraint",
            "constraints.txt",
            "--editable",
            f"{ROOT}[dev,openvino,ros,train,view]",
        )
    stamp.write_text(state)
    return True


def build_interface_package(package: str) -> None:
    """Generate the messages of one package and install them into the environment.

    :param package: its folder, relative to the root of the checkout.
    """
    cmake = VENV / "bin" / "cmake"
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "AMENT_PREFIX_PATH": str(VENV), "PATH": path}
    source = (ROOT / package).resolve()
    name = "seqpose_ros" if source == ROOT else source.name
    build = ROOT / "out" / "build" / name
    shutil.rmtree(build, ignore_errors=True)
    with Step(f"{name:<15}") as step:
        step.run(
            cmake,
            "-S",
            source,
            "-B",
            build,
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
            "-DSEQPOSE_INTERFACES_ONLY=ON",
            f"-DCMAKE_INSTALL_PREFIX={VENV}",
            f"-DCMAKE_PREFIX_PATH={VENV}",
            f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'tools' / 'ros_wheels.cmake'}",
            f"-DPython3_EXECUTABLE={VENV / 'bin' / 'python'}",
            "-DPython3_FIND_VIRTUALENV=ONLY",
            "--no-warn-unused-cli",
            env=env,
        )
        step.run(cmake, "--build", build, "--parallel", str(os.cpu_count() or 1), env=env)
        step.run(cmake, "--install", build, env=env)


def build_interfaces() -> bool:
    """Generate the messages of this package and of the overlay, and install them into the environment."""
    stamp = VENV / ".interfaces"
    state = digest([ROOT / name for name in INTERFACE_SOURCES])
    if up_to_date(stamp, state):
        return False
    for package in INTERFACE_PACKAGES:
        build_interface_package(package)
    stamp.write_text(state)
    return True


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description="Create the environment .venv of this checkout.")
    parser.add_argument("--renderer", action="store_true", help="also check the system packages of the renderer")
    arguments = parser.parse_args()
    LOG.parent.mkdir(exist_ok=True)
    try:
        check_python()
        check_system(arguments.renderer)
        changed = [install_packages(), build_interfaces()]
        if any(changed):
            with Step("imports        ") as step:
                step.run(VENV / "bin" / "python", "-c", VERIFY)
    except SetupError as error:
        print(f"\nset-up failed: {error}\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
