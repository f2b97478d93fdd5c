# SPDX-License-Identifier: Apache-2.0
"""The launch files and the files they refer to. Some tests need the launch package, which is not on PyPI."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqpose_ros.parameters import Settings

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch" / "seqpose.launch.py"
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
needs_launch = pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not installed")


def declared_arguments(file: Path = LAUNCH) -> dict[str, dict[str, Any]]:
    """Declared arguments: name -> default, description and choices."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "argument":
            name, default, description, *choices = (
                ast.literal_eval(a) if isinstance(a, (ast.Constant, ast.List)) else a for a in node.args
            )
            found[name] = {"default": default, "description": description, "choices": choices}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "DeclareLaunchArgument":
            if isinstance(node.args[0], ast.Constant):  # not a variable
                (text,) = (keyword.value for keyword in node.keywords if keyword.arg == "description")
                found[node.args[0].value] = {"description": ast.literal_eval(text)}
    return found


def parameter_arguments() -> dict[str, str]:
    """Arguments that are passed to the node as parameters: name -> name of the type."""
    body = ast.parse(LAUNCH.read_text()).body
    (table,) = (n.value for n in body if isinstance(n, ast.Assign) and n.targets[0].id == "PARAMETERS")
    return {key.value: value.id for key, value in zip(table.keys, table.values, strict=True)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_argument_is_described(file: Path) -> None:
    arguments = declared_arguments(file)
    assert arguments
    for name, argument in arguments.items():
        assert len(argument["description"]) > 10, name


def test_the_launch_files_have_the_arguments_of_the_documentation() -> None:
    names = {"namespace", "image", "camera_info", "params_file", "use_sim_time", "autostart", "log_level", "rviz"}
    assert names <= set(declared_arguments())
    assert {"cameras", "image", "camera_info"} <= set(declared_arguments(ROOT / "launch/multi_camera.launch.py"))
    assert {"bag", "out", "checkpoint", "rviz"} <= set(declared_arguments(ROOT / "launch/replay.launch.py"))


def test_parameter_arguments_exist_in_the_node_with_the_same_type() -> None:
    known = {name: type(value).__name__ for name, value in vars(Settings()).items()}
    for name, kind in parameter_arguments().items():
        assert name in declared_arguments()
        assert {**known, "use_sim_time": "bool"}[name] == kind


def test_omitted_arguments_do_not_override_the_parameter_file() -> None:
    assert {declared_arguments()[name]["default"] for name in parameter_arguments()} == {""}


@pytest.mark.parametrize(
    ("name", "executable"), [("seqpose", "seqpose_node"), ("multi_camera", "seqpose_node"), ("replay", "evaluate_bag")]
)
def test_the_executable_and_the_default_file_are_installed(name: str, executable: str) -> None:
    tree = ast.parse((ROOT / "launch" / f"{name}.launch.py").read_text())
    words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    assert executable in words
    assert (ROOT / "scripts" / executable).is_file()
    for file in words & {"seqpose.yaml", "seqpose.rviz", "fastdds.xml"}:
        assert (ROOT / "config" / file).is_file()
        assert f"config/{file}" in (ROOT / "CMakeLists.txt").read_text()


def test_the_rviz_configuration_shows_topics_of_the_node() -> None:
    view = yaml.safe_load((ROOT / "config" / "seqpose.rviz").read_text())
    topics = {d["Topic"]["Value"] for d in view["Visualization Manager"]["Displays"] if "Topic" in d}
    assert topics == {"/seqpose_node/markers", "/seqpose_node/debug_image"}


def test_the_foxglove_layout_shows_topics_of_the_node() -> None:
    layout = yaml.safe_load((ROOT / "config" / "foxglove.json").read_text())
    (scene,) = (panel for name, panel in layout["configById"].items() if name.startswith("3D!"))
    assert {topic for topic, shown in scene["topics"].items() if shown["visible"]} == {"/seqpose_node/markers"}
    (image,) = (panel for name, panel in layout["configById"].items() if name.startswith("Image!"))
    assert image["imageMode"]["imageTopic"] == "/seqpose_node/debug_image"


@needs_launch
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_launch_description_declares_its_arguments(file: Path) -> None:
    spec = importlib.util.spec_from_file_location("seqpose_launch", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    names = [entity.name for entity in entities if type(entity).__name__ == "DeclareLaunchArgument"]
    assert names == list(declared_arguments(file))


@needs_launch
@pytest.mark.parametrize(
    ("file", "arguments", "executable", "expected"),
    [
        ("seqpose", {"namespace": "left"}, "seqpose_node", "[left.seqpose_node]: active: checkpoint"),
        ("multi_camera", {"cameras": "left right"}, "seqpose_node", "[right.seqpose_node]: active"),
        (
            "replay",
            {"bag": str(ROOT / "seqpose_ros/data/demo_bag"), "rate": "4"},
            "evaluate_bag",
            "process has finished cleanly",
        ),
    ],
)
def test_a_launch_file_runs(
    file: str, arguments: dict[str, str], executable: str, expected: str, tmp_path: Path
) -> None:
    # An installed package with the scripts of this checkout.
    prefix = tmp_path / "prefix"
    (prefix / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (prefix / "share/ament_index/resource_index/packages/seqpose_ros").touch()
    (prefix / "share/seqpose_ros").mkdir()
    (prefix / "share/seqpose_ros/config").symlink_to(ROOT / "config")
    (prefix / "lib/seqpose_ros").mkdir(parents=True)
    script = prefix / "lib/seqpose_ros" / executable
    script.write_text(f"#!{sys.executable}\n" + (ROOT / "scripts" / executable).read_text())
    script.chmod(0o755)
    if file == "replay":
        arguments = {**arguments, "out": str(tmp_path / "out")}
    program = f"""
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource({str(ROOT / "launch" / f"{file}.launch.py")!r})
seen = []
def on_text(event):
    sys.stdout.write(event.text.decode())
    seen.append(event.text.decode())
    if {expected!r} in "".join(seen):
        return Shutdown(reason="seen")
handler = OnProcessIO(on_stdout=on_text, on_stderr=on_text)
included = IncludeLaunchDescription(source, launch_arguments={list(arguments.items())!r})
service = LaunchService()
service.include_launch_description(LaunchDescription([RegisterEventHandler(handler), included]))
sys.exit(service.run())
"""
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": f"{prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "ROS_DOMAIN_ID": str(random.randint(1, 100)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=280)
    assert expected in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    if file == "replay":
        report = json.loads((tmp_path / "out/report.json").read_text())
        assert report["frames_processed"] == 100  # every image of the bag
        assert "error" not in report["realtime"]
        assert 0 < report["realtime"]["frames_processed"] <= 100
        assert (tmp_path / "out/report/report.html").is_file()
