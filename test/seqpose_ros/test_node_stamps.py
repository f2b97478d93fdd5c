# SPDX-License-Identifier: Apache-2.0
"""Image stamps that repeat, jump back or belong to another clock, and images that wait for slow tf, over DDS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from ros_rig import STAMP, Client, FakeEstimator, InProcess, header, mug, picture
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage

from seqpose_ros.parameters import Settings

Start = Callable[..., InProcess]


def camera_at(x: float, stamp: float) -> TFMessage:
    """The camera at (x, 0, 0) in the world."""
    transform = TransformStamped(header=header(stamp, "world"), child_frame_id="camera")
    transform.transform.translation.x, transform.transform.rotation.w = x, 1.0
    return TFMessage(transforms=[transform])


def test_tf_is_broadcast_once_for_a_repeated_stamp_and_the_repetition_is_reported(client: Client, start: Start) -> None:
    start(FakeEstimator([mug()]))
    transforms = client.listen(TFMessage, "/tf")
    client.connect()
    client.send_first(picture(), STAMP)
    client.counts()
    transforms.clear()
    for _ in range(3):
        client.detections.clear()
        client.send(picture(), STAMP + 1)
    client.send(picture(), STAMP + 2)
    client.until(lambda: transforms and transforms[-1].transforms[0].header == header(STAMP + 2), "tf")
    assert [m.transforms[0].header for m in transforms] == [header(STAMP + 1), header(STAMP + 2)]
    client.until(lambda: "repeat the stamp" in client.diagnostics[-1].status[0].message, "the warning")
    assert client.diagnostics[-1].status[0].level == DiagnosticStatus.WARN


@pytest.mark.parametrize(("offset", "text"), [(-3600.0, "3600 s behind the node's clock"), (30.0, "ahead of the")])
def test_stamps_of_another_clock_are_reported_and_give_no_latency(
    offset: float, text: str, client: Client, start: Start
) -> None:
    start(FakeEstimator())
    client.connect()
    client.send_first(picture(), time.time() + offset)
    client.until(lambda: text in client.diagnostics[-1].status[0].message, text)
    assert client.diagnostics[-1].status[0].level == DiagnosticStatus.WARN
    assert client.values()["latency_p50_ms"] == "none yet"
    assert float(client.values()["inference_p50_ms"]) >= 0.0


def test_a_simulated_clock_that_stands_still_is_reported_and_images_are_processed(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, use_sim_time=True, fixed_frame="world")
    clock = client.node.create_publisher(Clock, "/clock", 10)
    client.connect()
    client.send_first(picture(), STAMP)
    client.until(lambda: "no time was received on /clock" in client.diagnostics[-1].status[0].message, "no clock")
    client.until(clock.get_subscription_count, "the node's subscription to /clock")
    for index in range(1, 4):  # the clock is paused and the camera is not
        clock.publish(Clock(clock=header(STAMP).stamp))
        client.send(picture(), STAMP + index)
    client.until(lambda: "3 s ahead of the node's clock" in client.diagnostics[-1].status[0].message, "the warning")
    assert client.values()["latency_p50_ms"] == "none yet"
    assert [step["stamp"] - STAMP for step in estimator.steps[-3:]] == pytest.approx([1.0, 2.0, 3.0])


def test_the_latency_is_measured_from_a_current_stamp(client: Client, start: Start) -> None:
    start(FakeEstimator())
    client.connect()
    client.send_info()
    client.counts()
    client.send(picture(), time.time() - 0.2)  # 200 ms old on arrival
    client.counts()
    values = client.values()
    assert 200.0 <= float(values["transport_p50_ms"]) <= float(values["latency_p50_ms"])
    assert client.diagnostics[-1].status[0].level == DiagnosticStatus.OK


def test_a_recording_that_starts_again_is_reported_and_uses_its_transforms_again(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, fixed_frame="world", tf_timeout=2.0)
    broadcaster = client.tf_publisher()
    client.connect()
    client.send_info()
    client.counts()
    for run in range(2):
        for index in range(5):  # 20 s: longer than the 10 s that tf keeps, which refuses older transforms
            stamp = STAMP + 5.0 * index
            client.send_image(picture(), stamp)
            client.executor.spin_once(timeout_sec=0.05)
            broadcaster.publish(camera_at(float(index), stamp))
            client.until(lambda s=stamp: client.detections and client.detections[-1].header == header(s), "detections")
            pose = estimator.steps[-1]["camera_pose"]
            assert pose is not None, (run, index)
            np.testing.assert_allclose(pose[:3, 3], [index, 0, 0], atol=1e-9)
    client.until(lambda: "jumped back by 20 s" in client.diagnostics[-1].status[0].message, "the report")


def test_every_processed_image_has_ego_motion_with_tf_at_5_hz(client: Client, start: Start) -> None:
    # The camera moves 1 m per second; images at 10 Hz are between transforms at 5 Hz that arrive up to 200 ms later.
    assert Settings().tf_timeout > 0.2
    estimator = FakeEstimator()
    start(estimator, fixed_frame="world", tf_timeout=1.0)  # beside other programs, tf is later than that
    broadcaster = client.tf_publisher()
    client.connect()
    client.send_info()
    client.counts()
    begin = time.time()
    ended = threading.Event()

    def broadcast() -> None:
        while not ended.wait(0.2):
            now = time.time()
            broadcaster.publish(camera_at(now - begin, now))

    thread = threading.Thread(target=broadcast)
    thread.start()
    time.sleep(0.5)
    for _ in range(30):
        client.send_image(picture(), time.time())
        client.executor.spin_once(timeout_sec=0.0)
        time.sleep(0.1)
    time.sleep(0.3)
    ended.set()
    thread.join()
    assert len(estimator.steps) >= 28
    for step in estimator.steps:
        assert step["camera_pose"] is not None
        assert step["camera_pose"][0, 3] == pytest.approx(step["stamp"] - begin, abs=1e-3)


def test_an_image_is_processed_without_waiting_while_a_later_one_waits_for_tf(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator, fixed_frame="world", tf_timeout=2.0)
    broadcaster = client.tf_publisher()
    client.connect()
    client.send_info()
    client.counts()
    estimator.free.clear()
    broadcaster.publish(camera_at(0.0, STAMP))
    client.send_image(picture(), STAMP)
    client.until(lambda: len(estimator.steps) == 1, "the first step")
    client.send_image(picture(), STAMP + 1.0)  # its transform does not exist yet: it waits outside of the worker
    broadcaster.publish(camera_at(1.0, STAMP + 1.0))
    client.counts()
    estimator.free.set()
    client.until(lambda: len(estimator.steps) == 2, "the second step")
    np.testing.assert_allclose(estimator.steps[1]["camera_pose"][:3, 3], [1, 0, 0], atol=1e-9)
