# SPDX-License-Identifier: Apache-2.0
"""The node in its own process with a real estimator; the publisher is in another process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_rig import CAMERA, TIMEOUT, Client, Process, header, picture
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from seqpose_core import Camera, ObjectPose, PoseEstimator
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.diagnostics import LOG_PERIOD
from seqpose_ros.from_messages import objects_from_detections
from seqpose_ros.images import image_fields

# Random weights give low scores: report everything.
OPTIONS: dict[str, Any] = {"score_threshold": 0.0, "max_objects": 5}


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**private_ros_environment(), "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def process(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    given = [f"checkpoint:={weights}", *(f"{name}:={value}" for name, value in OPTIONS.items())]
    started = Process(tmp_path_factory.mktemp("log") / "node.log", *given)
    yield started
    assert started.stop() == 0
    assert "Traceback" not in started.log


@pytest.fixture(scope="module")
def client(process: Process) -> Iterator[Client]:
    made = Client()
    made.connect()
    yield made
    made.close()


def make_estimator(weights: Path) -> PoseEstimator:
    return PoseEstimator.from_pretrained(weights, **OPTIONS)


def assert_same(published: list[ObjectPose], expected: list[ObjectPose]) -> None:
    assert [o.category for o in published] == [o.category for o in expected]
    for got, want in zip(published, expected, strict=True):
        assert got.score == pytest.approx(want.score, abs=1e-6)
        for name in ("rotation", "translation", "size", "covariance"):
            np.testing.assert_allclose(getattr(got, name), getattr(want, name), atol=1e-6)


# The tests share one process and run in this order: the first one needs a node without camera_info.


def test_each_invalid_input_is_logged_once_and_valid_images_are_processed_afterwards(
    client: Client, process: Process
) -> None:
    def send_three(text: str, **changes: Any) -> float:
        """Publish an image three times and wait for the problem in the diagnostics; returns the duration in seconds."""
        begin = time.monotonic()
        client.diagnostics.clear()
        for _ in range(3):
            client.image.publish(Image(header=header(1.0), **{**image_fields(picture()), **changes}))
            client.executor.spin_once(timeout_sec=0.1)  # not at once, or only the newest arrives
        client.until(lambda: client.diagnostics and text in client.diagnostics[-1].status[0].message, text)
        return time.monotonic() - begin

    cases: list[tuple[str, Camera | None, dict[str, Any]]] = [
        ("an image came before any valid camera_info", None, {}),
        ("camera_info is 32x24 but the image is 64x48", Camera(90.0, 90.0, 15.5, 11.5, 32, 24), {}),
        ("image encoding '32FC1' is not supported; supported are rgb8", CAMERA, {"encoding": "32FC1"}),
        ("the image is empty (0x0, 0 bytes)", CAMERA, {"width": 0, "height": 0, "step": 0, "data": b""}),
        ("the image holds 5 bytes but 48 rows of 192 bytes take 9216", CAMERA, {"data": b"short"}),
    ]
    for text, camera, changes in cases:
        if camera is not None:
            client.send_info(camera)
        duration = send_three(text, **changes)
        assert process.log.count(text) == 1 or duration > LOG_PERIOD  # logged again after LOG_PERIOD

    assert not client.detections
    assert client.send(picture(), 2.0).detections

    def is_running() -> bool:
        client.send(picture(), time.time())
        return client.diagnostics[-1].status[0].message == "running"

    client.until(is_running, "the problems to end")


def test_node_and_estimator_agree_on_the_same_frames(client: Client, weights: Path) -> None:
    estimator = make_estimator(weights)
    client.send_first(picture(), 2.0)
    for index in range(4):
        stamp = 100.0 + 0.1 * index
        message = client.send(picture(index), stamp)
        expected = estimator.step(picture(index), CAMERA, stamp)
        assert expected
        assert_same(objects_from_detections(message.detections), expected)


def test_after_reset_an_image_gives_the_result_of_a_first_frame(client: Client, weights: Path) -> None:
    fresh = make_estimator(weights).step(picture(5), CAMERA, 100.5)
    assert client.call(Trigger, "/seqpose_node/reset", Trigger.Request()).success
    assert_same(objects_from_detections(client.send(picture(5), 100.5).detections), fresh)


def test_resident_memory_is_the_same_after_100_and_1000_frames(client: Client, process: Process) -> None:
    resident = {}
    pictures = [picture(seed) for seed in range(10)]
    for index in range(1, 1001):
        client.send(pictures[index % 10], 200.0 + 0.05 * index)
        client.detections.clear()
        if index in (100, 1000):
            resident[index] = process.resident_bytes()
    assert resident[1000] < 1.05 * resident[100]
    assert client.counts()["images_processed"] >= 1000


def test_diagnostics_are_published_at_1_hz_with_engine_rates_and_latency(client: Client) -> None:
    client.diagnostics.clear()
    begin = time.monotonic()
    client.until(lambda: len(client.diagnostics) >= 3, "three reports")
    assert 1.5 < time.monotonic() - begin
    values = client.values()
    assert values["state"] == "active"
    assert (values["device"], values["runtime"], values["precision"]) == ("cpu", "openvino", "fp32")
    assert (values["threads"], values["openmp_waiting"]) == ("1", "passive")
    assert float(values["inference_p50_ms"]) > 0
    assert float(values["inference_p95_ms"]) >= float(values["inference_p50_ms"])
    assert {"input_rate_hz", "output_rate_hz", "latency_p50_ms", "images_dropped"} <= values.keys()


def test_the_node_exits_with_an_error_that_names_a_missing_checkpoint(tmp_path: Path) -> None:
    started = Process(tmp_path / "node.log", "checkpoint:=no-such-model")
    try:
        assert started.process.wait(TIMEOUT) == 1
    finally:
        started.stop()
    assert "'no-such-model' could not be loaded" in started.log
    assert "Traceback" not in started.log
