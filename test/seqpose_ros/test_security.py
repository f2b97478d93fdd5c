# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy allows exactly the topics and services of the node."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from ros_rig import Client, FakeEstimator, InProcess

POLICY = Path(__file__).resolve().parents[2] / "config" / "sros2_policy.xml"
NODE = "/seqpose_node"


def allowed(element: str, action: str) -> set[str]:
    """Full names of the topics or services whose ``action`` (publish, subscribe, reply) is allowed."""
    profile = ET.parse(POLICY).getroot().find("enclaves/enclave/profiles/profile")
    assert profile is not None
    groups = [group for group in profile.findall(element) if group.get(action) == "ALLOW"]
    return {str(item.text).replace("~", NODE) for group in groups for item in group}


def test_the_policy_allows_exactly_what_the_node_uses(client: Client, start: Callable[..., InProcess]) -> None:
    start(FakeEstimator(), fixed_frame="world", use_sim_time=True)
    client.connect()
    node = ("seqpose_node", "/")
    client.until(lambda: node in client.node.get_node_names_and_namespaces(), "the name of the node")
    published = {name for name, _ in client.node.get_publisher_names_and_types_by_node("seqpose_node", "/")}
    subscribed = {name for name, _ in client.node.get_subscriber_names_and_types_by_node("seqpose_node", "/")}
    services = {name for name, _ in client.node.get_service_names_and_types_by_node("seqpose_node", "/")}
    assert published == allowed("topics", "publish")
    camera = {"/camera/image_raw", "/camera/image_raw/compressed", "/camera/camera_info"}
    assert subscribed - {"/image", "/camera_info"} == allowed("topics", "subscribe") - camera
    assert services == allowed("services", "reply")
