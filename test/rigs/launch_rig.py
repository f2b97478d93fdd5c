# SPDX-License-Identifier: Apache-2.0
"""Run a launch file without the launch package, which is not on PyPI: stand-ins for the few classes that it uses."""

from __future__ import annotations

import signal
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STOP_TIMEOUT = 60.0  # seconds


class LaunchConfiguration:
    def __init__(self, name: str) -> None:
        self.name = name


class DeclareLaunchArgument:
    def __init__(self, name: str, *, default_value: str, description: str) -> None:
        self.name, self.default, self.description = name, default_value, description


class ExecuteProcess:
    def __init__(self, *, cmd: Sequence[Any], output: str) -> None:
        self.command = list(cmd)


class Node:
    def __init__(
        self,
        *,
        package: str,
        executable: str,
        name: str,
        output: str,
        namespace: str = "",
        parameters: Sequence[dict[str, Any]] = (),
        remappings: Sequence[tuple[Any, Any]] = (),
    ) -> None:
        assert package == "seqpose_ros"
        self.command = [sys.executable, str(ROOT / "scripts" / executable), "--ros-args", "-r", f"__node:={name}"]
        for key, value in (item for table in parameters for item in table.items()):
            self.command += ["-p", [f"{key}:=", value]]
        for source, target in remappings:
            self.command += ["-r", [f"{source}:=", target]]


class LifecycleNode(Node):
    pass


class LaunchDescription:
    def __init__(self, entities: Sequence[Any]) -> None:
        self.entities = entities


def load(path: Path, patch: pytest.MonkeyPatch) -> LaunchDescription:
    """The launch description of a file."""
    modules = {
        "launch": {"LaunchDescription": LaunchDescription},
        "launch.actions": {"DeclareLaunchArgument": DeclareLaunchArgument, "ExecuteProcess": ExecuteProcess},
        "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": Node, "LifecycleNode": LifecycleNode},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        patch.setitem(sys.modules, name, module)
    namespace: dict[str, Any] = {"__name__": "launch_file"}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    description = namespace["generate_launch_description"]()
    assert isinstance(description, LaunchDescription)
    return description


class Launched:
    """The processes of a launch description. ``arguments`` override the defaults."""

    def __init__(self, description: LaunchDescription, log: Path, **arguments: str) -> None:
        values = {e.name: e.default for e in description.entities if isinstance(e, DeclareLaunchArgument)}
        assert arguments.keys() <= values.keys()
        self.values = values | arguments
        self.log_file = log
        with log.open("wb") as output:
            self.processes = [
                subprocess.Popen([self.resolve(part) for part in entity.command], stdout=output, stderr=output)
                for entity in description.entities
                if isinstance(entity, (Node, ExecuteProcess))
            ]

    def resolve(self, part: Any) -> str:
        """A part of a command as text."""
        if isinstance(part, (list, tuple)):
            return "".join(map(self.resolve, part))
        return self.values[part.name] if isinstance(part, LaunchConfiguration) else str(part)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def failed(self) -> list[int]:
        """Exit statuses of processes that ended with an error."""
        return [status for process in self.processes if (status := process.poll())]

    def stop(self) -> list[int]:
        """Send SIGINT to all; returns their exit statuses."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        return [process.wait(STOP_TIMEOUT) for process in self.processes]
