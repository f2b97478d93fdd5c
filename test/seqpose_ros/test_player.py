# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are played."""

from __future__ import annotations

from pathlib import Path

import pytest
from ros_rig import Client

from seqpose_ros.bags.player import play

IMAGE, INFO = "/camera/image_raw/compressed", "/camera/camera_info"


@pytest.mark.parametrize(
    ("excluded", "missing"),
    [(["/camera/"], {IMAGE, INFO}), ([IMAGE], {IMAGE}), (["/cam/", "/camera", "camera_info"], set())],
)
def test_excluded_topics_are_not_played(excluded: list[str], missing: set[str], client: Client, bag_path: Path) -> None:
    played = set(play(client.node, bag_path, rate=1000.0)["sent"])
    assert missing <= played
    assert set(play(client.node, bag_path, rate=1000.0, excluded=excluded)["sent"]) == played - missing
