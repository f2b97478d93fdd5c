# SPDX-License-Identifier: Apache-2.0
"""Lifecycle transitions, parameters and services of the node."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_rig import STAMP, TIMEOUT, Client, FakeEstimator, InProcess, Process, mug, picture
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from seqpose_ros import node
from seqpose_ros.node import SeqPoseNode

Start = Callable[..., InProcess]


def change(client: Client, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return client.call(ChangeState, "/seqpose_node/change_state", request).success


def state(client: Client) -> int:
    return client.call(GetState, "/seqpose_node/get_state", GetState.Request()).current_state.id


def test_the_model_is_loaded_on_configure_and_freed_on_cleanup(client: Client) -> None:
    alive: list[weakref.ref[FakeEstimator]] = []

    def load(settings: Any) -> FakeEstimator:
        estimator = FakeEstimator()
        alive.append(weakref.ref(estimator))
        return estimator

    rig = InProcess(partial(SeqPoseNode, load), autostart=False)
    try:
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert not alive
        assert change(client, Transition.TRANSITION_CONFIGURE)
        assert alive[0]() is not None
        assert client.image.get_subscription_count() == 0
        for _ in range(2):
            assert change(client, Transition.TRANSITION_ACTIVATE)
            assert state(client) == State.PRIMARY_STATE_ACTIVE
            client.detections.clear()
            client.send_first(picture(), STAMP)
            assert change(client, Transition.TRANSITION_DEACTIVATE)
            client.until(lambda: client.image.get_subscription_count() == 0, "the subscription to be destroyed")
        assert not client.call(Trigger, "/seqpose_node/reset", Trigger.Request()).success
        assert len(alive) == 1
        assert alive[0]() is not None
        assert change(client, Transition.TRANSITION_CLEANUP)
        assert alive[0]() is None
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert change(client, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert state(client) == State.PRIMARY_STATE_FINALIZED
    finally:
        rig.close()


def test_tracks_after_a_new_configuration_do_not_get_the_tf_names_of_earlier_ones(client: Client) -> None:
    """Track ids start at 1 again, and tf buffers still have the earlier object."""
    transforms = client.listen(TFMessage, "/tf")
    rig = InProcess(partial(SeqPoseNode, lambda settings: FakeEstimator([mug(1)])), autostart=False)
    try:
        client.until(lambda: rig.node._outputs._tf.get_subscription_count() == 1, "the subscription to tf")
        for stamp, name in ((STAMP, "mug_1"), (STAMP + 1.0, "mug_2")):
            assert change(client, Transition.TRANSITION_CONFIGURE)
            assert change(client, Transition.TRANSITION_ACTIVATE)
            client.detections.clear()
            transforms.clear()
            client.send_first(picture(), stamp)
            client.until(lambda: transforms, "the transform")
            assert [t.child_frame_id for t in transforms[0].transforms] == [name]
            assert change(client, Transition.TRANSITION_DEACTIVATE)
            assert change(client, Transition.TRANSITION_CLEANUP)
            client.until(lambda: client.image.get_subscription_count() == 0, "the end of the subscription")
    finally:
        rig.close()


def test_a_model_that_cannot_be_loaded_leaves_the_node_unconfigured(client: Client) -> None:
    def load(settings: Any) -> FakeEstimator:
        raise ValueError("no such checkpoint")

    rig = InProcess(partial(SeqPoseNode, load), autostart=False)
    try:
        assert not change(client, Transition.TRANSITION_CONFIGURE)
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
    finally:
        rig.close()


@pytest.mark.parametrize(
    ("remappings", "parameters", "reason"),
    [
        (
            {"image": "/a", "camera_info": "/a"},
            {},
            "the node would use /a as sensor_msgs/msg/CameraInfo and sensor_msgs/msg/Image; change a remapping",
        ),
        (
            {"image": "/tf"},
            {"fixed_frame": "world"},
            "the node would use /tf as sensor_msgs/msg/Image and tf2_msgs/msg/TFMessage",
        ),
        (
            {"depth": "/seqpose_node/detections"},
            {"use_depth": True},
            "/seqpose_node/detections as sensor_msgs/msg/Image and vision_msgs/msg/Detection3DArray",
        ),
        (
            {},
            {"qos_overrides./image.subscription.reliability": "nonsense"},
            "/image cannot be subscribed to: Unexpected QoS override for policy `reliability`: `nonsense`",
        ),
        (
            {},
            {"qos_overrides./camera_info.subscription.depth": "many"},
            "/camera_info cannot be subscribed to: ",
        ),
    ],
)
def test_a_topic_that_cannot_be_subscribed_to_is_named_and_the_node_stays_inactive(
    remappings: dict[str, str],
    parameters: dict[str, Any],
    reason: str,
    client: Client,
    capfd: pytest.CaptureFixture[str],
) -> None:
    estimator = FakeEstimator()
    remapped = [word for name, topic in remappings.items() for word in ("-r", f"{name}:={topic}")]
    create = partial(SeqPoseNode, lambda settings: estimator, cli_args=["--ros-args", *remapped])
    rig = InProcess(create, autostart=False, **parameters)
    try:
        assert change(client, Transition.TRANSITION_CONFIGURE)
        assert not change(client, Transition.TRANSITION_ACTIVATE)
        assert state(client) == State.PRIMARY_STATE_INACTIVE
        log = capfd.readouterr().err
        assert "the node cannot be activated: " in log and reason in log
        assert "Traceback" not in log
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("seqpose_")]
        assert client.image.get_subscription_count() == client.info.get_subscription_count() == 0
        assert change(client, Transition.TRANSITION_CLEANUP)
    finally:
        rig.close()


def test_a_fault_in_a_transition_is_logged_and_frees_the_resources(
    client: Client, start: Start, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no such resource")

    monkeypatch.setattr(node, "CameraStream", fail)
    start(FakeEstimator(), active=False)
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert not change(client, Transition.TRANSITION_ACTIVATE)
    assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
    log = capfd.readouterr().err
    assert "fault while activating:" in log and "OSError: no such resource" in log
    monkeypatch.undo()
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert change(client, Transition.TRANSITION_ACTIVATE)
    client.send_first(picture(), STAMP)


def test_impossible_transitions_are_refused_and_the_node_continues(client: Client, start: Start) -> None:
    start(FakeEstimator())  # active
    for transition in (
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_INACTIVE_SHUTDOWN,
        200,  # not a transition
    ):
        assert not change(client, transition)
        assert state(client) == State.PRIMARY_STATE_ACTIVE
    client.send_first(picture(), STAMP)


def test_activate_before_configure_is_refused(client: Client, start: Start) -> None:
    start(FakeEstimator(), active=False)
    assert not change(client, Transition.TRANSITION_ACTIVATE)
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert change(client, Transition.TRANSITION_ACTIVATE)


def test_state_and_diagnostics_are_available_while_the_model_loads(client: Client) -> None:
    loading, finish = threading.Event(), threading.Event()

    def load(settings: Any) -> FakeEstimator:
        loading.set()
        finish.wait(TIMEOUT)
        return FakeEstimator()

    rig = InProcess(partial(SeqPoseNode, load), autostart=False)
    try:
        service = client.node.create_client(ChangeState, "/seqpose_node/change_state")
        client.until(service.service_is_ready, "the service")
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        configured = service.call_async(request)
        client.until(loading.is_set, "the start of loading")
        assert state(client) == State.TRANSITION_STATE_CONFIGURING
        client.diagnostics.clear()
        client.until(lambda: client.values().get("state") == "configuring", "diagnostics")
        assert not change(client, Transition.TRANSITION_CONFIGURE)  # another one is in progress
        assert not configured.done()
        finish.set()
        client.until(configured.done, "the response")
        assert configured.result().success
    finally:
        finish.set()
        rig.close()


def test_after_shutdown_the_process_exits_with_0(client: Client, weights: Path, tmp_path: Path) -> None:
    process = Process(tmp_path / "node.log", f"checkpoint:={weights}")
    try:
        client.until(lambda: client.values().get("state") == "active", "the autostart")
        assert not change(client, Transition.TRANSITION_CONFIGURE)
        assert change(client, Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert process.process.wait(TIMEOUT) == 0
    finally:
        process.stop()
    assert "Traceback" not in process.log
    assert "transition with id 1 refused: the node is active" in process.log


def set_parameter(client: Client, name: str, value: Any) -> Any:
    parameter = Parameter(name, value=value).to_parameter_msg()
    request = SetParameters.Request(parameters=[parameter])
    return client.call(SetParameters, "/seqpose_node/set_parameters", request).results[0]


def test_live_parameters_reach_the_running_estimator_and_the_outputs(client: Client, start: Start) -> None:
    estimator = FakeEstimator([mug()])
    start(estimator)
    transforms = client.listen(TFMessage, "/tf")
    client.connect()
    assert set_parameter(client, "score_threshold", 0.8).successful
    assert set_parameter(client, "categories", ["mug", "can"]).successful
    assert (estimator.options.score_threshold, estimator.options.categories) == (0.8, ("mug", "can"))
    refused = set_parameter(client, "categories", ["cup"])
    assert not refused.successful
    assert "'cup'" in refused.reason
    assert estimator.options.categories == ("mug", "can")
    assert set_parameter(client, "publish_tf", False).successful
    client.send_first(picture(), STAMP)
    client.send(picture(), STAMP + 0.1)
    assert not transforms


def test_parameters_that_change_while_the_node_is_inactive_hold_after_activation(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    rig = start(estimator, active=False)
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert set_parameter(client, "score_threshold", 0.8).successful
    rig.node.trigger_activate()
    assert estimator.options.score_threshold == 0.8


def test_a_parameter_cannot_be_removed(client: Client, start: Start) -> None:
    start(FakeEstimator(), active=False)
    for name in ("categories", "score_threshold"):
        result = set_parameter(client, name, None)  # ros2 param delete
        assert (result.successful, result.reason) == (False, f"{name} cannot be removed")
    assert set_parameter(client, "categories", ["mug"]).successful


def test_the_reset_service_resets_the_estimator(client: Client, start: Start) -> None:
    estimator = FakeEstimator()
    start(estimator)
    assert client.call(Trigger, "/seqpose_node/reset", Trigger.Request()).success
    assert estimator.resets == 1
