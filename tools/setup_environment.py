# SPDX-License-Identifier: Apache-2.0
"""Makes the environment `.venv` of this checkout: Python packages, ROS 2 wheels, generated messages.

    python3 tools/setup_environment.py [--renderer]

Every step keeps the digest of what it was made from and is passed over while that is unchanged. The full
output goes to out/setup.log.
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
    "overlay",
    "package.xml",
    "tools/ros_wheels.cmake",
    "seqpose_ros/__init__.py",
)
# How lines begin that tell where pip, CMake and make are; the rest is detail for the log.
NEWS = ("Collecting ", "Downloading ", "Building ", "Installing ", "-- ", "[")
VERIFY = """
import cv2, scipy, torch, transformers, rclpy, rosbags, tf2_ros
import sensor_msgs.msg, tf2_msgs.msg, vision_msgs.msg, seqpose_ros.msg, seqpose_core
print(f"torch {torch.__version__}, transformers {transformers.__version__}, rclpy and all messages import")
"""


class SetupError(Exception):
    """Something that the user has to put right."""


def check_python() -> None:
    """Refuse a Python that the ROS wheels or the pinned packages are not made for."""
    lowest, highest = PYTHON_RANGE
    if not lowest <= sys.version_info[:2] <= highest:
        wanted = "Python {}.{} to {}.{}".format(*lowest, *highest)
        raise SetupError(
            f"{sys.executable} is Python {sys.version.split()[0]}, wanted {wanted}: "
            "name another one with `make PYTHON=python3.11 ...`"
        )


def check_environment() -> None:
    """Refuse to go on with an environment that another Python made."""
    config = VENV / "pyvenv.cfg"
    version = sys.version.split()[0]
    if config.exists() and f"version = {version}" not in config.read_text():
        raise SetupError(f"{VENV} is not of Python {version} ({sys.executable}): `make distclean` removes it")


def missing_system_packages(renderer: bool) -> list[str]:
    """Debian and Ubuntu packages that are needed and absent, with `renderer` also those of the renderer."""
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
    """Stop with the line to install what the system lacks."""
    missing = missing_system_packages(renderer)
    if missing:
        line = "sudo apt install " + " ".join(missing)
        raise SetupError(f"the system lacks packages; install them with\n\n    {line}")


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
    """One step of the set-up: runs commands, logs their output, shows on one line what is going on."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.note = "working"
        self.done = threading.Event()

    def __enter__(self) -> Step:
        self.ticker = threading.Thread(target=self._tick, daemon=True)
        self.ticker.start()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.done.set()
        self.ticker.join()
        self._show("done" if kind is None else "failed", last=True)

    def run(self, *command: str | Path, env: dict[str, str] | None = None) -> None:
        """Run a command; its latest news are shown beside the step's title.

        :raise SetupError: the command failed; holds the end of its output.
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
                if line.lstrip().startswith(NEWS):
                    self.note = line.strip()
        if process.wait() != 0:
            raise SetupError(
                f"{self.title}: `{command[0]}` exited with {process.returncode} (all output: {LOG})\n\n    "
                + "\n    ".join(tail)
            )

    def _tick(self) -> None:
        # A terminal has its line rewritten twice a second; anything else gets a line now and then.
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


def _up_to_date(stamp: Path, state: str) -> bool:
    return stamp.exists() and stamp.read_text() == state


def install_packages() -> bool:
    """Create the environment and install the packages of pyproject.toml at the versions of constraints.txt."""
    stamp = VENV / ".packages"
    state = digest([ROOT / "pyproject.toml", ROOT / "constraints.txt"])
    if _up_to_date(stamp, state):
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
            "--progress-bar",
            "off",
            "--constraint",
            "constraints.txt",
            "--editable",
            f"{ROOT}[dev,ros,train]",
        )
    stamp.write_text(state)
    return True


def build_interfaces() -> bool:
    """Generate the messages of this package and of the overlay, and install them into the environment."""
    stamp = VENV / ".interfaces"
    state = digest([ROOT / name for name in INTERFACE_SOURCES])
    if _up_to_date(stamp, state):
        return False
    cmake = VENV / "bin" / "cmake"
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "AMENT_PREFIX_PATH": str(VENV), "PATH": path}
    for package in INTERFACE_PACKAGES:
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
    stamp.write_text(state)
    return True


def main() -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Make the environment .venv of this checkout.")
    parser.add_argument("--renderer", action="store_true", help="ask for the renderer's system packages too")
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
        print(f"\nset-up stopped: {error}\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
