# SPDX-License-Identifier: Apache-2.0
"""The launch file and the files it refers to, checked without the launch package, which is not on PyPI."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqpose_ros.parameters import Settings

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch" / "seqpose.launch.py"
TREE = ast.parse(LAUNCH.read_text())


def declared_arguments() -> dict[str, dict[str, Any]]:
    """Declared arguments: name -> default, description and choices."""
    found = {}
    for node in ast.walk(TREE):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_argument":
            name, default, description, *choices = (
                ast.literal_eval(a) if isinstance(a, (ast.Constant, ast.List)) else a for a in node.args
            )
            found[name] = {"default": default, "description": description, "choices": choices}
    return found


def parameter_arguments() -> dict[str, str]:
    """Arguments that are passed to the node as parameters: name -> name of the type."""
    (table,) = (n.value for n in TREE.body if isinstance(n, ast.Assign) and n.targets[0].id == "PARAMETERS")
    return {key.value: value.id for key, value in zip(table.keys, table.values, strict=True)}


def test_every_argument_is_described() -> None:
    arguments = declared_arguments()
    assert {
        "namespace",
        "image",
        "camera_info",
        "params_file",
        "use_sim_time",
        "autostart",
        "log_level",
    } <= set(arguments)
    for name, argument in arguments.items():
        assert len(argument["description"]) > 10, name


def test_parameter_arguments_exist_in_the_node_with_the_same_type() -> None:
    known = {name: type(value).__name__ for name, value in vars(Settings()).items()}
    for name, kind in parameter_arguments().items():
        assert name in declared_arguments()
        assert {**known, "use_sim_time": "bool"}[name] == kind


def test_omitted_arguments_do_not_override_the_parameter_file() -> None:
    assert {declared_arguments()[name]["default"] for name in parameter_arguments()} == {""}


def test_the_executable_and_the_default_file_are_installed() -> None:
    words = {n.value for n in ast.walk(TREE) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    assert {"seqpose_node", "seqpose.yaml"} <= words
    assert (ROOT / "scripts" / "seqpose_node").is_file()
    assert (ROOT / "config" / "seqpose.yaml").is_file()


def test_the_rviz_configuration_shows_topics_of_the_node() -> None:
    view = yaml.safe_load((ROOT / "config" / "seqpose.rviz").read_text())
    topics = {d["Topic"]["Value"] for d in view["Visualization Manager"]["Displays"] if "Topic" in d}
    assert topics == {"/seqpose_node/markers", "/seqpose_node/debug_image"}


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="needs a ROS 2 distribution's launch_ros")
def test_the_launch_description_can_be_generated() -> None:
    spec = importlib.util.spec_from_file_location("seqpose_launch", LAUNCH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = [getattr(entity, "name", None) for entity in module.generate_launch_description().entities]
    assert [name for name in names if name] == list(declared_arguments())
