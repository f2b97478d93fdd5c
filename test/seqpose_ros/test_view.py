# SPDX-License-Identifier: Apache-2.0
"""The live page: its tables, its requests and buttons in headless Chromium, and its node over DDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest
from browser_rig import CHROMIUM, Browser
from ros_rig import STAMP, Client, FakeEstimator, InProcess, mug, picture

from seqpose_core.grasping import Grasp
from seqpose_ros.view.node import ViewNode
from seqpose_ros.view.state import ViewState, diagnostics_table, gripper_lines, position_sigma, track_table

needs_browser = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


def test_the_standard_deviation_is_that_of_the_least_certain_direction() -> None:
    # 10 cm along (0.6, 0, 0.8), 1 cm across.
    ray = np.array([0.6, 0.0, 0.8])
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = 1e-4 * (np.eye(3) - np.outer(ray, ray)) + 1e-2 * np.outer(ray, ray)
    assert position_sigma(replace(mug(), covariance=covariance)) == pytest.approx(0.1)


def test_the_table_has_centimetres_and_marks_the_selected_object() -> None:
    covariance = np.diag([1e-4, 1e-4, 9e-4, 0, 0, 0])
    table = track_table(
        ViewState(objects=[replace(mug(7), covariance=covariance), mug(8)], selected=7, selection="mug 7, visible")
    )
    first, second = table.split("<tr")[2:]
    assert "font-weight:bold" in first
    assert "bold" not in second
    for cell in ("mug 7", "0.75", "10, -20, 90", "± 3.0", "12 × 10 × 8"):
        assert f">{cell}</td>" in first
    assert "selected: mug 7, visible" in table


def test_the_table_states_which_objects_stand_on_the_support_plane() -> None:
    objects = [replace(mug(7), on_support=True), replace(mug(8), on_support=False), mug(9)]
    table = track_table(ViewState(objects=objects))
    assert [row.count(">yes</td>") for row in table.split("<tr")[2:]] == [1, 0, 0]


def test_text_of_messages_is_escaped() -> None:
    state = ViewState(message="<b>", diagnostics={"<i>": "<script>alert(1)</script>"}, selection="<u>")
    assert "<script>" not in diagnostics_table(state)
    assert "&lt;i&gt;" in diagnostics_table(state)
    assert "&lt;u&gt;" in track_table(state)


def test_a_gripper_is_drawn_with_its_tips_beside_the_grasp() -> None:
    pose = np.eye(4)
    pose[:3, 3] = [1.0, 2.0, 3.0]
    grasp = Grasp(pose, pose, 0.04, 0.06, 0.5, 0.1, "side", 7)
    lines = gripper_lines(grasp, finger_depth=0.05)
    np.testing.assert_allclose(lines[0], [[1.0, 1.97, 3.0], [1.0, 1.97, 2.95]])
    np.testing.assert_allclose(lines[1], [[1.0, 2.03, 3.0], [1.0, 2.03, 2.95]])


@needs_browser
def test_the_page_requests_nothing_from_another_host_and_its_buttons_work(tmp_path: Path) -> None:
    pytest.importorskip("viser", reason="needs viser: pip install 'seqpose[view]'")
    from seqpose_ros.view.page import Page

    called: list[Any] = []
    page = Page("127.0.0.1", 8765, lambda: called.append("reset"), called.append, lambda: called.append("clear"))
    pose = mug(7).transform
    state = ViewState(
        image=picture(),
        objects=[mug(7), mug(None)],
        selected=7,
        selection="mug 7, visible",
        grasps=[Grasp(pose, pose, 0.04, 0.06, 0.5, 0.1, "side", 7)],
        plane=np.array([0.0, -1.0, 0.0, 0.1]),
        diagnostics={"state": "active"},
        message="running",
    )
    try:
        page.show(state)
        with Browser(tmp_path) as browser:
            browser.open(page.address)
            browser.wait_for("document.body?.innerText.includes('Reset memory and tracks')")
            browser.wait_for("document.body.innerText.includes('12 × 10 × 8') && document.querySelector('canvas')")
            assert "mug 7, visible" in browser.evaluate("document.body.innerText")
            # viser merges clicks that follow each other within some milliseconds.
            for number, button in enumerate(["Select", "Clear selection", "Reset memory and tracks"], start=1):
                browser.click(button)
                browser.until(lambda number=number: len(called) == number, f"the call of {button}")
            page.answer("memory and tracks cleared")
            page.show(replace(state, objects=[mug(8)], grasps=(), plane=None))
            browser.wait_for("document.body.innerText.includes('memory and tracks cleared')")
            browser.wait_for("document.body.innerText.includes('mug 8')")
            hosts = {urlparse(url).netloc for url in browser.requests}
            assert browser.errors == []
        assert hosts == {urlparse(page.address).netloc}
        assert any(url.startswith("ws:") for url in browser.requests)  # those of workers are listed too
        assert called == [None, "clear", "reset"]
    finally:
        page.close()


# The node.


@pytest.fixture
def view(private_domain: None) -> Iterator[tuple[ViewNode, list[str]]]:
    """The node of the page, spinning in a thread, and the answers that it got."""
    answers: list[str] = []
    rig = InProcess(partial(ViewNode, "/seqpose_node", "/grasp_node", answers.append))
    yield rig.node, answers
    rig.close()


def test_the_page_shows_and_selects_the_objects_of_a_running_node(
    client: Client, start: Callable[..., InProcess], view: tuple[ViewNode, list[str]]
) -> None:
    node, answers = view
    node.select(7)
    assert answers == ["/seqpose_node/select is not available"]
    start(FakeEstimator([mug(7)]))
    client.connect()
    client.send_first(picture(), STAMP)
    client.until(lambda: client.values().get("listeners_debug_image") == "1", "the subscription of the page")
    client.send(picture(), STAMP + 0.1)
    client.until(lambda: node.state.objects and node.state.image is not None, "objects and image")
    client.until(lambda: node.state.diagnostics.get("state") == "active", "diagnostics")
    assert node.state.image is not None
    assert node.state.image.shape == (48, 64, 3)
    client.until(lambda: node._select.service_is_ready(), "the service")
    node.select(7)
    client.until(lambda: answers[-1] == "mug 7 is selected", "the answer")
    client.send(picture(), STAMP + 0.2)
    client.until(lambda: node.state.selection == "mug 7, visible", "the selected object")
    assert node.state.selected == 7
    node.reset()
    client.until(lambda: answers[-1] == "memory and tracks cleared", "the answer")
    client.until(lambda: node.state.selection == "mug 7, lost", "the loss")
    node.clear_selection()
    client.until(lambda: node.state.selection == "none", "the cleared selection")
