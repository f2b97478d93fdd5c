# SPDX-License-Identifier: Apache-2.0
"""The generated messages: type hashes of the overlay, and fields of seqpose_ros messages."""

from __future__ import annotations

import importlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seqpose_core import CATEGORIES
from seqpose_ros.msg import ObjectPose, ObjectPoseArray

ROOT = Path(__file__).resolve().parents[2]

# RIHS01 hashes of the messages in ROS 2 distributions: two nodes communicate only if the hashes are equal.
PUBLISHED = {
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "vision_msgs/msg/BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "vision_msgs/msg/Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/msg/Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "vision_msgs/msg/LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "vision_msgs/msg/ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "vision_msgs/msg/ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "vision_msgs/msg/VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
}
# The same for the messages of `make moveit`, in moveit_msgs 2.6.0.
PLANNING_SCENE = {
    "moveit_msgs/msg/CollisionObject": "74b0acd6d56be032bf4f764b2c2633f50588b5fb2bd71e97206c59052747cf7e",
    "moveit_msgs/msg/PlanningScene": "0f58540ad5eab4b9ea827d53b763c793d8cabd202b3b301fcee25afa4ce1bd80",
}


def generated_hash(type_name: str) -> str:
    """The hash in the installed type description of a message."""
    package, _, message = type_name.split("/")
    module = importlib.import_module(f"{package}.msg").__file__
    assert module
    prefix = Path(module).parents[5]  # <prefix>/lib/python3.x/site-packages/<package>/msg/__init__.py
    description = json.loads((prefix / "share" / package / "msg" / f"{message}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    return str(hashes[type_name]).removeprefix("RIHS01_")


@pytest.mark.parametrize("type_name", sorted(PUBLISHED))
def test_an_overlay_message_has_the_published_type_hash(type_name: str) -> None:
    assert generated_hash(type_name) == PUBLISHED[type_name]


@pytest.mark.parametrize("type_name", sorted(PLANNING_SCENE))
def test_a_planning_scene_message_has_the_published_type_hash(type_name: str) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    types: Typesdict = {}
    for file in (ROOT / "overlay" / "moveit").glob("*/msg/*.msg"):
        types |= get_types_from_msg(file.read_text(), f"{file.parent.parent.name}/msg/{file.stem}")
    store.register(types)
    assert store.hash_rihs01(type_name).removeprefix("RIHS01_") == PLANNING_SCENE[type_name]


@pytest.mark.parametrize("type_name", sorted(PLANNING_SCENE))
def test_the_built_planning_scene_message_has_the_published_type_hash(type_name: str) -> None:
    pytest.importorskip("moveit_msgs", reason="needs moveit_msgs: make moveit")
    assert generated_hash(type_name) == PLANNING_SCENE[type_name]


def test_every_overlay_message_is_in_the_table_and_can_be_imported() -> None:
    sources = {f"{file.parent.parent.name}/msg/{file.stem}" for file in (ROOT / "overlay").glob("*/msg/*.msg")}
    assert sources == set(PUBLISHED)
    for type_name in sources:
        package, _, message = type_name.split("/")
        assert hasattr(importlib.import_module(f"{package}.msg"), message)


def test_rosbags_computes_the_same_hash_of_our_messages() -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    types: Typesdict = {}
    for name in ("ObjectPose", "ObjectPoseArray", "SelectedObject"):
        types |= get_types_from_msg((ROOT / "msg" / f"{name}.msg").read_text(), f"seqpose_ros/msg/{name}")
    store.register(types)
    for name in types:
        assert store.hash_rihs01(name).removeprefix("RIHS01_") == generated_hash(name)


def test_colcon_finds_the_package_and_ignores_the_overlay() -> None:
    colcon = [sys.executable, "-m", "colcon", "--log-base", "/dev/null", "list", "--names-only"]
    for folder, packages in ((ROOT, ["seqpose_ros"]), (ROOT / "overlay", [])):
        listing = [*colcon, "--base-paths", str(folder)]
        found = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
        assert found.split() == packages


def test_the_header_is_first_and_the_fields_are_as_documented() -> None:
    assert list(ObjectPoseArray.get_fields_and_field_types()) == ["header", "objects"]
    assert ObjectPose.get_fields_and_field_types() == {
        "category": "string",
        "category_id": "uint16",
        "score": "double",
        "pose": "geometry_msgs/PoseWithCovariance",
        "size": "geometry_msgs/Vector3",
        "track_id": "int32",
        "age": "uint32",
        "symmetric": "boolean",
        "on_support": "boolean",
    }
    assert ObjectPose.UNTRACKED == -1


def test_the_message_comment_lists_all_categories() -> None:
    text = (ROOT / "msg" / "ObjectPose.msg").read_text()
    assert all(f'"{category.name}"' in text for category in CATEGORIES)
    assert [category.id for category in CATEGORIES] == list(range(1, 7))


def test_serialisation_of_an_array_is_lossless() -> None:
    mug = ObjectPose(category="mug", category_id=6, score=0.75, track_id=ObjectPose.UNTRACKED, age=3)
    mug.pose.pose.position.z = 0.8
    mug.pose.covariance = np.diag([1e-4] * 3 + [1e-2] * 3).ravel()
    mug.size.y = 0.1
    array = ObjectPoseArray(objects=[mug, ObjectPose(category="can", symmetric=True)])
    array.header.frame_id = "camera_optical_frame"
    assert deserialize_message(serialize_message(array), ObjectPoseArray) == array


def test_the_shared_memory_profile_is_used() -> None:
    program = """
import pathlib, rclpy
folder = pathlib.Path("/dev/shm")
before = set(folder.glob("fastrtps_*"))
rclpy.init()
node = rclpy.create_node("profile_test")
print(max(path.stat().st_size for path in set(folder.glob("fastrtps_*")) - before))
"""
    profile = str(ROOT / "config" / "fastdds.xml")
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    private = {"ROS_DOMAIN_ID": str(random.randint(1, 100)), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    environment = {**os.environ, **private, **dict.fromkeys(names, profile)}
    run = [sys.executable, "-c", program]
    size = subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout
    assert int(size) >= 16 * 2**20
