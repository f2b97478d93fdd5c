# SPDX-License-Identifier: Apache-2.0
"""The page of a recorded run, in headless Chromium."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_rig import CHROMIUM, Browser
from ros_rig import CAMERA, mug, picture

from seqpose_core import ObjectPose
from seqpose_core.categories import Category
from seqpose_ros.bags.bag import BagFrame
from seqpose_ros.view.scene_page import write_scene_page

ORIGIN = ObjectPose("can", 0.5, np.eye(3), np.array([0.0, 0.0, 1.0]), np.array([0.2, 0.4, 0.2]), np.diag([4e-4] * 6), 3)


def frames() -> list[BagFrame]:
    return [BagFrame(i, 10**9 + i * 10**8, "camera", picture(i), CAMERA, [mug(None)]) for i in range(3)]


def embedded(path: Path) -> dict[str, Any]:
    text = path.read_text().split('<script id="data" type="application/json">')[1].split("</script>")[0]
    return dict(json.loads(text))


def test_the_page_has_the_boxes_in_metres_and_in_pixels(tmp_path: Path) -> None:
    data = embedded(write_scene_page(tmp_path / "scene.html", "bag", frames(), {0: [ORIGIN], 2: []}))
    first, second, third = data["frames"]
    assert (first["dropped"], second["dropped"], third["dropped"]) == (False, True, False)
    assert third["time"] - first["time"] == pytest.approx(0.2)
    (item,) = first["objects"]
    assert (item["name"], item["sigma"], item["centre"]) == ("can 3", 2.0, [0.0, 0.0, 100.0])
    assert sorted(set(np.ravel(item["corners"]).round(3))) == [-0.2, -0.1, 0.1, 0.2, 0.9, 1.1]
    # fx 90, cx 31: a corner at x 0.1 m, z 0.9 m is at 31 + 90 * 0.1 / 0.9 = 41.
    assert max(p[0] for p in item["pixels"]) == pytest.approx(41.0)
    # The x axis is 0.75 of the extent long.
    assert item["axes"][1] == [0.15, 0.0, 1.0]


def test_points_behind_the_camera_have_no_pixels(tmp_path: Path) -> None:
    behind = replace(ORIGIN, translation=np.array([0.0, 0.0, 0.05]))
    (item,) = embedded(write_scene_page(tmp_path / "scene.html", "bag", frames()[:1], {0: [behind]}))["frames"][0][
        "objects"
    ]
    assert [pixel is None for pixel in item["pixels"]].count(True) == 4


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_the_page_opens_offline_and_its_time_line_shows_each_frame(tmp_path: Path) -> None:
    tag = Category(7, "</script><b>", False, (0.1, 0.1, 0.1), (1, 2, 3))
    named = replace(ORIGIN, category=tag.name, category_info=tag)
    path = write_scene_page(tmp_path / "scene.html", "bag", frames(), {0: [ORIGIN], 1: [ORIGIN, mug()], 2: [named]})
    with Browser(tmp_path / "profile") as browser:
        browser.open(f"file://{path}")
        browser.wait_for("document.getElementById('rows')?.innerText.includes('can 3')")
        browser.evaluate("time.value = 1; time.dispatchEvent(new Event('input'))")
        assert "2 objects" in browser.evaluate("document.body.innerText")
        assert "0.10 s, frame 1" in browser.evaluate("document.body.innerText")
        browser.evaluate("time.value = 2; time.dispatchEvent(new Event('input'))")
        assert "</script><b> 3" in browser.evaluate("document.getElementById('rows').innerText")
        # Something is drawn in the middle of the 3D view.
        browser.evaluate("time.value = 0; time.dispatchEvent(new Event('input'))")
        drawn = "space.getContext('2d').getImageData(0, 0, space.width, space.height).data.some(v => v > 200)"
        assert browser.evaluate(drawn)
        assert browser.requests == [f"file://{path}"]
        assert browser.errors == []
