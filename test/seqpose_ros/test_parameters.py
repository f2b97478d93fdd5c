# SPDX-License-Identifier: Apache-2.0
"""The parameters of the node have descriptions and bounds; bad values are refused with a reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from seqpose_core import EstimatorOptions
from seqpose_ros import parameters
from seqpose_ros.parameters import Settings

PUBLIC = (
    "checkpoint device precision runtime threads categories score_threshold max_objects memory_frames min_hits "
    "max_age max_frame_gap target_frame fixed_frame support_frame support_height use_depth publish_tf "
    "tf_prefix object_axes image_transport rectified autostart"
).split()
LIVE = set(
    "categories score_threshold max_objects min_hits max_age max_frame_gap smoothing tf_timeout publish_tf "
    "support_height support_height_noise support_tilt_noise support_prior".split()
)

MakeNode = Callable[..., Node]


@pytest.fixture(scope="module")
def make_node() -> Iterator[MakeNode]:
    context = Context()
    rclpy.init(context=context)
    nodes = []

    def make(**given: Any) -> Node:
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        nodes.append(Node("node", context=context, parameter_overrides=overrides, start_parameter_services=False))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_every_public_parameter_is_declared_and_described(make_node: MakeNode) -> None:
    node = make_node()
    parameters.declare(node)
    for name in PUBLIC:
        descriptor = node.describe_parameter(name)
        assert descriptor.description
        assert descriptor.read_only == (name not in LIVE), name


def test_the_parameter_file_has_the_default_values() -> None:
    path = Path(__file__).resolve().parents[2] / "config" / "seqpose.yaml"
    defaults_in_file = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    assert defaults_in_file.pop("categories") == [""]
    defaults = dataclasses.asdict(Settings())
    defaults.pop("categories")
    assert defaults_in_file == defaults


def test_the_node_uses_the_defaults_of_the_estimator() -> None:
    assert parameters.estimator_options(Settings()) == EstimatorOptions()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"score_threshold": 1.5}, "score_threshold out of range"),
        ({"score_threshold": -0.5}, "score_threshold is -0.5; it must be -1, or a number from 0 to 1"),
        ({"score_threshold": "high"}, "score_threshold is 'high'; it must be a number"),
        ({"score_threshold": True}, "score_threshold is True; it must be a number"),
        ({"smoothing": float("nan")}, "smoothing"),
        ({"threads": 0}, "threads out of range"),
        ({"max_objects": 0}, "max_objects out of range"),
        ({"min_hits": 0}, "min_hits out of range"),
        ({"max_age": -1}, "max_age out of range"),
        ({"max_frame_gap": 0.0}, "max_frame_gap out of range"),
        ({"memory_frames": -2}, "memory_frames out of range"),
        ({"checkpoint": 3}, "expecting type 'STRING'"),
        ({"device": "gpu"}, "device is 'gpu'; it must be cpu, cuda or cuda:<number>"),
        ({"precision": "fp64"}, "precision is 'fp64'; it must be one of fp32, bf16"),
        ({"runtime": "fast"}, "it must be one of default, auto, eager, compiled, openvino, onnx, tensorrt"),
        ({"object_axes": "enu"}, "object_axes is 'enu'; it must be one of nocs, rep103"),
        ({"image_transport": "theora"}, "it must be one of raw, compressed"),
        ({"categories": ["mug", "cup"]}, "categories has unknown 'cup'; known are bottle, bowl"),
        ({"categories": "mug"}, "categories is 'mug'; it must be a list"),
        ({"target_frame": "/base"}, "target_frame is '/base'; .* no leading slash"),
        ({"tf_prefix": "a b"}, "tf_prefix is 'a b'"),
    ],
)
def test_bad_values_are_refused_with_a_reason(make_node: MakeNode, given: dict[str, Any], expected: str) -> None:
    node = make_node(**given)
    with pytest.raises((ParameterException, ValueError), match=expected):
        parameters.declare(node)
        parameters.read_settings(node)


def test_given_values_are_used(make_node: MakeNode) -> None:
    node = make_node(score_threshold=0.7, categories=["mug", ""], memory_frames=0, device="cuda:1")
    parameters.declare(node)
    settings = parameters.read_settings(node)
    assert (settings.score_threshold, settings.categories, settings.device) == (0.7, ("mug",), "cuda:1")
    assert parameters.estimator_options(settings).memory_frames == 0
    assert parameters.estimator_options(Settings()).memory_frames is None


def test_integers_are_accepted_for_parameters_of_type_double(make_node: MakeNode) -> None:
    node = make_node(score_threshold=0, max_frame_gap=2)
    parameters.declare(node)
    settings = parameters.read_settings(node)
    assert (settings.score_threshold, settings.max_frame_gap) == (0.0, 2.0)
    assert isinstance(settings.score_threshold, float)
    (result,) = node.set_parameters([Parameter("score_threshold", value=1)])
    assert result.successful
    assert parameters.read_settings(node).score_threshold == 1.0


def test_read_only_parameters_cannot_be_changed(make_node: MakeNode) -> None:
    node = make_node()
    parameters.declare(node)
    (result,) = node.set_parameters([Parameter("checkpoint", value="other")])
    assert not result.successful
    assert "read-only" in result.reason
    (result,) = node.set_parameters([Parameter("score_threshold", value=0.9)])
    assert result.successful
    assert parameters.read_settings(node).score_threshold == 0.9


def test_a_misspelled_name_is_distinguished_from_parameters_of_other_nodes(make_node: MakeNode) -> None:
    node = make_node(score_treshold=0.3, frame_rate=30)
    assert parameters.declare(node) == {"score_treshold": "score_threshold"}
